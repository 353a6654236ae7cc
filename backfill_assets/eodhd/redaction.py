"""Keeps the token out of logs, errors and stored rows.

The vendor accepts its token only as a query parameter. It is added where a request is handed to httpx's transport
(``vendor_http``), whose log and exceptions contain no address. Text that the vendor echoes (a redirect's address, an
error message) is redacted as well (docs/decisions/0026).
"""

import logging
import re
from types import TracebackType
from typing import Self
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from backfill_assets.market.vendor_errors import TokenRefused

_TOKEN_PARAMETER = re.compile(r"(api_token=)[^&\s\"'<>]*")
# a logging filter applies to its own logger only, not to child loggers
_HTTP_LOGGERS = (
    "httpx",  # of the heartbeat's address
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)


def require_token(token: SecretStr | str) -> SecretStr:
    """The token without spaces around it, in a form that is not printed.

    Raises:
        TokenRefused: it is empty.
    """
    value = (token.get_secret_value() if isinstance(token, SecretStr) else token).strip()
    if not value:
        raise TokenRefused("the API token is missing")
    return SecretStr(value)


class TokenRedactor(logging.Filter):
    """Replaces the token, in any encoding of URLs or JSON; as a context manager it filters the HTTP loggers."""

    def __init__(self, token: SecretStr) -> None:
        super().__init__()
        secret = token.get_secret_value()
        escaped = {quote(secret), quote(secret, safe=""), quote_plus(secret), secret.replace("/", "\\/")}
        spellings = sorted({secret, *escaped}, key=len, reverse=True)
        self._token_pattern = re.compile("|".join(map(re.escape, spellings)), re.IGNORECASE)

    def redact(self, text: str) -> str:
        """``text`` without the token."""
        return _TOKEN_PARAMETER.sub(r"\1***", self._token_pattern.sub("***", text))

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record in place; let it through."""
        message = record.getMessage()
        redacted = self.redact(message)
        if redacted != message:
            record.msg, record.args = redacted, ()
        return True

    def __enter__(self) -> Self:
        for name in _HTTP_LOGGERS:
            logging.getLogger(name).addFilter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in _HTTP_LOGGERS:
            logging.getLogger(name).removeFilter(self)
