"""Requests planned for a given coverage, without database, vendor and clock."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.backfill.planner import Plan, PlannedRequest, PlanOptions, Strategy, make_plan
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_previous_sessions, list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.evidence import AbsenceEvidence, RequestHistory
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.slot_states import OpenSlots, SlotState, classify_slots
from backfill_assets_tests.unit.market_builders import parse_epoch, parse_new_york

RULES = GapRules(askable_after=timedelta(hours=3), overdue_after=timedelta(hours=16))
NOW = parse_new_york("2026-06-05 12:00")  # a Friday; Monday to Thursday are askable
WEEK = (date(2026, 6, 1), date(2026, 6, 5))
TODAY = range(52, 65)
NAMES = ("AAPL", "MSFT", "SPY", "BRK-B")


def build_coverage_with_gaps(
    absent: Sequence[Sequence[int]],
    *,
    days: tuple[date, date] = WEEK,
    not_returned: Sequence[tuple[int, int]] = (),
    requested_at: datetime = NOW,
    data_until: int = 0,
    newest: Sequence[int] | None = None,
    now: datetime = NOW,
    stored_state: SlotState = SlotState.MISSING,
) -> Coverage:
    """A measured coverage.

    ``absent`` holds the ordinals without a bar for each ticker, ``not_returned`` the slots (row, ordinal) that
    a request at ``requested_at`` did not return. The slots are in ``stored_state``.
    """
    grid = build_slot_grid(list_sessions(US, *days), INTERVALS["30m"])
    pairs = np.array([(row, at) for row, ordinals in enumerate(absent) for at in ordinals], np.int64).reshape(-1, 2)
    slots = OpenSlots(pairs[:, 0], pairs[:, 1], np.full(len(pairs), stored_state, np.int8))
    entries = sorted({(row, int(grid.session_index[at])) for row, at in not_returned})
    history = RequestHistory(
        row=np.array([row for row, _ in entries], np.int64),
        session=np.array([session for _, session in entries], np.int64),
        requested_at=np.full(len(entries), int(requested_at.timestamp()), np.int64),
        request_count=np.ones(len(entries), np.int64),
        no_new_data_since=np.full(len(entries), requested_at.timestamp()),
        published=np.zeros(len(entries), bool),
        data_until=np.full(len(entries), data_until, np.int64),
        published_at=np.full(len(entries), np.nan),
        not_returned_entry=np.array(
            [entries.index((row, int(grid.session_index[at]))) for row, at in not_returned], np.int64
        ),
        not_returned_ordinal=np.array([at for _, at in not_returned], np.int64),
    )
    evidence = AbsenceEvidence.create_empty(len(absent), len(grid.sessions))
    none = np.full(len(absent), -1, np.int64)
    return Coverage(
        symbols=tuple(Symbol(100 + row, Ticker(NAMES[row]), is_active=True) for row in range(len(absent))),
        grid=grid,
        now=now,
        expected=np.full(len(absent), grid.size, np.int64),
        counts=np.zeros((len(absent), len(SlotState)), np.int64),
        missing=np.zeros(len(absent), np.int64),
        first_bar_at=none,
        last_bar_at=none
        if newest is None
        else np.array([-1 if at < 0 else grid.starts[at] for at in newest], np.int64),
        open_slots=slots,
        slot_states=classify_slots(slots, history, evidence, grid, RULES, now),
        request_history=history,
        absence_evidence=evidence,
        duplicates=0,
        askable_at=tuple(s.regular_close + RULES.askable_after for s in grid.sessions),
        overdue_at=tuple(s.regular_close + RULES.overdue_after for s in grid.sessions),
    )


def make_test_plan(coverage: Coverage, **options: Any) -> Plan:
    values = {"calls_per_request": 5, "overlap_sessions": 2, "max_span": timedelta(days=120)} | options
    return make_plan(coverage, PlanOptions(**values))


def list_requested_gaps(plan: Plan) -> list[tuple[str, int]]:
    return [(request.symbol.ticker.symbol, request.slot_count) for request in plan.requests]


def get_days(plan: Plan, request: PlannedRequest) -> tuple[str, str]:
    return str(plan.grid.sessions[request.first_session].day), str(plan.grid.sessions[request.last_session].day)


def test_one_request_per_ticker_with_gaps() -> None:
    plan = make_test_plan(build_coverage_with_gaps([[3], [], [0, 25, 51], []]))
    assert list_requested_gaps(plan) == [("AAPL", 1), ("SPY", 3)]
    assert (plan.calls, plan.lower_bound, plan.deferred) == (10, 10, 0)


def test_gaps_in_any_order_make_one_span() -> None:
    plan = make_test_plan(build_coverage_with_gaps([[51, 13, 30, 14]]))
    assert [get_days(plan, request) for request in plan.requests] == [("2026-05-29", "2026-06-04")]


@pytest.mark.parametrize("hours_ago", [0, 1, 30])
@pytest.mark.parametrize("user_selected", [False, True])
def test_a_person_requests_suspect_bars_whatever_the_retry_schedule_says(user_selected: bool, hours_ago: int) -> None:
    coverage = build_coverage_with_gaps(
        [[3], [51]],
        not_returned=[(0, 4), (1, 50)],
        requested_at=NOW - timedelta(hours=hours_ago),
        stored_state=SlotState.SUSPECT,
    )
    is_due = user_selected or hours_ago == 30  # daily at first
    plan = make_test_plan(coverage, user_selected=user_selected)
    assert list_requested_gaps(plan) == [("AAPL", 1), ("MSFT", 1)] * is_due


def test_a_person_requests_no_suspect_bar_of_a_session_that_is_not_askable() -> None:
    coverage = build_coverage_with_gaps([TODAY], stored_state=SlotState.SUSPECT)
    assert make_test_plan(coverage, user_selected=True).requests == ()


def test_complete_window_needs_no_request() -> None:
    plan = make_test_plan(build_coverage_with_gaps([[], []]))
    assert (plan.requests, plan.calls, plan.lower_bound) == ((), 0, 0)


def test_window_without_sessions_needs_no_request() -> None:
    plan = make_test_plan(build_coverage_with_gaps([[], []], days=(date(2026, 5, 30), date(2026, 5, 31))))
    assert (plan.requests, plan.window_first_ordinal, plan.grid.size) == ((), 0, 0)
    assert (
        make_test_plan(build_coverage_with_gaps([[]], days=(date(2026, 5, 30), date(2026, 5, 31))), force=True).requests
        == ()
    )


def test_slots_that_are_not_askable_are_left_out() -> None:
    assert make_test_plan(build_coverage_with_gaps([TODAY])).requests == ()
    plan = make_test_plan(build_coverage_with_gaps([[51, *TODAY]]))
    assert list_requested_gaps(plan) == [("AAPL", 1)]
    assert get_days(plan, plan.requests[0])[1] == "2026-06-04"


@pytest.mark.parametrize(
    ("gap", "overlap", "first", "last"),
    [
        (0, 2, "2026-05-28", "2026-06-01"),
        (13, 2, "2026-05-29", "2026-06-02"),
        (26, 2, "2026-06-01", "2026-06-03"),
        (0, 0, "2026-06-01", "2026-06-01"),
        (0, 7, "2026-05-20", "2026-06-01"),
        (39, 1, "2026-06-03", "2026-06-04"),
    ],
)
def test_request_includes_the_overlap_sessions(gap: int, overlap: int, first: str, last: str) -> None:
    plan = make_test_plan(build_coverage_with_gaps([[gap]]), overlap_sessions=overlap)
    (request,) = plan.requests
    assert get_days(plan, request) == (first, last)
    assert request.start == parse_epoch(f"{first} 09:30")


@pytest.mark.parametrize("overlap", [0, 2, 5])
def test_the_window_begins_after_the_overlap(overlap: int) -> None:
    plan = make_test_plan(build_coverage_with_gaps([[0]]), overlap_sessions=overlap)
    assert plan.window_first_ordinal == 13 * overlap
    assert plan.grid.starts[plan.window_first_ordinal] == parse_epoch("2026-06-01 09:30")


@pytest.mark.parametrize(
    ("day", "start", "end"),
    [
        (date(2026, 6, 1), "2026-05-28 09:30", "2026-06-01 16:04"),
        (date(2026, 11, 27), "2026-11-24 09:30", "2026-11-27 13:04"),
        (date(2026, 3, 9), "2026-03-05 09:30", "2026-03-09 16:04"),
        (date(2026, 11, 2), "2026-10-29 09:30", "2026-11-02 16:04"),
    ],
    ids=["regular", "early close", "clocks forward", "clocks back"],
)
def test_request_spans_from_an_open_to_the_last_auction_row(day: date, start: str, end: str) -> None:
    (request,) = make_test_plan(
        build_coverage_with_gaps([[2]], days=(day, day), now=parse_new_york("2026-12-31 12:00"))
    ).requests
    assert (request.start, request.end) == (parse_epoch(start), parse_epoch(end))


HALF_YEAR = (date(2025, 11, 3), date(2026, 5, 29))


def test_too_long_span_is_split_and_covers_every_gap() -> None:
    size = build_coverage_with_gaps([[]], days=HALF_YEAR).grid.size
    coverage = build_coverage_with_gaps([range(size), [0]], days=HALF_YEAR)
    plan = make_test_plan(coverage, overlap_sessions=0, vendor_max_span=timedelta(days=600))
    assert [name for name, _ in list_requested_gaps(plan)] == ["AAPL", "AAPL", "MSFT"]
    assert sum(gaps for name, gaps in list_requested_gaps(plan) if name == "AAPL") == size
    first, second, _ = plan.requests
    assert (first.first_session, second.first_session) == (0, first.last_session + 1)
    assert all(request.end - request.start <= 120 * 86_400 + 300 for request in plan.requests)
    assert (plan.calls, plan.lower_bound) == (15, 10)


@pytest.mark.parametrize(("last_gap", "requests"), [(date(2026, 3, 2), 1), (date(2026, 3, 3), 2)])
def test_spans_are_split_only_if_too_long(last_gap: date, requests: int) -> None:
    window = build_coverage_with_gaps([[]], days=HALF_YEAR)
    at = next(i for i, s in enumerate(window.grid.session_index) if window.grid.sessions[s].day == last_gap)
    plan = make_test_plan(build_coverage_with_gaps([[0, at]], days=HALF_YEAR), overlap_sessions=0)
    assert len(plan.requests) == requests


def test_second_part_of_a_split_includes_the_overlap() -> None:
    plan = make_test_plan(build_coverage_with_gaps([[0, 1000]], days=HALF_YEAR), max_span=timedelta(days=30))
    assert [request.slot_count for request in plan.requests] == [1, 1]
    assert [request.last_session - request.first_session for request in plan.requests] == [2, 2]


def test_no_request_exceeds_the_longest_span_including_overlap() -> None:
    size = build_coverage_with_gaps([[]], days=HALF_YEAR).grid.size
    plan = make_test_plan(build_coverage_with_gaps([range(size)], days=HALF_YEAR))
    assert max(request.end - request.start for request in plan.requests) <= 120 * 86_400


def test_ticker_waiting_for_its_retry_is_deferred() -> None:
    requested_at = NOW - timedelta(minutes=59)
    plan = make_test_plan(build_coverage_with_gaps([[3], [3]], not_returned=[(0, 3)], requested_at=requested_at))
    assert (list_requested_gaps(plan), plan.deferred) == ([("MSFT", 1)], 1)
    plan = make_test_plan(
        build_coverage_with_gaps([[3], [3]], not_returned=[(0, 3)], requested_at=NOW - timedelta(hours=1))
    )
    assert (list_requested_gaps(plan), plan.deferred) == ([("AAPL", 1), ("MSFT", 1)], 0)


def test_all_gaps_of_a_ticker_are_requested_if_one_is_due() -> None:
    plan = make_test_plan(build_coverage_with_gaps([[3, 4, 30]], not_returned=[(0, 3), (0, 4)], data_until=1))
    assert (list_requested_gaps(plan), plan.deferred) == ([("AAPL", 3)], 0)
    assert get_days(plan, plan.requests[0]) == ("2026-05-28", "2026-06-03")


def test_ticker_without_new_data_is_not_requested_for_newer_sessions() -> None:
    coverage = build_coverage_with_gaps(
        [[3, 4, 30], [30]], not_returned=[(0, 3), (0, 4)], requested_at=NOW - timedelta(minutes=59)
    )
    assert (list_requested_gaps(make_test_plan(coverage)), make_test_plan(coverage).deferred) == ([("MSFT", 1)], 1)
    later = build_coverage_with_gaps([[3, 4, 30]], not_returned=[(0, 3), (0, 4)], requested_at=NOW - timedelta(hours=1))
    assert [
        (request.slot_count, request.oldest_due_session, request.newest_due_session)
        for request in make_test_plan(later).requests
    ] == [(3, 0, 2)]


def test_deleted_bar_is_requested_while_other_gaps_wait() -> None:
    plan = make_test_plan(build_coverage_with_gaps([[3, 4], [3]], not_returned=[(0, 3), (1, 3)]))
    assert (list_requested_gaps(plan), plan.deferred) == ([("AAPL", 2)], 1)


def test_force_requests_every_askable_slot_of_every_ticker() -> None:
    plan = make_test_plan(build_coverage_with_gaps([[3], []], not_returned=[(0, 3)]), force=True)
    assert list_requested_gaps(plan) == [("AAPL", 52), ("MSFT", 52)]
    assert plan.deferred == 0


def test_force_requests_no_slot_that_is_not_askable() -> None:
    today = (date(2026, 6, 5), date(2026, 6, 5))
    assert make_test_plan(build_coverage_with_gaps([range(13)], days=today), force=True).requests == ()


@pytest.mark.parametrize(
    ("newest", "expected"),
    [(20, [("AAPL", 2)]), (-1, [("AAPL", 4)]), (51, []), (4, [("AAPL", 3)]), (30, [("AAPL", 1)])],
    ids=["gaps on both sides", "no bar at all", "complete at the end", "right after", "newest is provisional"],
)
def test_incremental_requests_only_slots_after_the_newest_bar(newest: int, expected: list[tuple[str, int]]) -> None:
    coverage = build_coverage_with_gaps([[2, 5, 30, 31]], newest=[newest])
    assert list_requested_gaps(make_test_plan(coverage, strategy=Strategy.INCREMENTAL)) == expected
    assert list_requested_gaps(make_test_plan(coverage, strategy=Strategy.TARGETED)) == [("AAPL", 4)]


def test_incremental_ignores_gaps_before_the_newest_bar() -> None:
    coverage = build_coverage_with_gaps([[2, 30]], newest=[20], not_returned=[(0, 30)])
    plan = make_test_plan(coverage, strategy=Strategy.INCREMENTAL)
    assert (plan.requests, plan.deferred) == ((), 1)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_user_selected_tickers_ignore_the_retry_schedule(strategy: Strategy) -> None:
    coverage = build_coverage_with_gaps([[30], [3, *TODAY], [], TODAY], not_returned=[(0, 30), (1, 3)])
    assert (list_requested_gaps(make_test_plan(coverage, strategy=strategy)), make_test_plan(coverage).deferred) == (
        [],
        2,
    )
    plan = make_test_plan(coverage, strategy=strategy, user_selected=True)
    assert (list_requested_gaps(plan), plan.deferred) == ([("AAPL", 1), ("MSFT", 1)], 0)
    assert [(request.oldest_due_session, request.newest_due_session) for request in plan.requests] == [(2, 2), (0, 0)]


def test_request_has_the_sessions_that_made_it_due() -> None:
    plan = make_test_plan(
        build_coverage_with_gaps([[3, 16, 30, 42], [3], [40]], not_returned=[(0, 3), (0, 42)], data_until=1)
    )
    assert list_requested_gaps(plan) == [("AAPL", 4), ("MSFT", 1), ("SPY", 1)]
    assert [(request.oldest_due_session, request.newest_due_session) for request in plan.requests] == [
        (1, 2),
        (0, 0),
        (3, 3),
    ]
    assert get_days(plan, plan.requests[0]) == ("2026-05-28", "2026-06-04")


def test_split_parts_have_their_due_sessions_and_parts_without_are_dropped() -> None:
    plan = make_test_plan(build_coverage_with_gaps([[0, 1000]], days=HALF_YEAR), max_span=timedelta(days=30))
    assert [(request.oldest_due_session, request.newest_due_session) for request in plan.requests] == [(0, 0), (77, 77)]
    plan = make_test_plan(
        build_coverage_with_gaps([[0, 1000]], days=HALF_YEAR, not_returned=[(0, 0)], data_until=1),
        max_span=timedelta(days=30),
    )
    assert [(request.oldest_due_session, request.newest_due_session) for request in plan.requests] == [(77, 77)]
    assert plan.slot_keys.tolist() == [1000]


def test_only_gaps_of_trigger_sessions_make_a_ticker_due() -> None:
    coverage = build_coverage_with_gaps([[3, 14, 30], [3], [16]])
    monday, tuesday = coverage.grid.sessions[0].day, coverage.grid.sessions[1].day
    plan = make_test_plan(coverage, trigger_sessions={tuesday})
    assert plan.slot_keys.tolist() == [3, 14, 30, 2 * 65 + 16]
    assert plan.deferred == 0
    assert make_test_plan(coverage, trigger_sessions={monday}, force=True).slot_keys.tolist() == [
        row * 65 + at for row in range(3) for at in range(13)
    ]
    assert make_test_plan(coverage, trigger_sessions=set()).requests == ()


def test_plan_has_the_keys_of_its_slots() -> None:
    coverage = build_coverage_with_gaps([[30, 3, *TODAY], [3], [51]], not_returned=[(1, 3)])
    assert make_test_plan(coverage).slot_keys.tolist() == [3, 30, 2 * 65 + 51]
    assert make_test_plan(coverage, strategy=Strategy.INCREMENTAL).slot_keys.tolist() == [3, 30, 2 * 65 + 51]
    assert make_test_plan(coverage, force=True).slot_keys.tolist() == [
        row * 65 + at for row in range(3) for at in range(52)
    ]
    assert make_test_plan(build_coverage_with_gaps([[]])).slot_keys.tolist() == []


def test_first_sessions_of_the_calendar_can_be_planned() -> None:
    plan = make_test_plan(build_coverage_with_gaps([[0]], days=(date(2004, 1, 2), date(2004, 1, 5))))
    assert plan.requests[0].start == parse_epoch("2004-01-02 09:30")


def test_plan_as_json() -> None:
    shown = make_test_plan(build_coverage_with_gaps([[3], [4]], not_returned=[(1, 4)])).as_dict()
    assert shown == {
        "requests": 1,
        "calls": 5,
        "lower_bound_calls": 5,
        "slots": 1,
        "tickers_waiting": 1,
        "asks": [
            {
                "ticker": "AAPL.US",
                "from": "2026-05-28T13:30:00+00:00",
                "to": "2026-06-01T20:04:00+00:00",
                "slots": 1,
                "asked_as": "AAPL.US",
            }
        ],
    }


@pytest.mark.parametrize(
    ("tickers", "per_window", "least", "most"),
    [(0, 800, 0.0, 0.0), (4, 800, 0.1, 2.0), (4, 2, 60.0, 62.0), (4, 0, 180.0, 182.0)],
)
def test_estimate_follows_the_rate_limit(tickers: int, per_window: int, least: float, most: float) -> None:
    plan = make_test_plan(build_coverage_with_gaps([[3]] * tickers or [[]]))
    assert least <= plan.estimate_seconds(per_window, 60.0, 48) <= most


@given(
    st.lists(st.sets(st.integers(0, 64), max_size=8), min_size=1, max_size=4),
    st.integers(0, 3),
    st.integers(1, 8),
)
@settings(max_examples=40, derandomize=True, deadline=None)
def test_every_askable_gap_is_in_exactly_one_request_of_its_ticker(
    absent: list[set[int]], overlap: int, longest: int
) -> None:
    coverage = build_coverage_with_gaps([sorted(ordinals) for ordinals in absent])
    plan = make_test_plan(coverage, overlap_sessions=overlap, max_span=timedelta(days=longest))
    before = len(list_previous_sessions(coverage.grid.sessions[0], overlap))
    for row, ordinals in enumerate(absent):
        requests = [request for request in plan.requests if request.symbol == coverage.symbols[row]]
        wanted = [at for at in ordinals if at not in TODAY]
        assert sum(request.slot_count for request in requests) == len(wanted)
        for at in wanted:
            session = int(coverage.grid.session_index[at]) + before
            assert any(request.first_session <= session <= request.last_session for request in requests)
            assert any(request.start <= coverage.grid.starts[at] < request.end for request in requests)


def test_request_times_are_whole_seconds_utc() -> None:
    (request,) = make_test_plan(build_coverage_with_gaps([[3]])).requests
    assert datetime.fromtimestamp(request.start, UTC).isoformat() == "2026-05-28T13:30:00+00:00"
    assert isinstance(request.start, int)
    assert isinstance(request.end, int)


def test_an_answer_is_not_asked_for_more_rows_than_it_may_have() -> None:
    """As an exchange has that is open day and night; here a month of New York is too much."""
    coverage = build_coverage_with_gaps([list(range(0, 780, 13))], days=(date(2026, 1, 5), date(2026, 3, 31)))
    assert len(make_test_plan(coverage).requests) == 1
    month = make_test_plan(coverage, max_trading=timedelta(hours=21 * 6.5))
    assert sum(request.slot_count for request in month.requests) == 60
    for request in month.requests:
        sessions = month.grid.sessions[request.first_session : request.last_session + 1]
        assert sum((session.close - session.open for session in sessions), timedelta()) <= timedelta(hours=21 * 6.5)
    assert len(month.requests) == 3  # as few as without the sessions before it that are read again


def test_nothing_is_requested_from_before_the_vendors_first_rows() -> None:
    gaps = [[0, 14, 30], [0], [16]]
    coverage = build_coverage_with_gaps(gaps)
    second_day = coverage.grid.sessions[1].day
    for force in (False, True):
        plan = make_test_plan(coverage, first_day=second_day, force=force)
        assert {plan.grid.sessions[request.first_session].day for request in plan.requests} == {second_day}
        assert plan.slot_keys[:2].tolist() == ([13, 14] if force else [14, 30])
    assert make_test_plan(coverage, first_day=date(2027, 1, 1)).requests == ()
