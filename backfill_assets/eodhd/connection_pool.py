"""Many keep-alive connections to one server, with constant cost per request.

httpcore's pool iterates over all of its connections at each request and each response. With 48 connections that costs
more than the rest of a request. Here idle connections are on a stack (docs/decisions/0001, 0092). What is sent over
them is in ``vendor_http``.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from urllib.parse import SplitResult

import httpcore

from backfill_assets.eodhd.machine_network import create_tls_context, find_proxy

_KEPT_ALIVE_SECONDS = 30.0


class LifoConnectionPool:
    """At most ``max_connections`` connections, opened when they are needed; the last one used is reused first."""

    def __init__(
        self, create_connection: Callable[[], httpcore.AsyncConnectionInterface], max_connections: int
    ) -> None:
        self._create_connection = create_connection
        self._available = asyncio.Semaphore(max_connections)
        self._idle: list[httpcore.AsyncConnectionInterface] = []

    @asynccontextmanager
    async def send(self, request: httpcore.Request) -> AsyncIterator[httpcore.Response]:
        """Send on a free connection, waiting for one if all are in use; it is free again when the context ends."""
        async with self._available:
            connection = await self._take_connection()
            try:
                response = await connection.handle_async_request(request)
                try:
                    yield response
                finally:
                    await response.aclose()
            finally:
                self._idle.append(connection)

    async def aclose(self) -> None:
        """Close every connection; no request may be under way."""
        while self._idle:
            await self._idle.pop().aclose()

    async def _take_connection(self) -> httpcore.AsyncConnectionInterface:
        if not self._idle:
            return self._create_connection()
        connection = self._idle.pop()
        if connection.is_closed() or connection.has_expired():
            await connection.aclose()
            return self._create_connection()
        return connection


def build_connection_pool(base_url: SplitResult, max_connections: int) -> LifoConnectionPool:
    """TLS verified, connections kept alive, through the machine's proxy.

    Raises:
        UsageError: the machine's proxy or certificates cannot be used.
    """
    _answer_for_absent_sniffio()
    factory = httpcore.AsyncConnectionPool(
        ssl_context=create_tls_context() if base_url.scheme == "https" else None,
        proxy=find_proxy(base_url),
        keepalive_expiry=_KEPT_ALIVE_SECONDS,
    )
    origin = httpcore.URL(scheme=base_url.scheme, host=base_url.hostname or "", port=base_url.port).origin
    return LifoConnectionPool(lambda: factory.create_connection(origin), max_connections)


def _answer_for_absent_sniffio() -> None:
    """Let ``import sniffio`` fail at once where it is not installed.

    httpcore imports it several times a request, to ask whether trio runs. Each time Python would search its whole path
    in vain, which takes a fifth of a request's processor time.
    """
    if "sniffio" not in sys.modules and find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment] # what the import system means by a module that is none
