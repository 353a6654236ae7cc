"""EODHD's endpoints as typed calls.

What lives here: paths and timeouts. Ranges of days and spans that are too long for one request are in
``eodhd.parameters``, attempts and their records in ``eodhd.retries``, parsing in ``eodhd.parsing``, ``quotes``,
``eod``, ``splits`` and ``reference``, prices and limits in ``eodhd.pricing``. The interface is
``market.vendor.VendorClient``; every call may raise any ``VendorError``.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from backfill_assets.eodhd.attempts import ApiRequest, T
from backfill_assets.eodhd.connection_pool import build_connection_pool
from backfill_assets.eodhd.eod import parse_bulk_eod, parse_eod
from backfill_assets.eodhd.error_mapping import to_single_line
from backfill_assets.eodhd.parameters import Params, build_batch_params, build_date_params, split_span
from backfill_assets.eodhd.parsing import concatenate_intraday, parse_intraday
from backfill_assets.eodhd.pricing import CALL_PRICES, REQUEST_LIMITS
from backfill_assets.eodhd.quote_batches import fetch_in_halves
from backfill_assets.eodhd.quotes import parse_exchange_quotes, parse_quotes, split_batches
from backfill_assets.eodhd.redaction import TokenRedactor, TokenTransport, require_token
from backfill_assets.eodhd.reference import parse_account, parse_symbol_changes, parse_symbols
from backfill_assets.eodhd.retries import RetryingSender
from backfill_assets.eodhd.splits import parse_bulk_splits, parse_splits
from backfill_assets.market.optional_endpoints import OptionalEndpoints
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.rate_limiter_protocol import RateLimiter
from backfill_assets.market.vendor import (
    AccountUsage,
    BulkDailyRows,
    DailyRows,
    IntradayRows,
    ListedSymbol,
    Quote,
    RecordList,
    SplitRows,
    SymbolChange,
)
from backfill_assets.market.vendor_errors import (
    BrokenAnswer,
    PermanentError,
    QuotaExhausted,
    TokenRefused,
)
from backfill_assets.market.vendor_prices import CallPrices, RequestLimits

RowsT = TypeVar("RowsT", IntradayRows, DailyRows, BulkDailyRows, SplitRows)
_SLOW_TIMEOUT_FACTOR = 10  # responses for a whole exchange may take this many times longer


class EodhdClient:
    """A ``VendorClient`` for EODHD; an async context manager, safe for many tasks of one event loop."""

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
        base_transport = transport or build_connection_pool(httpx.URL(base_url), max_connections)
        self._http = httpx.AsyncClient(
            base_url=base_url,
            transport=TokenTransport(base_transport, secret, httpx.URL(base_url)),
            headers={"accept": "application/json", "user-agent": "backfill_assets"},
            follow_redirects=False,
        )
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

    @property
    def prices(self) -> CallPrices:
        """What each request costs."""
        return CALL_PRICES

    @property
    def limits(self) -> RequestLimits:
        """How much one request may cover."""
        return REQUEST_LIMITS

    def for_purpose(self, purpose: Purpose) -> Self:
        """A view of this client for requests of another purpose; only the client itself is closed."""
        view = copy(self)
        view._purpose = purpose
        return view

    async def fetch_intraday(self, ticker: str, interval: str, start: int, end: int) -> IntradayRows:
        """Rows of ``ticker`` from ``start`` to ``end`` (epoch seconds UTC, both inclusive).

        A span longer than ``limits`` allows becomes several requests, one after another, each at full price. If one of
        them fails, nothing is returned (docs/vendor.md §1.4, §2.3).
        """
        if end < start:
            raise ValueError(f"intraday of {ticker}: the end {end} is before the start {start}")
        parts = []
        max_seconds = int(self.limits.get_max_span(interval).total_seconds())
        for first, last, excluded_timestamp in split_span(start, end, max_seconds):
            params: Params = {"interval": interval, "from": first, "to": last}
            rows = await self._request("intraday", parse_intraday, self.prices.intraday, params, ticker=ticker)
            is_excluded = rows.timestamp == excluded_timestamp
            parts.append(rows.filter_rows(~is_excluded) if is_excluded.any() else rows)
        return self._sanitize_warning(parts[0] if len(parts) == 1 else concatenate_intraday(parts))

    async def fetch_quotes(self, tickers: Sequence[str]) -> list[Quote]:
        """The day so far of each ticker, in the vendor's order (docs/vendor.md §3.1).

        Unknown tickers come without values. A batch that is refused because of one ticker (docs/vendor.md §6.5) is
        requested again in halves. If all tickers are refused, in words that are not recognizably the vendor's, the
        first refusal is raised.
        """
        return await fetch_in_halves(self.split_quote_batches(tickers), self._fetch_quote_batch)

    def split_quote_batches(self, tickers: Sequence[str]) -> Iterator[list[str]]:
        """Batches of tickers that fit one request each."""
        return split_batches(tickers)

    async def fetch_exchange_quotes(self, exchange: str = "US") -> list[Quote]:
        """The day so far of every ticker of an exchange, stale delisted ones included (docs/vendor.md §3.5)."""
        placeholder_ticker = "AAPL.US"  # the path needs a ticker, but the response does not depend on it
        calls = self.prices.exchange_quotes
        return await self._request(
            "real-time", parse_exchange_quotes, calls, {"ex": exchange}, path_segment=placeholder_ticker, slow=True
        )

    async def fetch_symbols(
        self, exchange: str, *, delisted: bool = False, symbol_type: str | None = None
    ) -> RecordList[ListedSymbol]:
        """The listed symbols of an exchange, or the delisted ones (docs/vendor.md §5.1).

        ``symbol_type`` is the vendor's ``type``, for example ``common_stock``.
        """
        params: Params = {"delisted": 1} if delisted else {}
        if symbol_type:
            params["type"] = symbol_type
        symbols = await self._request(
            "exchange-symbol-list", parse_symbols, self.prices.symbol_list, params, path_segment=exchange
        )
        return RecordList(symbols, self._sanitize_text(symbols.warning))

    async def fetch_account(self) -> AccountUsage:
        """Calls used and allowed of the token's account; measured as free (docs/vendor.md §5.3, §6.12)."""
        try:
            return await self._request("user", parse_account, self.prices.account)
        except (TokenRefused, QuotaExhausted):
            raise
        except (PermanentError, BrokenAnswer):  # the vendor documents both paths; an error of the second is raised
            return await self._request("internal-user", parse_account, self.prices.account)

    async def fetch_daily(self, ticker: str, first: date | None = None, last: date | None = None) -> DailyRows:
        """Daily rows from ``first`` to ``last``, both inclusive; without bounds the whole history."""
        params = build_date_params(first, last)
        return self._sanitize_warning(await self._request("eod", parse_eod, self.prices.daily, params, ticker=ticker))

    async def fetch_bulk_daily(self, exchange: str, day: date | None = None) -> BulkDailyRows:
        """One day of a whole exchange, by default its last trading day; a slow and large response."""
        params: Params = {"date": day.isoformat()} if day else {}
        calls = self.prices.bulk_daily
        rows = await self._request_optional(
            "eod-bulk-last-day", parse_bulk_eod, calls, params, path_segment=exchange, slow=True
        )
        return self._sanitize_warning(rows)

    async def fetch_splits(self, ticker: str, first: date | None = None) -> SplitRows:
        """The splits of a ticker from ``first`` on, the whole history by default (docs/vendor.md §5.6)."""
        params, calls = build_date_params(first, None), self.prices.splits
        return self._sanitize_warning(
            await self._request_optional("splits", parse_splits, calls, params, ticker=ticker)
        )

    async def fetch_bulk_splits(self, exchange: str, day: date) -> SplitRows:
        """The splits of a whole exchange that take effect on ``day`` (docs/vendor.md §5.5).

        A plan may have the daily file without them, so their refusal is one of its own.
        """
        endpoint, calls = "eod-bulk-last-day", self.prices.bulk_splits
        params: Params = {"date": day.isoformat(), "type": "splits"}
        options: dict[str, Any] = {"path_segment": exchange, "slow": True}
        name = f"/{endpoint}?type=splits"
        rows = await self._request_optional(endpoint, parse_bulk_splits, calls, params, optional_name=name, **options)
        return self._sanitize_warning(rows)

    async def fetch_symbol_changes(self, first: date, last: date) -> RecordList[SymbolChange]:
        """US symbols renamed from ``first`` to ``last``, inclusive; known since 2022-07-22 (docs/vendor.md §5.8)."""
        params, calls = build_date_params(first, last), self.prices.symbol_changes
        changes = await self._request_optional("symbol-change-history", parse_symbol_changes, calls, params)
        return RecordList(changes, self._sanitize_text(changes.warning))

    async def _fetch_quote_batch(self, tickers: list[str]) -> list[Quote]:
        params, calls = build_batch_params(tickers), self.prices.quote * len(tickers)
        return await self._request("real-time", parse_quotes, calls, params, ticker=tickers[0])

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
        slow: bool = False,
    ) -> T:
        """Request the endpoint of a ticker or of another ``path_segment``; ``slow`` responses get a longer timeout."""
        segment = ticker or path_segment
        path = f"/{endpoint}/{quote(segment, safe='')}" if segment else f"/{endpoint}"
        timeout = self._timeout * _SLOW_TIMEOUT_FACTOR if slow else None
        request = ApiRequest(f"/{endpoint}", path, calls, parse, self._purpose, params or {}, ticker, timeout)
        return await self._sender.send(request)
