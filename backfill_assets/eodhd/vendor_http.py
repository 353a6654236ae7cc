"""GET requests to the vendor's address over HTTP/1.1, with the token in the query.

httpcore is used without httpx's client and its objects, which take half of a request's processor time
(docs/decisions/0092). Redirects are not followed, and no cookies are kept. Which answers are errors is decided in
``retries``.
"""

import zlib
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final
from urllib.parse import urlencode, urlsplit

import httpcore
from pydantic import SecretStr

from backfill_assets.eodhd.connection_pool import LifoConnectionPool, build_connection_pool

# All that httpcore raises where there is no answer, or only a part of one.
HTTP_ERRORS: Final = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
    zlib.error,
)
_GZIP = 16 + zlib.MAX_WBITS


class VendorHttp:
    """Requests to one address; for many tasks of one event loop.

    The token is nowhere but in the bytes that are sent: a request's own texts, in httpcore's log and errors, have no
    address.

    Args:
        base_url: an http or https URL without query and credentials.
        token: sent with each request.
        max_connections: open connections, idle ones included.
        pool: for tests; the default verifies TLS and uses the machine's proxy, if it has one.

    Raises:
        UsageError: the machine's proxy or certificates cannot be used.
    """

    def __init__(
        self, base_url: str, token: SecretStr, max_connections: int, pool: LifoConnectionPool | None = None
    ) -> None:
        self.base_url = base_url
        self._token = token
        parts = urlsplit(base_url)
        self._path = parts.path.rstrip("/")
        self._pool = pool or build_connection_pool(parts, max_connections)
        self._origin = httpcore.URL(scheme=parts.scheme, host=parts.hostname or "", port=parts.port)
        self._headers = [
            (b"Host", parts.netloc.encode()),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"gzip"),
            (b"User-Agent", b"backfill_assets"),
        ]

    def stream(
        self, path: str, params: Mapping[str, str | int], timeout: float
    ) -> AbstractAsyncContextManager[httpcore.Response]:
        """The response, whose body is read within the context.

        Args:
            path: below the base URL, percent-encoded.
            params: the query, without the token.
            timeout: seconds for each read and write; connecting has a third, as a request that was never sent costs
                nothing.
        """
        query = urlencode({**params, "api_token": self._token.get_secret_value()})
        origin, target = self._origin, f"{self._path}{path}?{query}"
        url = httpcore.URL(scheme=origin.scheme, host=origin.host, port=origin.port, target=target)
        timeouts = {"connect": timeout / 3, "read": timeout, "write": timeout}
        return self._pool.send(httpcore.Request("GET", url, headers=self._headers, extensions={"timeout": timeouts}))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


def find_header(response: httpcore.Response, name: str) -> str | None:
    """A header's value by its name in lower case; None without it."""
    wanted = name.encode()
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == wanted), None)


def decode_body(response: httpcore.Response, body: bytes) -> bytes:
    """The body without its compression.

    Raises:
        zlib.error: it is not what its header says, or cut.
    """
    return zlib.decompress(body, _GZIP) if find_header(response, "content-encoding") == "gzip" else body
