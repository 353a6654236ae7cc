"""When slots that were not returned are requested again (docs/decisions/0008)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from backfill_assets.market.gaps.retry_schedule import RetrySchedule
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets_tests.unit.gap_builders import HOUR, Entry, classify
from backfill_assets_tests.unit.market_builders import build_grid, parse_epoch

DAYS = ("2026-06-01", "2026-06-02", "2026-06-03")
GRID = build_grid(*DAYS)
ALL = [range(0, 13), range(13, 26), range(26, 39)]
REQUESTED = parse_epoch("2026-06-20 12:00")  # long after the close: no session is fresh
REACHED = parse_epoch("2026-06-01 11:35")
WEEK = 7 * 24


def compute_wait_hours(
    entries: Sequence[Entry], ordinal: int = 5, clock: int | None = None, row: int = 0, **known: Any
) -> float:
    """Hours from the newest request until the next one; −inf if the slot does not wait."""
    requested_at = max(e.requested_at for e in entries)
    now = datetime.fromtimestamp(requested_at if clock is None else clock, UTC)
    found = classify([(row, ordinal, SlotState.MISSING)], entries, now, GRID, **known)
    askable = (GRID.sessions[GRID.session_index[ordinal]].regular_close + timedelta(hours=3)).timestamp()
    again = float(found.next_request_at[0])
    return (again - requested_at) / HOUR if again > askable else -np.inf


def make_entry_without_one(
    hours_without_data: float, session: int = 0, requested_at: int = REQUESTED, **options: Any
) -> Entry:
    """The entry of a session of which all slots but one were returned."""
    since = requested_at - int(hours_without_data * HOUR)
    given = {"not_returned": [5 + 13 * session], "data_until": REACHED, "session": session} | options
    return Entry(requested_at=requested_at, no_new_data_since=since, **given)


def make_empty_entry(hours_without_data: float, session: int = 0, requested_at: int = REQUESTED) -> Entry:
    """The entry of a session of which no row was returned."""
    return make_entry_without_one(hours_without_data, session, requested_at, not_returned=ALL[session], data_until=0)


SCHEDULE = [
    (0, 1), (0.99, 1), (1, 3), (3.99, 3), (4, 6), (9.99, 6), (10, 12), (21.99, 12), (22, 24), (45.99, 24),
    (46, 24), (70, 24), (285.99, 24), (286, WEEK), (5000, WEEK),
]  # fmt: skip


@pytest.mark.parametrize(("hours_without_data", "delay"), SCHEDULE)
def test_delays_are_1_3_6_12_24_hours_then_daily_for_ten_days_then_weekly(
    hours_without_data: float, delay: int
) -> None:
    assert compute_wait_hours([make_entry_without_one(hours_without_data)]) == delay
    assert RetrySchedule().compute_delays(np.array([hours_without_data * HOUR])).tolist() == [delay * HOUR]


def follow_schedule(first_request: int, request_count: int) -> list[float]:
    """Hours from the first request to those that follow, each made as soon as it is due."""
    at, hours = first_request, []
    for _ in range(request_count):
        at += round(HOUR * compute_wait_hours([make_entry_without_one((at - first_request) / HOUR, requested_at=at)]))
        hours.append((at - first_request) / HOUR)
    return hours


def test_requests_made_when_due_follow_the_schedule() -> None:
    daily = [46.0 + 24 * day for day in range(11)]
    assert follow_schedule(REQUESTED, 17) == [1.0, 4.0, 10.0, 22.0, *daily, 286.0 + WEEK, 286.0 + 2 * WEEK]


@pytest.mark.parametrize(("hours_without_data", "state"), [(285.99, SlotState.MISSING), (286, SlotState.VENDOR_GAP)])
@pytest.mark.parametrize(("early", "due"), [(1, False), (0, True)])
def test_after_ten_days_the_slot_is_a_vendor_gap_requested_weekly(
    hours_without_data: float, state: SlotState, early: int, due: bool
) -> None:
    delay = WEEK if state is SlotState.VENDOR_GAP else 24
    now = datetime.fromtimestamp(REQUESTED + delay * HOUR - early, UTC)
    found = classify([(0, 5, SlotState.MISSING)], [make_entry_without_one(hours_without_data)], now, GRID)
    assert (found.state[0], found.gap[0], found.due[0]) == (state, True, due)


@pytest.mark.parametrize("request_count", [1, 2, 6, 100])
def test_the_number_of_requests_does_not_advance_the_schedule(request_count: int) -> None:
    assert compute_wait_hours([make_entry_without_one(2, request_count=request_count)]) == 3


def test_an_extra_request_shifts_the_next_one_but_skips_no_step() -> None:
    waits = [
        compute_wait_hours([make_entry_without_one(minutes / 60, requested_at=REQUESTED + minutes * 60)])
        for minutes in (10, 20, 50)
    ]
    assert waits == [1, 1, 1]


def test_new_rows_restart_the_schedule() -> None:
    assert compute_wait_hours([make_entry_without_one(40)]) == 24
    assert compute_wait_hours([make_entry_without_one(0)]) == 1


CLOSE = parse_epoch("2026-06-03 16:00")
UNPUBLISHED = {"first_published_at": [np.nan] * 3}


def make_first_published(at: int) -> dict[str, list[float]]:
    return {"first_published_at": [np.nan, np.nan, at]}


@pytest.mark.parametrize("hours_without_data", [0, 1, 5, 8])
def test_a_fresh_session_not_published_for_any_symbol_is_requested_hourly(hours_without_data: float) -> None:
    assert compute_wait_hours([make_empty_entry(hours_without_data, 2, CLOSE + 12 * HOUR)], 30, **UNPUBLISHED) == 1


@pytest.mark.parametrize(("age", "delay"), [(-1, 1), (0, 12)])
def test_a_session_is_fresh_for_sixteen_hours(age: int, delay: int) -> None:
    entry = make_empty_entry(11, 2, CLOSE + 15 * HOUR)
    assert compute_wait_hours([entry], 30, clock=CLOSE + 16 * HOUR + age, **UNPUBLISHED) == delay


@pytest.mark.parametrize(("since_seen", "delay"), [(-0.5, 1), (0, 1), (0.5, 1), (1, 3), (4, 6), (9, 6), (11, 6)])
def test_time_without_data_of_a_fresh_session_counts_from_its_first_publication(since_seen: float, delay: int) -> None:
    requested_at = CLOSE + 12 * HOUR
    assert (
        compute_wait_hours(
            [make_empty_entry(9, 2, requested_at)], 30, **make_first_published(requested_at - int(since_seen * HOUR))
        )
        == delay
    )
    partial = make_entry_without_one(9, 2, requested_at, data_until=parse_epoch("2026-06-03 11:35"), not_returned=[30])
    assert compute_wait_hours([partial], 30, **make_first_published(requested_at - int(since_seen * HOUR))) == delay


def test_early_probes_do_not_delay_a_symbol_once_the_session_is_published() -> None:
    probed = make_empty_entry(6, 2, CLOSE + 9 * HOUR)
    assert compute_wait_hours([probed], 30, clock=CLOSE + 9 * HOUR + 60, **UNPUBLISHED) == 1
    assert (
        compute_wait_hours([probed], 30, clock=CLOSE + 9 * HOUR + 60, **make_first_published(CLOSE + 9 * HOUR + 30))
        == 1
    )


def test_sessions_never_requested_wait_with_older_ones_without_data() -> None:
    assert [compute_wait_hours([make_empty_entry(25), make_empty_entry(2, 1)], at) for at in (5, 18, 30)] == [
        24,
        24,
        24,
    ]
    assert compute_wait_hours([make_empty_entry(25)], 30, row=1) == -np.inf


def test_the_newest_request_of_a_symbol_without_data_counts_for_all_its_sessions() -> None:
    entries = [
        make_empty_entry(20),
        make_empty_entry(0, 1, REQUESTED + 3 * HOUR),
    ]  # 23 h without data in all
    assert [compute_wait_hours(entries, at) for at in (5, 18, 30)] == [24, 24, 24]


def test_newer_sessions_of_a_symbol_with_recent_data_do_not_wait() -> None:
    assert compute_wait_hours([make_entry_without_one(25)], 30) == -np.inf
    assert compute_wait_hours([make_empty_entry(25), make_entry_without_one(25, 1)], 30) == -np.inf
    assert compute_wait_hours([make_empty_entry(25), make_entry_without_one(25, 2)], 18) == -np.inf


def test_sessions_older_than_the_newest_with_data_wait_on_their_own() -> None:
    entries = [make_empty_entry(0), make_entry_without_one(2, 1), make_empty_entry(30, 2)]
    assert [compute_wait_hours(entries, at) for at in (5, 18, 30)] == [1, 3, 24]


def test_a_fresh_unpublished_session_does_not_delay_a_symbol() -> None:
    requested_at = CLOSE + 6 * HOUR
    entries = [make_entry_without_one(0, 1, requested_at), make_empty_entry(3, 2, requested_at)]
    assert compute_wait_hours(entries, 30, **UNPUBLISHED) == 1


def test_a_symbol_without_data_delays_a_fresh_session_never_requested() -> None:
    requested_at = CLOSE + 2 * HOUR
    entries = [make_empty_entry(30, 1, requested_at)]
    assert compute_wait_hours(entries, 30, clock=CLOSE + 4 * HOUR, **UNPUBLISHED) == 24
    assert compute_wait_hours(entries, 30, clock=CLOSE + 4 * HOUR, **make_first_published(CLOSE + 3 * HOUR)) == 24


def test_a_deleted_bar_does_not_wait_with_sessions_without_data() -> None:
    deleted = Entry(
        session=1, requested_at=REQUESTED, no_new_data_since=0, not_returned=[18]
    )  # the other slots of this session were returned once
    assert [compute_wait_hours([make_empty_entry(30), deleted], at) for at in (5, 18, 19)] == [WEEK, WEEK, -np.inf]


def test_a_schedule_with_other_steps() -> None:
    schedule = RetrySchedule(
        steps=(timedelta(hours=2),), daily_delay=timedelta(hours=5), daily_phase_days=2, weekly_delay=timedelta(hours=9)
    )
    assert schedule.vendor_gap_after == timedelta(hours=12)
    assert (schedule.compute_delays(np.array([0, 1.99, 2, 11.99, 12]) * HOUR) / HOUR).tolist() == [2, 2, 5, 5, 9]


def test_a_request_in_the_future_does_not_delay_other_sessions() -> None:
    assert (
        compute_wait_hours([make_empty_entry(0, requested_at=REQUESTED + 10_000 * HOUR)], 30, clock=REQUESTED)
        == -np.inf
    )


def test_time_that_does_not_count_makes_no_vendor_gap() -> None:
    now = datetime.fromtimestamp(REQUESTED, UTC)
    known = {"first_published_at": [REQUESTED - HOUR / 2, np.nan, np.nan]}  # the vendor was down for two weeks
    found = classify([(0, 5, SlotState.MISSING)], [make_empty_entry(300)], now, GRID, **known)
    assert found.next_request_at[0] == REQUESTED + HOUR
    assert found.state[0] == SlotState.MISSING


def test_a_late_older_session_restarts_the_schedule_of_newer_ones() -> None:
    """The second session has no data for 30 h, then the newest request returns the first one as published."""
    late = Entry(session=0, requested_at=REQUESTED, published=True, data_until=REQUESTED, published_at=REQUESTED)
    assert compute_wait_hours([make_entry_without_one(30, 0), make_empty_entry(30, 1)], 18) == 24
    assert compute_wait_hours([late, make_empty_entry(30, 1)], 18) == 1
    assert compute_wait_hours([replace(late, published_at=REQUESTED - 5 * HOUR), make_empty_entry(30, 1)], 18) == 6
    assert (
        compute_wait_hours([replace(late, session=2), make_empty_entry(30, 1)], 18) == 24
    )  # a newer session does not restart it
    assert compute_wait_hours([replace(late, row=1), make_empty_entry(30, 1)], 18) == 24  # nor does another symbol's
    assert compute_wait_hours([late, make_entry_without_one(30, 1)], 18) == 24  # a session with data is not restarted
