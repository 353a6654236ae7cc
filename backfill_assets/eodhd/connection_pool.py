"""A transport over many keep-alive connections, with constant cost per request.

httpcore's pool iterates over all of its connections at each request and each response. With 48 connections that costs
more than the rest of a request. Here each connection is a transport of its own, and idle ones are on a stack
(docs/decisions/0001).
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec

import httpx

from backfill_assets.eodhd.machine_network import create_tls_context, find_proxy


class LifoConnectionPool(httpx.AsyncBaseTransport):
    """A transport over at most ``max_connections`` single-connection transports; the last one used is reused first."""

    def __init__(self, create_connection: Callable[[], httpx.AsyncBaseTransport], max_connections: int) -> None:
        self._create_connection = create_connection
        self._available = asyncio.Semaphore(max_connections)
        self._idle: list[httpx.AsyncBaseTransport] = []
        self._connections: list[httpx.AsyncBaseTransport] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send on a free connection, waiting for one if all are in use."""
        await self._available.acquire()
        connection = self._idle.pop() if self._idle else self._open_connection()
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            self._release(connection)
            raise
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise TypeError("the inner transport returned a synchronous stream")
        response.stream = _ReleasingStream(response.stream, lambda: self._release(connection))
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        for connection in self._connections:
            await connection.aclose()

    def _open_connection(self) -> httpx.AsyncBaseTransport:
        connection = self._create_connection()
        self._connections.append(connection)
        return connection

    def _release(self, connection: httpx.AsyncBaseTransport) -> None:
        self._idle.append(connection)
        self._available.release()


class _ReleasingStream(httpx.AsyncByteStream):
    """A body that releases its connection when it is closed."""

    def __init__(self, body: httpx.AsyncByteStream, release: Callable[[], None]) -> None:
        self._body = body
        self._release = release
        self._is_released = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield part

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            if not self._is_released:
                self._is_released = True
                self._release()


def build_connection_pool(base_url: httpx.URL, max_connections: int) -> LifoConnectionPool:
    """TLS verified, connections kept alive, through the machine's proxy.

    Raises:
        UsageError: the machine's proxy or certificates cannot be used.
    """
    _answer_for_absent_sniffio()
    proxy = find_proxy(base_url)
    tls = create_tls_context() if base_url.scheme == "https" else False
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30)
    return LifoConnectionPool(lambda: httpx.AsyncHTTPTransport(verify=tls, limits=limits, proxy=proxy), max_connections)


def _answer_for_absent_sniffio() -> None:
    """Let ``import sniffio`` fail at once where it is not installed.

    httpcore imports it several times a request, to ask whether trio runs. Each time Python would search its whole path
    in vain, which takes a fifth of a request's processor time.
    """
    if "sniffio" not in sys.modules and find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment] # what the import system means by a module that is none
