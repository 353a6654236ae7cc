"""The vendor's endpoints as typed calls.

What lives here: paths, parameters, prices, time limits, and splitting what is too long for one
request. Attempts and their records are in ``attempts``, reading bodies in ``payloads`` and its
neighbours. Every call may raise any ``VendorError``.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Self
from urllib.parse import quote
from urllib.request import getproxies, proxy_bypass

import httpx
from pydantic import SecretStr

from backfill_assets.eodhd.connection_pool import LifoConnectionPool
from backfill_assets.eodhd.eod import BulkEodRows, EodRows, parse_bulk_eod, parse_eod
from backfill_assets.eodhd.errors import (
    BrokenAnswer,
    PermanentError,
    QuotaExhausted,
    TickerRefused,
    TokenRefused,
    UnknownTicker,
)
from backfill_assets.eodhd.parsing import IntradayRows, concatenate_intraday, parse_intraday
from backfill_assets.eodhd.quotes import Quote, parse_quotes, split_batches
from backfill_assets.eodhd.rate_limiter import RateLimiter
from backfill_assets.eodhd.redaction import TokenRedactor, TokenTransport
from backfill_assets.eodhd.reference import (
    AccountUsage,
    ExchangeDetails,
    ListedSymbol,
    SymbolChange,
    parse_account,
    parse_exchange_details,
    parse_symbol_changes,
    parse_symbols,
)
from backfill_assets.eodhd.retries import ApiRequest, RetryingSender, T

Params = dict[str, str | int]
_SECONDS_PER_DAY = 86_400
_MAX_SPAN_DAYS = {"1m": 120, "5m": 600, "1h": 7200}  # EODHD.md §2; others [U]: the shortest
_SLOW_TIMEOUT_FACTOR = 10  # how much longer than others the answers for a whole exchange may take


class EodhdClient:
    """The vendor, as an async context manager; safe for many tasks of one event loop."""

    def __init__(
        self,
        *,
        base_url: str,
        token: SecretStr | str,
        rate_limiter: RateLimiter,
        timeout_seconds: float = 30,
        attempts: int = 5,
        max_connections: int = 64,
        backoff_seconds: tuple[float, float] = (0.5, 20.0),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            base_url: ``https://eodhd.com/api`` or a stand-in's.
            token: the vendor's API token; goes to the host of ``base_url`` and nowhere else.
            gate: admits each attempt and takes its record.
            timeout_seconds: for one attempt, from connecting to the body's last byte.
            attempts: how often one request is tried while its errors are transient.
            max_connections: open connections, also those kept alive.
            backoff_seconds: first and longest pause between attempts.
            transport: for tests; the default verifies TLS and uses the machine's proxy, if it has one.

        Raises:
            TokenRefused: the token is empty.
        """
        secret = _require_token(token)
        self._base_url = base_url
        self._timeout = timeout_seconds
        self._redactor = TokenRedactor(secret)
        base_transport = transport or _build_transport(httpx.URL(base_url), max_connections)
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
        """Close all connections, after the permits of cancelled requests are settled."""
        await self._sender.drain()
        await self._http.aclose()
        self._redactor.__exit__(None, None, None)

    async def fetch_intraday(self, ticker: str, interval: str, start: int, end: int) -> IntradayRows:
        """Rows of ``ticker`` from ``start`` to ``end`` (epoch seconds UTC, both inclusive).

        5 calls for each 600 days (5m), 120 (1m) or 7,200 (1h) or part of them; asked one after the
        other, and nothing is returned if one of them fails (EODHD.md §2).
        """
        if end < start:
            raise ValueError(f"intraday of {ticker}: the end {end} is before the start {start}")
        parts = []
        for first, to, excluded_timestamp in _split_span(
            start, end, _MAX_SPAN_DAYS.get(interval, 120) * _SECONDS_PER_DAY
        ):
            params: Params = {"interval": interval, "from": first, "to": to}
            rows = await self._request("intraday", parse_intraday, 5, params, ticker=ticker)
            is_excluded = rows.timestamp == excluded_timestamp
            parts.append(rows.filter_rows(~is_excluded) if is_excluded.any() else rows)
        return parts[0] if len(parts) == 1 else concatenate_intraday(parts)

    async def fetch_quote(self, ticker: str) -> Quote:
        """The day so far of one ticker; 1 call (EODHD.md §3).

        An unknown ticker is a quote without values, or UnknownTicker: which is [U].
        """
        quotes = await self._request("real-time", parse_quotes, 1, ticker=ticker)
        return quotes[0] if quotes else Quote(ticker)

    async def fetch_quotes(self, tickers: Sequence[str]) -> list[Quote]:
        """The day so far of many tickers, in the vendor's order, 1 call each.

        Unknown ones come without values. Should one of them get its whole batch refused ([U], but
        the demo token does it), the batch is asked in halves, down to the one.
        """
        quotes = []
        for batch in split_batches(tickers):
            quotes += await self._fetch_quote_batch(batch)
        return quotes

    async def fetch_exchange_quotes(self, exchange: str = "US") -> list[Quote]:
        """Every ticker of an exchange, frozen ghosts included; 100 calls flat. Only US is documented."""
        placeholder_ticker = "AAPL.US"  # the path wants a ticker, whichever
        return await self._request(
            "real-time", parse_quotes, 100, {"ex": exchange}, path_segment=placeholder_ticker, slow=True
        )

    async def fetch_symbols(
        self, exchange: str, *, delisted: bool = False, symbol_type: str | None = None
    ) -> list[ListedSymbol]:
        """An exchange's tickers, or those it once had; 1 call.

        ``kind`` is the vendor's ``type``, ``common_stock`` for instance.
        """
        params: Params = {"delisted": 1} if delisted else {}
        if symbol_type:
            params["type"] = symbol_type
        return await self._request("exchange-symbol-list", parse_symbols, 1, params, path_segment=exchange)

    async def fetch_exchange_details(self, exchange: str) -> ExchangeDetails:
        """An exchange's hours and holidays, about six months either way; 5 calls."""
        return await self._request("exchange-details", parse_exchange_details, 5, path_segment=exchange)

    async def fetch_account(self) -> AccountUsage:
        """The token's account: calls used and allowed. Free, by measurement; documented as 1 call [U].

        ``apiRequests`` and its date stay on yesterday until the day's first billed call (EODHD.md §5).
        """
        try:
            return await self._request("user", parse_account, 0)
        except (TokenRefused, QuotaExhausted):
            raise
        except (PermanentError, BrokenAnswer):  # the documents know both names; what the second says is raised
            return await self._request("internal-user", parse_account, 0)

    async def fetch_daily(self, ticker: str, first: date | None = None, last: date | None = None) -> EodRows:
        """Daily rows from ``first`` to ``last``, inclusive; the whole history by default; 1 call."""
        return await self._request("eod", parse_eod, 1, _build_date_params(first, last), ticker=ticker)

    async def fetch_bulk_daily(self, exchange: str, day: date | None = None) -> BulkEodRows:
        """One day of a whole exchange, by default its last trading day; 100 calls. Slow and large."""
        params: Params = {"date": day.isoformat()} if day else {}
        return await self._request("eod-bulk-last-day", parse_bulk_eod, 100, params, path_segment=exchange, slow=True)

    async def fetch_symbol_changes(self, first: date, last: date) -> list[SymbolChange]:
        """Renames in the US from ``first`` to ``last``, inclusive; since 2022-07-22; 5 calls."""
        return await self._request("symbol-change-history", parse_symbol_changes, 5, _build_date_params(first, last))

    async def _fetch_quote_batch(self, tickers: list[str]) -> list[Quote]:
        params: Params = {"s": ",".join(tickers[1:])} if len(tickers) > 1 else {}
        try:
            return await self._request("real-time", parse_quotes, len(tickers), params, ticker=tickers[0])
        except (UnknownTicker, TickerRefused):
            if len(tickers) == 1:
                return [Quote(tickers[0])]
        middle = len(tickers) // 2
        return await self._fetch_quote_batch(tickers[:middle]) + await self._fetch_quote_batch(tickers[middle:])

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
        """Ask ``/endpoint/ticker`` or ``/endpoint/below``; ``slow`` answers get more time."""
        segment = ticker or path_segment
        path = f"/{endpoint}/{quote(segment, safe='')}" if segment else f"/{endpoint}"
        timeout = self._timeout * _SLOW_TIMEOUT_FACTOR if slow else None
        return await self._sender.send(ApiRequest(f"/{endpoint}", path, calls, parse, params or {}, ticker, timeout))


def _split_span(start: int, end: int, max_seconds: int) -> Iterator[tuple[int, int, int]]:
    """``from``, ``to`` and the stamp that is not this request's, of consecutive requests.

    Whether ``to`` is inclusive is [U]: so the last request asks a second beyond ``end``, the others
    to where the next begins (``from`` is inclusive), and a row stamped there is dropped.
    """
    while end - start > max_seconds:
        yield start, start + max_seconds, start + max_seconds
        start += max_seconds
    yield start, min(end + 1, start + max_seconds), end + 1


def _build_date_params(first: date | None, last: date | None) -> Params:
    bounds = {"from": first, "to": last}
    return {name: day.isoformat() for name, day in bounds.items() if day}


def _require_token(token: SecretStr | str) -> SecretStr:
    value = (token.get_secret_value() if isinstance(token, SecretStr) else token).strip()
    if not value:
        raise TokenRefused("there is no API token")
    return SecretStr(value)


def _build_transport(base_url: httpx.URL, max_connections: int) -> LifoConnectionPool:
    """TLS verified, connections kept; through the machine's proxy, which httpx leaves to a given transport."""
    proxies = {} if proxy_bypass(base_url.host) else getproxies()
    proxy = proxies.get(base_url.scheme) or proxies.get("all")
    tls = httpx.create_ssl_context() if base_url.scheme == "https" else False
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30)
    return LifoConnectionPool(lambda: httpx.AsyncHTTPTransport(verify=tls, limits=limits, proxy=proxy), max_connections)
