"""How many rows may be on their way from the vendor to the store at a time, and how many answers are stored at once."""

import asyncio
from collections.abc import Sequence
from datetime import date

import pytest

from backfill_assets.backfill.fetch import response_queue
from backfill_assets.backfill.fetch.response_queue import (
    MAX_ROWS_ON_THE_WAY,
    FailedRequest,
    ResponseQueue,
    bound_rows,
)
from backfill_assets.backfill.planner import PlannedRequest
from backfill_assets.eodhd.pricing import REQUEST_LIMITS
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.market.vendor_errors import BrokenAnswer


def build_request(number: int, start: int = 0, end: int = 0, last_session: int = 0) -> PlannedRequest:
    symbol = Symbol(number, Ticker(f"T{number}", "US"), is_active=True)
    return PlannedRequest(symbol, number, start, end, 0, last_session, 1, 0, 0, (symbol.ticker,))


async def count_on_the_way(rows: Sequence[int], in_flight: int, max_rows: int) -> list[int]:
    """How many of the requests are on their way at first, and after each of them was stored."""
    queue = ResponseQueue(in_flight, max_rows)
    waiting = [build_request(number) for number in range(len(rows))]
    sent: list[PlannedRequest] = []

    async def send(request: PlannedRequest) -> None:
        await queue.reserve(request, rows[request.row])
        sent.append(request)

    counts = []
    async with asyncio.TaskGroup() as group:
        for request in waiting:
            group.create_task(send(request))
        for stored in range(len(rows)):
            for _ in range(2 * len(rows)):
                await asyncio.sleep(0)
            counts.append(len(sent) - stored)
            queue.release(sent[stored])
    return counts


@pytest.mark.parametrize(
    ("rows", "in_flight", "max_rows", "counts"),
    [
        ([10, 10, 10, 10], 3, 1000, [3, 3, 2, 1]),
        ([400, 400, 400, 400], 48, 1000, [2, 2, 2, 1]),
        ([5000, 5000, 10], 48, 1000, [1, 1, 1]),
        ([10, 10, 990, 10], 48, 1000, [3, 2, 2, 1]),
    ],
    ids=["places alone", "rows", "larger than the way", "short ones go together, and past a long one that waits"],
)
def test_answers_on_their_way_are_bounded_by_their_rows(
    rows: list[int], in_flight: int, max_rows: int, counts: list[int]
) -> None:
    assert asyncio.run(count_on_the_way(rows, in_flight, max_rows)) == counts


@pytest.mark.parametrize(
    ("exchange", "source", "days", "least", "most"),
    [
        ("US", "5m", 600, 32_000, 33_500),  # 79 a session
        ("US", "1m", 120, 76_083, 81_000),  # as was recorded (docs/vendor.md §2.19), the hours before the open included
        ("FOREX", "1m", 60, 84_000, 87_000),
        ("CC", "5m", 300, 86_000, 87_000),
    ],
)
def test_rows_of_an_answer_are_bounded_before_it_comes(
    exchange: str, source: str, days: int, least: int, most: int
) -> None:
    begin = date(2024, 12, 20)
    sessions = list_sessions(get_profile(exchange), begin, date.fromordinal(begin.toordinal() + days - 1))
    grid = build_slot_grid(sessions, INTERVALS["30m"])
    ends = int(grid.session_opens[0]), int(grid.session_closes[-1])
    found = bound_rows(build_request(1, *ends, len(sessions) - 1), grid, INTERVALS[source])
    assert least <= found <= most
    assert found <= REQUEST_LIMITS.max_rows <= MAX_ROWS_ON_THE_WAY


async def take_batch(before: int, later: int, *, closes: bool) -> tuple[int, bool]:
    """How many answers are stored at once, of 24 places: ``before`` are there, ``later`` ones come one by one."""
    queue = ResponseQueue(24)
    for number in range(before):
        queue.put(FailedRequest(build_request(number), BrokenAnswer("")))
    batch = asyncio.create_task(queue.get_batch())
    for number in range(later):
        await asyncio.sleep(0)
        queue.put(FailedRequest(build_request(before + number), BrokenAnswer("")))
    if closes:
        queue.close()
    items, has_more = await batch
    return len(items), has_more


@pytest.mark.parametrize(
    ("before", "later", "closes", "stored"),
    [
        (1, 4, False, (4, True)),
        (6, 0, False, (6, True)),
        (1, 1, True, (2, False)),
    ],
    ids=["until a sixth of the places is filled", "what is there at once", "no longer than requests are sent"],
)
def test_answers_are_gathered(
    monkeypatch: pytest.MonkeyPatch, before: int, later: int, closes: bool, stored: tuple[int, bool]
) -> None:
    monkeypatch.setattr(response_queue, "GATHER_SECONDS", 3600.0)
    assert asyncio.run(asyncio.wait_for(take_batch(before, later, closes=closes), 60)) == stored


def test_answers_are_gathered_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_queue, "GATHER_SECONDS", 0.0)
    assert asyncio.run(asyncio.wait_for(take_batch(1, 0, closes=False), 60)) == (1, True)
