"""EODHD's endpoints as typed calls.

What lives here: paths. Ranges of days and spans that are too long for one request are in ``eodhd.parameters``, how a
request is sent in ``eodhd.requests``, parsing in ``eodhd.parsing``, ``quotes``, ``eod``, ``splits``, ``dividends`` and
``reference``, prices and limits in ``eodhd.pricing``. The interface is ``market.vendor.VendorClient``; every call may
raise any ``VendorError``.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any

from backfill_assets.eodhd.dividends import parse_bulk_dividends, parse_dividends
from backfill_assets.eodhd.eod import parse_bulk_eod, parse_eod
from backfill_assets.eodhd.parameters import Params, build_batch_params, build_date_params, split_span
from backfill_assets.eodhd.parsing import concatenate_intraday, parse_intraday
from backfill_assets.eodhd.pricing import CALL_PRICES, REQUEST_LIMITS
from backfill_assets.eodhd.quote_batches import fetch_in_halves
from backfill_assets.eodhd.quotes import parse_exchange_quotes, parse_quotes, split_batches
from backfill_assets.eodhd.reference import parse_symbol_changes, parse_symbols
from backfill_assets.eodhd.requests import EXCHANGE_PATIENCE, EodhdRequests
from backfill_assets.eodhd.splits import parse_bulk_splits, parse_splits
from backfill_assets.market.vendor import (
    BulkDailyRows,
    DailyRows,
    IntradayRows,
    ListedSymbol,
    Quote,
    RecordList,
    SymbolChange,
)
from backfill_assets.market.vendor_actions import ActionRows, ActionRowT, DividendRows, SplitRows
from backfill_assets.market.vendor_prices import CallPrices, RequestLimits

_LONGEST_PATIENCE = 5.0  # so many times as long as usual an answer of the longest span may take


class EodhdClient(EodhdRequests):
    """A ``VendorClient`` for EODHD; an async context manager, safe for many tasks of one event loop."""

    @property
    def prices(self) -> CallPrices:
        """What each request costs."""
        return CALL_PRICES

    @property
    def limits(self) -> RequestLimits:
        """How much one request may cover."""
        return REQUEST_LIMITS

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
            patience = max(1.0, _LONGEST_PATIENCE * (last - first) / max_seconds)
            rows = await self._request(
                "intraday", parse_intraday, self.prices.intraday, params, ticker=ticker, patience=patience
            )
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
            "real-time",
            parse_exchange_quotes,
            calls,
            {"ex": exchange},
            path_segment=placeholder_ticker,
            patience=EXCHANGE_PATIENCE,
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

    async def fetch_daily(self, ticker: str, first: date | None = None, last: date | None = None) -> DailyRows:
        """Daily rows from ``first`` to ``last``, both inclusive; without bounds the whole history."""
        params = build_date_params(first, last)
        return self._sanitize_warning(await self._request("eod", parse_eod, self.prices.daily, params, ticker=ticker))

    async def fetch_bulk_daily(self, exchange: str, day: date | None = None) -> BulkDailyRows:
        """One day of a whole exchange, by default its last trading day; a slow and large response."""
        params: Params = {"date": day.isoformat()} if day else {}
        calls = self.prices.bulk_daily
        rows = await self._request_optional(
            "eod-bulk-last-day", parse_bulk_eod, calls, params, path_segment=exchange, patience=EXCHANGE_PATIENCE
        )
        return self._sanitize_warning(rows)

    async def fetch_splits(self, ticker: str, first: date | None = None) -> SplitRows:
        """The splits of a ticker from ``first`` on, the whole history by default (docs/vendor.md §5.6)."""
        params, calls = build_date_params(first, None), self.prices.splits
        rows = await self._request_optional("splits", parse_splits, calls, params, ticker=ticker)
        return self._sanitize_warning(rows)

    async def fetch_bulk_splits(self, exchange: str, day: date) -> SplitRows:
        """The splits of a whole exchange that take effect on ``day`` (docs/vendor.md §5.5)."""
        return self._sanitize_warning(
            await self._request_file("splits", parse_bulk_splits, self.prices.bulk_splits, exchange, day)
        )

    async def fetch_dividends(self, ticker: str, first: date | None = None) -> DividendRows:
        """The dividends of a ticker from ``first`` on, the whole history by default (docs/vendor.md §5.7)."""
        params, calls = build_date_params(first, None), self.prices.dividends
        rows = await self._request_optional("div", parse_dividends, calls, params, ticker=ticker)
        return self._sanitize_warning(rows)

    async def fetch_bulk_dividends(self, exchange: str, day: date) -> DividendRows:
        """The dividends of a whole exchange with the ex-date ``day`` (docs/vendor.md §5.5)."""
        return self._sanitize_warning(
            await self._request_file("dividends", parse_bulk_dividends, self.prices.bulk_dividends, exchange, day)
        )

    async def fetch_symbol_changes(self, first: date, last: date) -> RecordList[SymbolChange]:
        """US symbols renamed from ``first`` to ``last``, inclusive; known since 2022-07-22 (docs/vendor.md §5.8)."""
        params, calls = build_date_params(first, last), self.prices.symbol_changes
        changes = await self._request_optional("symbol-change-history", parse_symbol_changes, calls, params)
        return RecordList(changes, self._sanitize_text(changes.warning))

    async def _fetch_quote_batch(self, tickers: list[str]) -> list[Quote]:
        params, calls = build_batch_params(tickers), self.prices.quote * len(tickers)
        return await self._request("real-time", parse_quotes, calls, params, ticker=tickers[0])

    async def _request_file(
        self,
        data_type: str,
        parse: Callable[[bytes], ActionRows[ActionRowT]],
        calls: int,
        exchange: str,
        day: date,
    ) -> ActionRows[ActionRowT]:
        """One day's actions of a whole exchange.

        A plan may have the daily file without them, so their refusal is one of its own.
        """
        endpoint = "eod-bulk-last-day"
        params: Params = {"date": day.isoformat(), "type": data_type}
        name = f"/{endpoint}?type={data_type}"
        options: dict[str, Any] = {"optional_name": name, "path_segment": exchange, "patience": EXCHANGE_PATIENCE}
        return await self._request_optional(endpoint, parse, calls, params, **options)
