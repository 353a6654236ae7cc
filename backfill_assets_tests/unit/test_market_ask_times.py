"""Around the clock: whose turn it is, what counts as missing and from which minute on, and what that costs."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from backfill_assets.backfill.planner import Plan
from backfill_assets.backfill.probing import is_probe_due, split_requests
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.windows import DEFAULT_HOURS, build_hours_window
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.market.gaps.ask_times import compute_turns
from backfill_assets.market.gaps.slot_states import SlotState, classify_slots
from backfill_assets.quality.criteria import (
    check_every_symbol_has_recent_bars,
    check_newest_bar_is_fresh,
    check_no_missing_bars,
)
from backfill_assets.quality.session_explanation import describe_session
from backfill_assets_tests.frames import build_bars
from backfill_assets_tests.unit.around_the_clock_model import CRYPTO, RULES, World, make_world_plan
from backfill_assets_tests.unit.gap_builders import Entry, build_history

FIRST = datetime(2026, 11, 1, tzinfo=UTC)  # a Sunday on which New York changes its clocks
HALF_HOUR, MINUTE, DELAY = timedelta(minutes=30), timedelta(minutes=1), timedelta(hours=8)
LOST = datetime(2026, 11, 2, 10, tzinfo=UTC)  # the slot that the vendor lacks of one pair until ``REPAIRED``
REPAIRED = datetime(2026, 11, 3, 7, 10, tzinfo=UTC)
LAST = FIRST + timedelta(days=1)  # from then on the vendor has nothing of the third pair


def has_slot(row: int, start: int, now: datetime) -> bool:
    """A vendor who trails by eight hours, lacks a slot of the second pair for a day, and loses the third pair."""
    begin = datetime.fromtimestamp(start, UTC)
    if row == 1 and begin == LOST and now < REPAIRED:
        return False
    if row == 2 and begin >= LAST:
        return False
    return begin + HALF_HOUR + DELAY <= now


def run_rounds(world: World, begin: datetime, end: datetime) -> dict[datetime, Plan]:
    """Let the rounds of every half hour take place, as a sensor does."""
    sent, now = {}, begin
    while now < end:
        coverage = world.measure(now)
        plan = make_world_plan(coverage)
        if plan.requests and is_probe_due(coverage):
            sent[now] = plan
            world.send(plan, now)
        now += HALF_HOUR
    return sent


@pytest.fixture(scope="module")
def some_days() -> World:
    world = World(FIRST, 4, 5, has_slot)
    run_rounds(world, FIRST + timedelta(hours=6, minutes=30), FIRST + timedelta(days=2.5))
    return world


def test_each_pair_is_requested_every_six_hours_and_one_every_half_hour(some_days: World) -> None:
    by_row = {row: [at for at, asked in some_days.requests if asked == row] for row in range(5)}
    days = 2.5 - 6.5 / 24
    probe = max(by_row, key=lambda row: len(by_row[row]))
    assert len(by_row[probe]) == pytest.approx(48 * days, abs=13)  # before the first rows there is none
    for row in set(by_row) - {probe}:
        assert all(later - earlier >= RULES.ask_every for earlier, later in pairwise(by_row[row]))
        assert len(by_row[row]) == pytest.approx(4 * days, abs=1)


def test_a_hole_is_filled_at_the_pair_s_first_turn_after_the_vendor_has_it() -> None:
    world = World(FIRST, 4, 3, has_slot)
    run_rounds(world, REPAIRED - timedelta(hours=12), REPAIRED)
    turns = [at for at, row in world.requests if row == 1]
    due = turns[-1] + RULES.ask_every
    ordinal = int(world.grid.find_ordinals(np.array([int(LOST.timestamp())]))[0])
    run_rounds(world, due - 10 * HALF_HOUR, due)
    assert not world.stored[1, ordinal]  # the probe's rows moved on meanwhile, and brought nobody forward
    run_rounds(world, due, due + HALF_HOUR)
    assert world.stored[1, ordinal]


def test_nothing_is_missing_but_holes_with_rows_beyond_and_what_is_a_day_old(some_days: World) -> None:
    now = FIRST + timedelta(days=2.5)
    coverage = some_days.measure(now)
    missing = {
        (int(row), datetime.fromtimestamp(int(coverage.grid.starts[ordinal]), UTC))
        for row, ordinal, state in zip(
            coverage.open_slots.row, coverage.open_slots.ordinal, coverage.slot_states.state, strict=True
        )
        if state == SlotState.MISSING
    }
    ended = {LAST + count * HALF_HOUR for count in range(96)}
    old = {(2, at) for at in ended if at + HALF_HOUR + timedelta(hours=24) <= now}
    assert missing == {(1, LOST), *old}  # the hole's pair has its turn half an hour later


@pytest.mark.parametrize(("at", "fresh"), [(-MINUTE, True), (timedelta(0), False), (MINUTE, False)])
def test_a_pair_that_ends_is_an_alarm_24_hours_after_the_first_slot_without_rows(at: timedelta, fresh: bool) -> None:
    world = World(FIRST, 5, 5, has_slot)
    world.stored[:] = [
        [has_slot(row, int(start), FIRST + timedelta(days=5)) for start in world.grid.starts] for row in range(5)
    ]
    first_lost = LAST
    coverage = world.measure(first_lost + HALF_HOUR + timedelta(hours=24) + at)
    assert check_newest_bar_is_fresh(coverage).passed is fresh
    assert check_no_missing_bars(coverage).passed is fresh
    assert check_every_symbol_has_recent_bars(coverage).passed


def test_a_vendor_who_trails_by_ten_hours_raises_no_alarm_at_any_minute() -> None:
    world = World(FIRST, 4, 2, lambda _, start, now: start + 1800 + 10 * 3600 <= now.timestamp())
    run_rounds(world, FIRST + timedelta(hours=6, minutes=30), FIRST + timedelta(days=1.5))
    for at in range(0, 6 * 60, 29):  # until the next turn
        coverage = world.measure(FIRST + timedelta(days=1.5, minutes=at))
        assert check_no_missing_bars(coverage).passed
        assert check_newest_bar_is_fresh(coverage).passed


def test_half_of_the_pairs_published_makes_no_slot_of_the_others_overdue() -> None:
    world = World(FIRST, 3, 4, lambda row, start, now: row < 3 and start + 1800 <= now.timestamp())
    now = FIRST + timedelta(days=1, hours=20)
    for row in range(4):
        world.answer(row, 0, now)
    coverage = world.measure(now)
    evidence = world.measure(now).absence_evidence
    assert np.isnan(evidence.half_published_at).all()
    overdue = coverage.slot_states.overdue & (coverage.open_slots.row == 3)
    assert coverage.grid.ends[coverage.open_slots.ordinal[overdue]].max() <= (now - timedelta(hours=24)).timestamp()


def test_a_pair_is_requested_for_what_is_due_only() -> None:
    """A hole that waits for its daily request is not read at every turn: its months of rows would be."""
    world = World(
        FIRST, 9, 1, lambda _, start, now: start != int(FIRST.timestamp()) and start + 36_000 <= now.timestamp()
    )
    begin = FIRST + timedelta(days=7)
    for session in range(7):
        for at in (FIRST + timedelta(days=2), begin):
            world.answer(0, session, at)
    plans = run_rounds(world, begin + HALF_HOUR, begin + timedelta(days=1, hours=1))
    spans = Counter(plan.requests[0].first_session == 0 for plan in plans.values())
    assert spans == {True: 1, False: 48}


def test_every_request_is_certain() -> None:
    world = World(FIRST, 2, 3, has_slot)
    coverage = world.measure(FIRST + timedelta(hours=9))
    certain, tentative = split_requests(make_world_plan(coverage).requests, coverage)
    assert (len(certain), tentative) == (3, [])


def test_a_request_in_the_future_delays_nobody() -> None:
    now = FIRST.timestamp()
    entries = [Entry(row=0, requested_at=int(now) - 60), Entry(row=1, requested_at=int(now) + 60)]
    turns = compute_turns(build_history(entries), np.ones(1, bool), 3, RULES, now)
    assert turns.tolist() == [now - 60 + 6 * 3600, -np.inf, -np.inf]


def test_what_was_not_askable_at_the_newest_request_waits_for_the_next_turn_alone() -> None:
    """The answer covered the whole day. With turns of half an hour the retry schedule would make each an hour."""
    world, now = World(FIRST, 1, 1, has_slot), FIRST + timedelta(hours=12)
    world.entries[0, 0] = Entry(requested_at=int(now.timestamp()), not_returned=list(range(48)))
    coverage, rules = world.measure(now), replace(RULES, ask_every=HALF_HOUR)
    history = replace(coverage.request_history, probe_row=None)
    states = classify_slots(coverage.open_slots, history, coverage.absence_evidence, coverage.grid, rules, now)
    hours = (states.next_request_at - now.timestamp()) / 3600
    assert hours.tolist() == [1.0] * 12 + [max(0.5, 0.5 * later) for later in range(1, 37)]


def test_a_review_takes_no_turn_and_no_round() -> None:
    """It reads old sessions again: with turns 12 hours apart, new slots would be overdue before the next one."""
    world = World(FIRST, 9, 2, has_slot)
    run_rounds(world, FIRST + timedelta(days=7), FIRST + timedelta(days=7, hours=6))
    last_turn = max(at for at, row in world.requests if row == 1)
    reviewed_at = last_turn + RULES.ask_every - HALF_HOUR / 2
    for row, session in ((row, session) for row in (0, 1) for session in range(6)):
        world.answer(row, session, reviewed_at)
    sent = run_rounds(world, last_turn + RULES.ask_every, last_turn + RULES.ask_every + MINUTE)
    assert {request.row for plan in sent.values() for request in plan.requests} == {0, 1}


@pytest.mark.parametrize("hour", [0, 3, 12, 23])
def test_the_window_of_48_hours_is_not_extended(hour: int) -> None:
    now = FIRST + timedelta(hours=hour, minutes=10)
    days = [s.day for s in build_hours_window(CRYPTO, now, DEFAULT_HOURS, RULES.compute_askable_at).sessions]
    assert days == [(now - timedelta(days=back)).date() for back in (2, 1, 0)]


def test_the_window_of_currencies_holds_two_askable_sessions() -> None:
    forex = get_profile("FOREX")
    monday = datetime(2026, 11, 9, 12, tzinfo=UTC)
    window = build_hours_window(forex, monday, DEFAULT_HOURS, lambda session: session.regular_close)
    assert [session.day.isoformat() for session in window.sessions] == ["2026-11-05", "2026-11-06", "2026-11-09"]


def test_recent_bars_are_those_of_exactly_the_past_48_hours() -> None:
    now = FIRST + timedelta(days=3, hours=10)
    world = World(FIRST + timedelta(days=1), 3, 2, lambda *_: True)
    world.stored[0] = True
    world.stored[1, world.grid.starts < (now - timedelta(hours=48)).timestamp()] = True
    criterion = check_every_symbol_has_recent_bars(world.measure(now))
    assert (criterion.passed, criterion.offenders) == (False, ("P2-USD.CC",))
    assert criterion.meaning == "1 of 2 symbols has no bar in the past 48 h"
    world.stored[1, np.searchsorted(world.grid.starts, (now - timedelta(hours=48)).timestamp())] = True
    assert check_every_symbol_has_recent_bars(world.measure(now)).passed


@pytest.mark.parametrize(("last_row", "published"), [("23:40", False), ("23:50", False), ("23:55", True)])
def test_a_day_is_published_when_rows_reach_its_end(last_row: str, published: bool) -> None:
    """Elsewhere a row of the last half hour is enough, since a session is published at once."""
    grid = build_slot_grid(list_sessions(CRYPTO, FIRST.date(), FIRST.date()), INTERVALS["30m"])
    end = int(datetime.fromisoformat(f"2026-11-01 {last_row}+00:00").timestamp())
    stamps = range(int(FIRST.timestamp()), end + 1, 300)
    prices = dict.fromkeys(("open", "high", "low", "close"), 2.0)
    rows = pd.DataFrame({"symbol_id": 1, "timestamp": list(stamps), **prices})
    built = build_bars(rows.assign(volume=1024.0), grid, INTERVALS["5m"])
    assert built.sessions["published"].tolist() == [published]


def test_why_tells_times_by_slot() -> None:
    sentences = describe_session(World(FIRST, 1, 1, has_slot).measure(FIRST + timedelta(hours=9)))
    assert sentences[-1] == (
        "each slot is requested from 6 h after its end on, at its symbol's next turn, and overdue 24 h after its end"
        " at the latest"
    )
