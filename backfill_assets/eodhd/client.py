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

from backfill_assets.eodhd.connection_pool import Lanes
from backfill_assets.eodhd.eod import BulkRows, EodRows, read_bulk, read_eod
from backfill_assets.eodhd.errors import (
    BrokenAnswer,
    PermanentError,
    QuotaExhausted,
    TickerRefused,
    TokenRefused,
    UnknownTicker,
)
from backfill_assets.eodhd.parsing import IntradayRows, joined, read_intraday
from backfill_assets.eodhd.quotes import Quote, chunks, read_quotes
from backfill_assets.eodhd.rate_limiter import Gate
from backfill_assets.eodhd.redaction import Redaction, TokenTransport
from backfill_assets.eodhd.reference import (
    Account,
    ExchangeDetails,
    Listed,
    SymbolChange,
    read_account,
    read_exchange_details,
    read_symbol_changes,
    read_symbols,
)
from backfill_assets.eodhd.retries import Ask, Attempts, T

Params = dict[str, str | int]
_DAY = 86_400
_LONGEST_DAYS = {"1m": 120, "5m": 600, "1h": 7200}  # EODHD.md §2; others [U]: the shortest
_SLOW = 10  # how much longer than others the answers for a whole exchange may take


class EodhdClient:
    """The vendor, as an async context manager; safe for many tasks of one event loop."""

    def __init__(
        self,
        *,
        base_url: str,
        token: SecretStr | str,
        gate: Gate,
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
        secret = _secret(token)
        self._base_url = base_url
        self._timeout = timeout_seconds
        self._redaction = Redaction(secret)
        wire = transport or _wire(httpx.URL(base_url), max_connections)
        self._http = httpx.AsyncClient(
            base_url=base_url,
            transport=TokenTransport(wire, secret, httpx.URL(base_url)),
            headers={"accept": "application/json", "user-agent": "backfill_assets"},
            follow_redirects=False,
        )
        self._attempts = Attempts(
            self._http,
            gate,
            self._redaction,
            timeout_seconds=timeout_seconds,
            attempts=attempts,
            backoff_seconds=backoff_seconds,
            demo=secret.get_secret_value() == "demo",
        )

    def __repr__(self) -> str:
        return f"EodhdClient({self._base_url!r})"

    async def __aenter__(self) -> Self:
        self._redaction.__enter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections, after the permits of cancelled requests are settled."""
        await self._attempts.drained()
        await self._http.aclose()
        self._redaction.__exit__(None, None, None)

    async def intraday(self, ticker: str, interval: str, start: int, end: int) -> IntradayRows:
        """Rows of ``ticker`` from ``start`` to ``end`` (epoch seconds UTC, both inclusive).

        5 calls for each 600 days (5m), 120 (1m) or 7,200 (1h) or part of them; asked one after the
        other, and nothing is returned if one of them fails (EODHD.md §2).
        """
        if end < start:
            raise ValueError(f"intraday of {ticker}: the end {end} is before the start {start}")
        parts = []
        for first, to, foreign in _spans(start, end, _LONGEST_DAYS.get(interval, 120) * _DAY):
            params: Params = {"interval": interval, "from": first, "to": to}
            rows = await self._ask("intraday", read_intraday, 5, params, ticker=ticker)
            surplus = rows.timestamp == foreign
            parts.append(rows.where(~surplus) if surplus.any() else rows)
        return parts[0] if len(parts) == 1 else joined(parts)

    async def quote(self, ticker: str) -> Quote:
        """The day so far of one ticker; 1 call (EODHD.md §3).

        An unknown ticker is a quote without values, or UnknownTicker: which is [U].
        """
        found = await self._ask("real-time", read_quotes, 1, ticker=ticker)
        return found[0] if found else Quote(ticker)

    async def quotes(self, tickers: Sequence[str]) -> list[Quote]:
        """The day so far of many tickers, in the vendor's order, 1 call each.

        Unknown ones come without values. Should one of them get its whole batch refused ([U], but
        the demo token does it), the batch is asked in halves, down to the one.
        """
        found = []
        for batch in chunks(tickers):
            found += await self._batch(batch)
        return found

    async def quotes_of_exchange(self, exchange: str = "US") -> list[Quote]:
        """Every ticker of an exchange, frozen ghosts included; 100 calls flat. Only US is documented."""
        anyone = "AAPL.US"  # the path wants a ticker, whichever
        return await self._ask("real-time", read_quotes, 100, {"ex": exchange}, below=anyone, slow=True)

    async def symbols(self, exchange: str, *, delisted: bool = False, kind: str | None = None) -> list[Listed]:
        """An exchange's tickers, or those it once had; 1 call.

        ``kind`` is the vendor's ``type``, ``common_stock`` for instance.
        """
        params: Params = {"delisted": 1} if delisted else {}
        if kind:
            params["type"] = kind
        return await self._ask("exchange-symbol-list", read_symbols, 1, params, below=exchange)

    async def exchange_details(self, exchange: str) -> ExchangeDetails:
        """An exchange's hours and holidays, about six months either way; 5 calls."""
        return await self._ask("exchange-details", read_exchange_details, 5, below=exchange)

    async def user(self) -> Account:
        """The token's account: calls used and allowed. Free, by measurement; documented as 1 call [U].

        ``apiRequests`` and its date stay on yesterday until the day's first billed call (EODHD.md §5).
        """
        try:
            return await self._ask("user", read_account, 0)
        except (TokenRefused, QuotaExhausted):
            raise
        except (PermanentError, BrokenAnswer):  # the documents know both names; what the second says is raised
            return await self._ask("internal-user", read_account, 0)

    async def eod(self, ticker: str, first: date | None = None, last: date | None = None) -> EodRows:
        """Daily rows from ``first`` to ``last``, inclusive; the whole history by default; 1 call."""
        return await self._ask("eod", read_eod, 1, _dates(first, last), ticker=ticker)

    async def bulk_eod(self, exchange: str, day: date | None = None) -> BulkRows:
        """One day of a whole exchange, by default its last trading day; 100 calls. Slow and large."""
        params: Params = {"date": day.isoformat()} if day else {}
        return await self._ask("eod-bulk-last-day", read_bulk, 100, params, below=exchange, slow=True)

    async def symbol_changes(self, first: date, last: date) -> list[SymbolChange]:
        """Renames in the US from ``first`` to ``last``, inclusive; since 2022-07-22; 5 calls."""
        return await self._ask("symbol-change-history", read_symbol_changes, 5, _dates(first, last))

    async def _batch(self, tickers: list[str]) -> list[Quote]:
        params: Params = {"s": ",".join(tickers[1:])} if len(tickers) > 1 else {}
        try:
            return await self._ask("real-time", read_quotes, len(tickers), params, ticker=tickers[0])
        except (UnknownTicker, TickerRefused):
            if len(tickers) == 1:
                return [Quote(tickers[0])]
        middle = len(tickers) // 2
        return await self._batch(tickers[:middle]) + await self._batch(tickers[middle:])

    async def _ask(
        self,
        endpoint: str,
        read: Callable[[bytes], T],
        calls: int,
        params: Params | None = None,
        *,
        ticker: str | None = None,
        below: str | None = None,
        slow: bool = False,
    ) -> T:
        """Ask ``/endpoint/ticker`` or ``/endpoint/below``; ``slow`` answers get more time."""
        last = ticker or below
        path = f"/{endpoint}/{quote(last, safe='')}" if last else f"/{endpoint}"
        timeout = self._timeout * _SLOW if slow else None
        return await self._attempts.ask(Ask(f"/{endpoint}", path, calls, read, params or {}, ticker, timeout))


def _spans(start: int, end: int, longest: int) -> Iterator[tuple[int, int, int]]:
    """``from``, ``to`` and the stamp that is not this request's, of consecutive requests.

    Whether ``to`` is inclusive is [U]: so the last request asks a second beyond ``end``, the others
    to where the next begins (``from`` is inclusive), and a row stamped there is dropped.
    """
    while end - start > longest:
        yield start, start + longest, start + longest
        start += longest
    yield start, min(end + 1, start + longest), end + 1


def _dates(first: date | None, last: date | None) -> Params:
    given = {"from": first, "to": last}
    return {name: day.isoformat() for name, day in given.items() if day}


def _secret(token: SecretStr | str) -> SecretStr:
    value = (token.get_secret_value() if isinstance(token, SecretStr) else token).strip()
    if not value:
        raise TokenRefused("there is no API token")
    return SecretStr(value)


def _wire(base: httpx.URL, max_connections: int) -> Lanes:
    """TLS verified, connections kept; through the machine's proxy, which httpx leaves to a given transport."""
    proxies = {} if proxy_bypass(base.host) else getproxies()
    proxy = proxies.get(base.scheme) or proxies.get("all")
    tls = httpx.create_ssl_context() if base.scheme == "https" else False
    one = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30)
    return Lanes(lambda: httpx.AsyncHTTPTransport(verify=tls, limits=one, proxy=proxy), max_connections)
