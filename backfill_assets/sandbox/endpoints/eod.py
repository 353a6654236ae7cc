"""``/eod/{T}`` and ``/eod-bulk-last-day/{X}``: parameters, prices and formats (docs/vendor.md §5.4, §5.5).

The rows are in ``eod_rows``.
"""

from collections.abc import Callable
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.endpoints.clock_daily_rows import ClockDailyRows
from backfill_assets.sandbox.endpoints.dividends import DividendEndpoints
from backfill_assets.sandbox.endpoints.eod_rows import EodRow, EodRowSource
from backfill_assets.sandbox.endpoints.splits import SplitEndpoints
from backfill_assets.sandbox.wire.encoding import encode_json
from backfill_assets.sandbox.wire.request import ParsedRequest, parse_symbol
from backfill_assets.sandbox.wire.responses import (
    FREE_PLAN_DAYS,
    FREE_PLAN_TEXT,
    ErrorResponse,
    SuccessResponse,
    build_limited_response,
    build_rows_response,
    get_plan_warning,
    ticker_not_found_error,
    validation_error,
)
from backfill_assets.sandbox.world.simulation import World

BULK_CALLS = 100
_FIRST_DAY = date(1970, 1, 1)
_PERIODS: dict[str, Callable[[date], Any]] = {
    "d": date.toordinal,
    "w": lambda day: day.isocalendar()[:2],
    "m": lambda day: (day.year, day.month),
}


class EodEndpoints:
    """The end-of-day endpoints of one world."""

    def __init__(self, config: SandboxConfig, world: World) -> None:
        self._config, self._world = config, world
        clock = config.feed.clock
        self._row_source = EodRowSource(config, world) if clock is None else ClockDailyRows(config, world, clock)
        self._splits, self._dividends = SplitEndpoints(config, world), DividendEndpoints(world)

    def serve_eod(self, request: ParsedRequest) -> SuccessResponse:
        """Answer ``/eod/{T}``: the daily rows of one ticker."""
        symbol = request.parse_symbol()
        first = request.parse_date("from") or _FIRST_DAY
        last = request.parse_date("to") or request.today
        if not self._world.listings.is_known(symbol, request.today):
            return self._respond_unknown(symbol)
        plan_limit_days = FREE_PLAN_DAYS if request.is_free_plan else self._config.quirks.plan_limit_days
        if plan_limit_days is not None and first < request.today - timedelta(days=plan_limit_days):
            limited_rows = self._row_source.list_rows(
                symbol, request.today - timedelta(days=plan_limit_days), last, request.now
            )
            return build_limited_response(
                limited_rows, get_plan_warning(plan_limit_days), 1, csv=request.wants_csv, compressible=True
            )
        rows = _aggregate_by_period(request, self._row_source.list_rows(symbol, first, last, request.now))
        if request.params.get("order") == "d":
            rows.reverse()
        row_filter = request.params.get("filter", "")
        if row_filter.startswith("last_"):
            return _respond_last_value(rows, row_filter.removeprefix("last_"))
        return build_rows_response(rows, 1, csv=request.wants_csv, compressible=True)

    def serve_bulk(self, request: ParsedRequest) -> SuccessResponse:
        """Answer ``/eod-bulk-last-day/{X}``: one day of the whole market; ``[]`` without a file of that day."""
        if request.is_free_plan:
            raise ErrorResponse(402, FREE_PLAN_TEXT)
        if request.path_argument.upper() != self._config.exchange:
            raise ticker_not_found_error()
        tickers = request.split_tickers("symbols")
        calls = BULK_CALLS + len(tickers)
        session = self._find_session(request)
        data_type = request.params.get("type") or "eod"
        if data_type not in {"eod", "splits", "dividends"}:
            raise validation_error(type="The selected type is invalid.")
        if session is None:
            return build_rows_response([], calls, csv=request.wants_csv)
        if data_type == "eod":
            return build_rows_response(self._build_bulk_rows(request, session, tickers), calls, csv=request.wants_csv)
        actions = self._splits if data_type == "splits" else self._dividends
        action_rows = actions.list_market_rows(session.day, self._list_codes(request, tickers), request.today)
        return build_rows_response(action_rows, calls, csv=request.wants_csv)

    def _respond_unknown(self, symbol: str) -> SuccessResponse:
        """A share class written without its dash is a 200 ``[]``, any other unknown symbol a 404."""
        dashless = {known.replace("-", "") for known in self._world.symbols if "-" in known}
        if symbol in dashless:
            return SuccessResponse(b"[]", 1, compressible=True)
        raise ticker_not_found_error()

    def _find_session(self, request: ParsedRequest) -> Session | None:
        """Find the requested session; without a date, the last one that has a file."""
        session_index = self._world.session_index
        day = request.parse_date("date")
        if day is not None:
            session = session_index.find_session(day)
            return session if session and self._row_source.is_bulk_file_published(session, request.now) else None
        index = session_index.find_last_closed(request.now.timestamp())
        if index >= 0 and not self._row_source.is_bulk_file_published(session_index.sessions[index], request.now):
            index -= 1
        return session_index.sessions[index] if index >= 0 else None

    def _list_codes(self, request: ParsedRequest, tickers: tuple[str, ...]) -> list[str]:
        """List the known codes, only ``tickers`` if there are any."""
        wanted = {parse_symbol(name, self._config.exchange) for name in tickers}
        return [
            symbol
            for symbol in self._world.symbols
            if (not wanted or symbol in wanted) and self._world.listings.is_known(symbol, request.today)
        ]

    def _build_bulk_rows(
        self, request: ParsedRequest, session: Session, tickers: tuple[str, ...]
    ) -> list[dict[str, Any]]:
        symbols = self._list_codes(request, tickers)
        code = "Code" if self._config.quirks.upper_case_codes else "code"
        extended = request.params.get("filter") == "extended"
        return [
            {
                code: symbol,
                **({"name": self._world.universe.describe(symbol).name} if extended else {}),
                "exchange_short_name": self._config.exchange,
                "date": row.date,
                "open": row.open,
                "high": row.high,
                "low": row.low,
                "close": row.close,
                "adjusted_close": row.adjusted_close,
                "volume": row.volume,
            }
            for symbol, row in self._row_source.list_market_rows(symbols, session, request.now)
        ]


def _aggregate_by_period(request: ParsedRequest, rows: list[EodRow]) -> list[EodRow]:
    period = request.params.get("period") or "d"
    if period not in _PERIODS:
        raise validation_error(period="The selected period is invalid.")
    if period == "d":
        return rows
    complete_rows = [row for row in rows if row.open is not None]
    groups = groupby(complete_rows, lambda row: _PERIODS[period](date.fromisoformat(row.date)))
    return [_merge_rows(list(group)) for _, group in groups]


def _merge_rows(rows: list[EodRow]) -> EodRow:
    first, last = rows[0], rows[-1]
    high = max(row.high for row in rows if row.high is not None)
    low = min(row.low for row in rows if row.low is not None)
    volume = sum(row.volume or 0 for row in rows)
    return EodRow(last.date, first.open, high, low, last.close, last.adjusted_close, volume)


def _respond_last_value(rows: list[EodRow], name: str) -> SuccessResponse:
    if name not in EodRow.__struct_fields__:
        raise validation_error(filter="The selected filter is invalid.")
    return SuccessResponse(encode_json(getattr(rows[-1], name) if rows else None), 1)
