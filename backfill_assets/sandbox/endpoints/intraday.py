"""``/intraday/{T}`` (EODHD.md §2)."""

from asyncio import sleep
from collections.abc import Iterator
from datetime import date
from typing import Protocol

from backfill_assets.sandbox.config import DataQuirks
from backfill_assets.sandbox.wire.encoding import IntradayRow, join_json_array, split_datetimes
from backfill_assets.sandbox.wire.request import ParsedRequest
from backfill_assets.sandbox.wire.responses import (
    FREE_PLAN_TEXT,
    FREE_PLAN_WARNING,
    ErrorResponse,
    SuccessResponse,
    build_rows_response,
    ticker_not_found_error,
    validation_error,
)

INTRADAY_CALLS = 5
MAX_DAYS = {"1m": 120, "5m": 600, "1h": 7200}
DAY_SECONDS = 86400
_DEFAULT_DAYS = 120
_SESSIONS_PER_YIELD = 8


class IntradaySource(Protocol):
    """Where rows come from: generated, or recorded."""

    def is_known(self, symbol: str, today: date) -> bool:
        """Whether there is such a ticker."""
        ...

    def iter_json_fragments(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[bytes]:
        """Rows in ``[start, end]`` as pieces of JSON."""
        ...

    def iter_rows(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[list[IntradayRow]]:
        """The same rows as objects."""
        ...


async def serve_intraday(request: ParsedRequest, source: IntradaySource, quirks: DataQuirks) -> SuccessResponse:
    """Answer one request; lets others in between after every few sessions."""
    if request.is_free_plan and not quirks.free_intraday:
        raise ErrorResponse(403, FREE_PLAN_TEXT)
    interval = request.params.get("interval") or "5m"
    if interval not in MAX_DAYS:
        raise validation_error(interval="The selected interval is invalid.")
    symbol = request.parse_symbol()
    start, end = _parse_range(request, interval)
    if not source.is_known(symbol, request.today):
        raise ticker_not_found_error()
    end -= 0 if quirks.to_inclusive else 1
    now = request.now.timestamp()
    if request.is_free_plan:
        return await _respond_free_plan(
            request, source.iter_rows(symbol, interval, max(start, int(now) - 365 * DAY_SECONDS), end, now)
        )
    if request.wants_csv or request.params.get("split-dt") == "1":
        return await _respond_rows(request, source.iter_rows(symbol, interval, start, end, now))
    fragments = []
    for number, fragment in enumerate(source.iter_json_fragments(symbol, interval, start, end, now), 1):
        fragments.append(fragment)
        if number % _SESSIONS_PER_YIELD == 0:
            await sleep(0)
    return SuccessResponse(join_json_array(fragments), INTRADAY_CALLS)


def _parse_range(request: ParsedRequest, interval: str) -> tuple[int, int]:
    """The window in epoch seconds, both ends included; overshoot is refused, not cut."""
    start, end = request.parse_timestamp("from"), request.parse_timestamp("to")
    end = int(request.now.timestamp()) if end is None else end
    start = end - _DEFAULT_DAYS * DAY_SECONDS if start is None else start
    days = MAX_DAYS[interval]
    if end - start > days * DAY_SECONDS:
        message = f"Max period length is {days} days"
        raise validation_error(to=message, **{"from": message})
    return start, end


async def _collect_rows(sessions: Iterator[list[IntradayRow]]) -> list[IntradayRow]:
    collected: list[IntradayRow] = []
    for rows in sessions:
        collected += rows
        await sleep(0)
    return collected


async def _respond_rows(request: ParsedRequest, sessions: Iterator[list[IntradayRow]]) -> SuccessResponse:
    rows = await _collect_rows(sessions)
    is_split = request.params.get("split-dt") == "1"
    return build_rows_response(split_datetimes(rows) if is_split else rows, INTRADAY_CALLS, csv=request.wants_csv)


async def _respond_free_plan(request: ParsedRequest, sessions: Iterator[list[IntradayRow]]) -> SuccessResponse:
    """A free token's year: the last row, or a row of its own, carries a warning (EODHD.md §1)."""
    rows = [
        {name: getattr(row, name) for name in IntradayRow.__struct_fields__} for row in await _collect_rows(sessions)
    ]
    if rows:
        rows[-1]["warning"] = FREE_PLAN_WARNING
    else:
        rows = [{"warning": FREE_PLAN_WARNING}]
    return build_rows_response(rows, INTRADAY_CALLS, csv=request.wants_csv)
