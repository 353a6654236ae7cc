"""Keeps the token out of everything but the wire.

The vendor takes its token only as a query parameter, and httpx puts URLs into log lines and
exceptions. So the token is added below httpx's client, on a copy of the request: no URL that the
client, its log or its exceptions ever see holds it. What the vendor echoes (a redirect's address,
an error text) is redacted besides.
"""

import logging
import re
from types import TracebackType
from typing import Self
from urllib.parse import quote, quote_plus

import httpx
from pydantic import SecretStr

_PARAMETER = re.compile(r"(api_token=)[^&\s\"'<>]*")
# a filter works only on the very logger that a record is made on, not on its children
_LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)


class Redaction(logging.Filter):
    """Replaces the token, in any spelling a URL or JSON may give it; a context manager for the loggers."""

    def __init__(self, token: SecretStr) -> None:
        super().__init__()
        secret = token.get_secret_value()
        escaped = {quote(secret), quote(secret, safe=""), quote_plus(secret), secret.replace("/", "\\/")}
        forms = sorted({secret, *escaped}, key=len, reverse=True)
        self._forms = re.compile("|".join(map(re.escape, forms)), re.IGNORECASE)

    def clean(self, text: str) -> str:
        """``text`` without the token."""
        return _PARAMETER.sub(r"\1***", self._forms.sub("***", text))

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record in place; let it through."""
        said = record.getMessage()
        cleaned = self.clean(said)
        if cleaned != said:
            record.msg, record.args = cleaned, ()
        return True

    def __enter__(self) -> Self:
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)


class TokenTransport(httpx.AsyncBaseTransport):
    """Signs requests to one host and passes them on; requests to any other host stay unsigned."""

    def __init__(self, inner: httpx.AsyncBaseTransport, token: SecretStr, home: httpx.URL) -> None:
        self._inner = inner
        self._token = token
        self._home = _origin(home)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a signed copy; the caller's request keeps its URL."""
        if _origin(request.url) != self._home:
            return await self._inner.handle_async_request(request)
        return await self._inner.handle_async_request(
            httpx.Request(
                request.method,
                request.url.copy_set_param("api_token", self._token.get_secret_value()),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        )

    async def aclose(self) -> None:
        """Close what is underneath."""
        await self._inner.aclose()


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
