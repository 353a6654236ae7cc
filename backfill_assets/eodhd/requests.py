"""How requests to EODHD are sent: with the token, attempts, and errors of endpoints that a plan may lack.

Which endpoints there are is in ``eodhd.client``. Attempts and their records are in ``eodhd.retries``.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from backfill_assets.eodhd.attempts import ApiRequest, T
from backfill_assets.eodhd.connection_pool import build_connection_pool
from backfill_assets.eodhd.error_mapping import to_single_line
from backfill_assets.eodhd.parameters import Params
from backfill_assets.eodhd.parsing import decode_json
from backfill_assets.eodhd.pricing import CALL_PRICES
from backfill_assets.eodhd.redaction import TokenRedactor, require_token
from backfill_assets.eodhd.reference import parse_account
from backfill_assets.eodhd.retries import RetryingSender
from backfill_assets.eodhd.vendor_http import VendorHttp
from backfill_assets.market.optional_endpoints import OptionalEndpoints
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.rate_limiter_protocol import RateLimiter
from backfill_assets.market.vendor import AccountUsage, BulkDailyRows, DailyRows, IntradayRows
from backfill_assets.market.vendor_actions import DividendRows, SplitRows
from backfill_assets.market.vendor_errors import (
    BrokenAnswer,
    PermanentError,
    QuotaExhausted,
    TokenRefused,
)

RowsT = TypeVar("RowsT", IntradayRows, DailyRows, BulkDailyRows, SplitRows, DividendRows)
EXCHANGE_PATIENCE = 10.0  # responses for a whole exchange may take this many times longer


@dataclass(frozen=True)
class JsonAnswer:
    """Any JSON; a plain list would count as rows."""

    content: Any


class EodhdRequests:
    """Sends requests; an async context manager, safe for many tasks of one event loop."""

    def __init__(
        self,
        *,
        base_url: str,
        token: SecretStr | str,
        rate_limiter: RateLimiter,
        purpose: Purpose,
        optional_endpoints: OptionalEndpoints | None = None,
        timeout_seconds: float = 30,
        attempts: int = 5,
        max_connections: int = 64,
        backoff_seconds: tuple[float, float] = (0.5, 20.0),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Create the client without opening a connection.

        Args:
            base_url: ``https://eodhd.com/api``, or another server with the same API.
            token: the vendor's API token; sent to the host of ``base_url`` only.
            rate_limiter: grants a permit for each attempt and receives its record.
            purpose: what requests are made for; ``for_purpose`` gives a client of another one.
            optional_endpoints: remembers which endpoints the plan lacks; by default nothing is remembered.
            timeout_seconds: for one attempt, from connecting to the body's last byte.
            attempts: how often one request is tried while its errors are transient.
            max_connections: open connections, idle ones included.
            backoff_seconds: first and longest pause between attempts.
            transport: for tests; the default verifies TLS and uses the machine's proxy, if it has one.

        Raises:
            TokenRefused: the token is empty.
        """
        secret = require_token(token)
        self._base_url = base_url
        self._timeout = timeout_seconds
        self._purpose = purpose
        self._optional_endpoints = optional_endpoints
        self._redactor = TokenRedactor(secret)
        transport = transport or build_connection_pool(httpx.URL(base_url), max_connections)
        self._http = VendorHttp(base_url, secret, transport)
        self._sender = RetryingSender(
            self._http,
            rate_limiter,
            self._redactor,
            timeout_seconds=timeout_seconds,
            max_attempts=attempts,
            backoff_seconds=backoff_seconds,
            is_demo_token=secret.get_secret_value() == "demo",
        )

    def __repr__(self) -> str:
        return f"EodhdClient({self._base_url!r})"

    async def __aenter__(self) -> Self:
        self._redactor.__enter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Release the permits of cancelled requests, then close all connections."""
        await self._sender.drain()
        await self._http.aclose()
        self._redactor.__exit__(None, None, None)

    def for_purpose(self, purpose: Purpose) -> Self:
        """A view of this client for requests of another purpose; only the client itself is closed."""
        view = copy(self)
        view._purpose = purpose
        return view

    async def fetch_account(self) -> AccountUsage:
        """Calls used and allowed of the token's account; measured as free (docs/vendor.md §5.3, §6.12)."""
        try:
            return await self._request("user", parse_account, CALL_PRICES.account)
        except (TokenRefused, QuotaExhausted):
            raise
        except (PermanentError, BrokenAnswer):  # the vendor documents both paths; an error of the second is raised
            return await self._request("internal-user", parse_account, CALL_PRICES.account)

    async def fetch_json(self, endpoint: str, subject: str, params: Params, calls: int, *, is_ticker: bool) -> Any:
        """The JSON of an answer as it came but for the token, for recordings; refusals are errors as always.

        ``subject`` is the ticker or code in the path; empty: none. ``calls`` is what the budget counts.
        """
        ticker, code = (subject, None) if is_ticker else (None, subject or None)
        answer = await self._request(endpoint, self._parse_json, calls, params, ticker=ticker, path_segment=code)
        return answer.content

    def _parse_json(self, body: bytes) -> JsonAnswer:
        decode_json(body)  # refusals in words are errors
        return JsonAnswer(decode_json(self._redactor.redact(body.decode("utf-8", "replace")).encode()))

    def _sanitize_warning(self, rows: RowsT) -> RowsT:
        return rows if rows.warning is None else replace(rows, warning=self._sanitize_text(rows.warning))

    def _sanitize_text(self, warning: str | None) -> str | None:
        """A warning that may be stored and shown: it is the vendor's text and may echo the request."""
        return None if warning is None else self._sender.sanitize(to_single_line(warning))

    async def _request_optional(
        self,
        endpoint: str,
        parse: Callable[[bytes], T],
        calls: int,
        params: Params,
        *,
        optional_name: str | None = None,
        **options: Any,
    ) -> T:
        """As ``_request``, for an endpoint that not every plan has, or for a part of one with a name of its own.

        ``market.optional_endpoints`` says which errors it may raise.
        """
        send = partial(self._request, endpoint, parse, calls, params, **options)
        if self._optional_endpoints is None:
            return await send()
        fetch_account = self.for_purpose(Purpose.ACCOUNT).fetch_account
        name = optional_name or f"/{endpoint}"
        return await self._optional_endpoints.request(name, calls, send, fetch_account)

    async def _request(
        self,
        endpoint: str,
        parse: Callable[[bytes], T],
        calls: int,
        params: Params | None = None,
        *,
        ticker: str | None = None,
        path_segment: str | None = None,
        patience: float = 1.0,
    ) -> T:
        """Request the endpoint of a ticker or of another ``path_segment``.

        ``patience`` is how many times as long as usual the response may take.
        """
        segment = ticker or path_segment
        path = f"/{endpoint}/{quote(segment, safe='')}" if segment else f"/{endpoint}"
        timeout = self._timeout * patience
        request = ApiRequest(f"/{endpoint}", path, calls, parse, self._purpose, params or {}, ticker, timeout)
        return await self._sender.send(request)
