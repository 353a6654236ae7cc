"""Which requests are tentative, in what order they are sent, and how many at first."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from backfill_assets.backfill.planner import PlannedRequest
from backfill_assets.backfill.probing import (
    build_blocks,
    compute_first_block_size,
    has_enough_come,
    is_probe_due,
    split_block,
    split_requests,
)
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.publication_habits import HalfHours, PublicationHabits
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets_tests.unit.classified_coverage import build_classified_coverage
from backfill_assets_tests.unit.gap_builders import Entry

GRID = build_slot_grid(list_sessions(US, date(2026, 6, 1), date(2026, 6, 2)), INTERVALS["30m"])
MONDAY, TUESDAY = 0, 1  # sessions of the grid
TUESDAY_EVENING = datetime(2026, 6, 3, 0, tzinfo=UTC)  # 20:00 in New York: Tuesday is askable, but not overdue
TUESDAY_OVERDUE = datetime(2026, 6, 3, 12, tzinfo=UTC)  # 08:00 in New York, 16 h after the close
TICKERS = ("AAPL", "MSFT", "SPY", "VTI")


def build_coverage(
    entries: Sequence[Entry] = (),
    now: datetime = TUESDAY_EVENING,
    tickers: Sequence[str] = TICKERS,
    **known: Any,
) -> Coverage:
    return build_classified_coverage(tickers, GRID, now, entries=entries, **known)


def build_request(coverage: Coverage, row: int, oldest_due: int = TUESDAY, newest_due: int = TUESDAY) -> PlannedRequest:
    symbol = coverage.symbols[row]
    return PlannedRequest(
        symbol, row, 0, 1, oldest_due, newest_due, 1, oldest_due, newest_due, tickers=(symbol.ticker,)
    )


def test_only_requests_for_the_fresh_session_alone_are_tentative() -> None:
    coverage = build_coverage()
    both_sessions = build_request(coverage, 0, oldest_due=MONDAY)
    old_session = build_request(coverage, 1, oldest_due=MONDAY, newest_due=MONDAY)
    fresh_session = build_request(coverage, 2)
    assert split_requests([both_sessions, old_session, fresh_session], coverage) == (
        [both_sessions, old_session],
        [fresh_session],
    )


@pytest.mark.parametrize(("published", "is_tentative"), [(0, True), (1, True), (2, False), (3, False)])
def test_no_request_is_tentative_once_half_of_the_symbols_are_published(published: int, is_tentative: bool) -> None:
    coverage = build_coverage([Entry(row=row, session=TUESDAY, published=True) for row in range(published)])
    certain, tentative = split_requests([build_request(coverage, 3)], coverage)
    assert (len(certain), len(tentative)) == (int(not is_tentative), int(is_tentative))


@pytest.mark.parametrize(
    ("now", "is_tentative"), [(TUESDAY_OVERDUE - timedelta(seconds=1), True), (TUESDAY_OVERDUE, False)]
)
def test_no_request_is_tentative_once_the_session_is_overdue(now: datetime, is_tentative: bool) -> None:
    coverage = build_coverage(now=now)
    certain, tentative = split_requests([build_request(coverage, 0)], coverage)
    assert (len(certain), len(tentative)) == (int(not is_tentative), int(is_tentative))


def test_least_recently_requested_tickers_are_probed_first_then_liquid_ones() -> None:
    entries = [Entry(row=0, session=TUESDAY, requested_at=2000), Entry(row=1, session=TUESDAY, requested_at=1000)]
    coverage = build_coverage(entries, incomplete_sessions=[0, 0, 5, 1])
    _, tentative = split_requests([build_request(coverage, row) for row in range(4)], coverage)
    assert [request.row for request in tentative] == [3, 2, 1, 0]


def test_order_of_equal_tickers_changes_with_the_round_but_not_within_it() -> None:
    tickers = [f"T{number}" for number in range(50)]

    def list_rows(now: datetime) -> list[int]:
        coverage = build_coverage(now=now, tickers=tickers)
        return [request.row for request in split_requests([build_request(coverage, r) for r in range(50)], coverage)[1]]

    first_round, next_round = list_rows(TUESDAY_EVENING), list_rows(TUESDAY_EVENING + timedelta(minutes=30))
    assert sorted(first_round) == sorted(next_round) == list(range(50))
    assert first_round == list_rows(TUESDAY_EVENING)
    assert first_round != next_round


@pytest.mark.parametrize(("seconds", "is_due"), [(0, False), (1799, False), (1800, True)])
def test_next_round_is_due_half_an_hour_after_the_last_request(seconds: int, is_due: bool) -> None:
    requested_at = int(TUESDAY_EVENING.timestamp()) - seconds
    assert is_probe_due(build_coverage([Entry(session=TUESDAY, requested_at=requested_at)])) is is_due


def test_round_is_due_if_only_older_sessions_were_requested() -> None:
    just_now = int(TUESDAY_EVENING.timestamp())
    assert is_probe_due(build_coverage([Entry(session=MONDAY, requested_at=just_now)]))
    assert is_probe_due(build_coverage())


@pytest.mark.parametrize(("symbols", "size"), [(1, 1), (299, 1), (300, 2), (450, 3), (3000, 3)])
def test_first_block_has_up_to_three_probes(symbols: int, size: int) -> None:
    assert compute_first_block_size(build_coverage(tickers=[f"T{number}" for number in range(symbols)])) == size


def test_first_block_has_as_many_requests_as_symbols_seen_published() -> None:
    entries = [Entry(row=row, session=TUESDAY, published=True) for row in range(7)]
    assert compute_first_block_size(build_coverage(entries, tickers=[f"T{number}" for number in range(300)])) == 7


HALF_HOURS = HalfHours.build(3 * 3600, 16 * 3600)


def build_habits(chances_by_now: Sequence[float]) -> PublicationHabits:
    """Of each ticker, the chance that a session has come an hour after it is askable; else it comes never."""
    own = np.zeros((len(chances_by_now), HALF_HOURS.count))
    own[:, 1], own[:, -1] = chances_by_now, 1 - np.array(chances_by_now)
    return PublicationHabits(HALF_HOURS, np.zeros((7, HALF_HOURS.count)), own, 1e-9, np.zeros(len(own), bool), 20)


def test_where_chances_are_learned_blocks_count_what_is_to_be_expected() -> None:
    names = [f"T{number}" for number in range(40)]
    coverage = build_coverage(tickers=names, habits=build_habits([0.25] * 20 + [0.5] * 20))
    certain, tentative = split_requests([build_request(coverage, row) for row in range(40)], coverage)
    assert (certain, len(tentative)) == ([], 40)
    block, rest = split_block(tentative, compute_first_block_size(coverage), coverage)
    assert (len(block), len(rest)) == (8, 32)  # four are to be expected
    assert all(request.row >= 20 for request in block)  # likely ones first
    assert [has_enough_come(came, block, coverage) for came in (1, 2)] == [False, True]


def test_without_history_a_block_counts_its_requests() -> None:
    coverage = build_coverage()
    requests = [build_request(coverage, row) for row in range(4)]
    assert split_block(requests, 3, coverage) == (requests[:3], requests[3:])
    assert split_block(requests, 8, coverage) == (requests, [])
    assert [has_enough_come(came, requests, coverage) for came in (1, 2)] == [False, True]


CLOSE = datetime(2026, 6, 2, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("vain", "hours", "waits", "is_tentative"),
    [(9, 9.9, True, True), (9, 10, False, True), (11, 13.9, True, True), (11, 14, False, True), (9, 21, False, False)],
)
def test_stragglers_are_requested_in_rounds(vain: float, hours: float, waits: bool, is_tentative: bool) -> None:
    """Five of ten tickers came nine hours after the close, five were requested in vain then, or again at eleven."""
    came_at = int(CLOSE.timestamp()) + 9 * 3600
    came = [
        Entry(row=row, session=1, requested_at=came_at, published=True, data_until=came_at, published_at=came_at)
        for row in range(5)
    ]
    absent = [
        Entry(row=row, session=1, requested_at=int(CLOSE.timestamp() + vain * 3600), not_returned=range(13, 26))
        for row in range(5, 10)
    ]
    coverage = build_coverage(
        [*came, *absent],
        CLOSE + timedelta(hours=hours),
        tickers=[f"T{number}" for number in range(10)],
        slots=[(8, 20, SlotState.MISSING)],
        first_published_at=[np.nan, came_at],
        half_published_at=[np.nan, came_at],
    )
    assert coverage.slot_states.due.tolist() == [not waits]
    certain, tentative = split_requests([build_request(coverage, 8)], coverage)
    assert (len(certain), len(tentative)) == (int(not is_tentative), int(is_tentative))


@pytest.mark.parametrize(("requests", "enough"), [(31, 16), (32, 24), (64, 48)])
def test_a_large_block_has_to_come_nearly_whole_when_a_session_is_seen_first(requests: int, enough: int) -> None:
    coverage = build_coverage(tickers=[f"T{number}" for number in range(100)])
    block = [build_request(coverage, row) for row in range(requests)]
    assert [has_enough_come(came, block, coverage) for came in (enough - 1, enough)] == [False, True]
    seen = build_coverage(tickers=[f"T{number}" for number in range(100)], first_published_at=[np.nan, 1.0])
    assert [has_enough_come(came, block, seen) for came in (requests // 2 - 1, (requests + 1) // 2)] == [False, True]


def test_stragglers_follow_the_others_in_blocks_of_their_own() -> None:
    """Six of twenty tickers came nine hours after the close, six were requested in vain then, the others never."""
    came_at = int(CLOSE.timestamp()) + 9 * 3600
    entries = [
        *(
            Entry(row=row, session=1, requested_at=came_at, published=True, data_until=came_at, published_at=came_at)
            for row in range(6)
        ),
        *(Entry(row=row, session=1, requested_at=came_at, not_returned=range(13, 26)) for row in range(6, 12)),
    ]
    names = [f"T{number}" for number in range(20)]
    coverage = build_coverage(
        entries,
        CLOSE + timedelta(hours=10),
        names,
        first_published_at=[np.nan, came_at],
        half_published_at=[np.nan] * 2,
    )
    tentative = split_requests([build_request(coverage, row) for row in range(6, 20)], coverage)[1]
    blocks = [sorted(request.row for request in block) for block in build_blocks(tentative, coverage)]
    assert [len(block) for block in blocks] == [6, 2, 1, 2, 3]
    assert sorted(blocks[0] + blocks[1]) == list(range(12, 20))
