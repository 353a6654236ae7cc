"""``/intraday/{T}``: parameters, limits and formats (docs/vendor.md §2).

Rows come from an ``IntradaySource``: generated in ``intraday_archive``, recorded in ``replay``.
"""

from asyncio import sleep
from collections.abc import Iterator
from datetime import date
from typing import Protocol

from backfill_assets.sandbox.config import DataQuirks
from backfill_assets.sandbox.endpoints.intraday_rows import IntradayRow, split_datetimes
from backfill_assets.sandbox.wire.encoding import join_json_array
from backfill_assets.sandbox.wire.request import ParsedRequest
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

INTRADAY_CALLS = 5
MAX_DAYS = {"1m": 120, "5m": 600, "1h": 7200}
DAY_SECONDS = 86400
_DEFAULT_DAYS = 120
_SESSIONS_PER_YIELD = 8


class IntradaySource(Protocol):
    """A source of rows. Times are epoch seconds; ``now`` limits the rows to what is published."""

    def is_known(self, symbol: str, today: date) -> bool:
        """Whether the ticker exists."""
        ...

    def iter_json_fragments(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[bytes]:
        """Iterate over the rows in ``[start, end]`` as JSON fragments."""
        ...

    def iter_rows(self, symbol: str, interval: str, start: int, end: int, now: float) -> Iterator[list[IntradayRow]]:
        """Iterate over the same rows as objects."""
        ...


async def serve_intraday(request: ParsedRequest, source: IntradaySource, quirks: DataQuirks) -> SuccessResponse:
    """Answer one request. Yields to other requests after every few sessions."""
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
    plan_limit_days = FREE_PLAN_DAYS if request.is_free_plan else quirks.plan_limit_days
    earliest = start if plan_limit_days is None else int(now) - plan_limit_days * DAY_SECONDS
    if plan_limit_days is not None and (request.is_free_plan or start < earliest):
        rows = await _collect_rows(source.iter_rows(symbol, interval, max(start, earliest), end, now))
        warning = get_plan_warning(plan_limit_days)
        return build_limited_response(rows, warning, INTRADAY_CALLS, csv=request.wants_csv)
    if request.wants_csv or request.params.get("split-dt") == "1":
        return await _respond_rows(request, source.iter_rows(symbol, interval, start, end, now))
    fragments = []
    for number, fragment in enumerate(source.iter_json_fragments(symbol, interval, start, end, now), 1):
        fragments.append(fragment)
        if number % _SESSIONS_PER_YIELD == 0:
            await sleep(0)
    return SuccessResponse(join_json_array(fragments), INTRADAY_CALLS)


def _parse_range(request: ParsedRequest, interval: str) -> tuple[int, int]:
    """Parse the range in epoch seconds, both ends inclusive. Too long a range is refused (docs/vendor.md §2.3)."""
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
