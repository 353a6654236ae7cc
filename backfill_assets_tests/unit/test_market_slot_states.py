"""The state of a slot in single cases; random cases are in ``test_market_slot_states_model``."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from backfill_assets.market.gaps.evidence import HaltedSlots
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.retry_schedule import Recheck
from backfill_assets.market.gaps.slot_states import SlotState, classify_slots
from backfill_assets_tests.unit.gap_builders import (
    HOUR,
    RULES,
    Entry,
    build_evidence,
    build_history,
    build_open_slots,
    classify,
)
from backfill_assets_tests.unit.market_builders import build_grid, parse_epoch, parse_new_york

DAY = "2026-06-01"
EVENING = parse_new_york("2026-06-01 20:00")
NEXT_NOON = parse_new_york("2026-06-02 12:00")
NOON_BAR = 5  # the ordinal of 12:00
LATER = parse_epoch(f"{DAY} 12:35")  # data_until beyond the slot of 12:00
THIN = {
    "incomplete_sessions": [3, 0],
    "published_sessions": [6, 0],
}  # 2 of the 5 sessions other than the tested one are incomplete


WHOLE_SESSION = [(0, ordinal, SlotState.MISSING) for ordinal in range(13)]


def classify_noon(
    entries: Sequence[Entry] = (), now: datetime = EVENING, stored: SlotState = SlotState.MISSING, **known: Any
) -> tuple[SlotState, bool, bool]:
    """State, gap and due of the slot 12:00, which has no trusted final bar."""
    found = classify([(0, NOON_BAR, stored)], entries, now, build_grid(DAY), **known)
    return SlotState(int(found.state[0])), bool(found.gap[0]), bool(found.due[0])


def get_noon_state(entries: Sequence[Entry] = (), now: datetime = EVENING, **known: Any) -> SlotState:
    return classify_noon(entries, now, **known)[0]


def is_overdue(
    entries: Sequence[Entry] = (), now: datetime = EVENING, stored: SlotState = SlotState.MISSING, **known: Any
) -> bool:
    return bool(classify([(0, NOON_BAR, stored)], entries, now, build_grid(DAY), **known).overdue[0])


@pytest.mark.parametrize(
    ("now", "expected", "gap"),
    [
        ("2026-06-01 09:30", SlotState.PENDING, False),
        ("2026-06-01 16:00", SlotState.PENDING, False),
        ("2026-06-01 18:59", SlotState.PENDING, False),
        ("2026-06-01 19:00", SlotState.PENDING, True),
        ("2026-06-02 07:59", SlotState.PENDING, True),
        ("2026-06-02 08:00", SlotState.MISSING, True),
        ("2026-06-08 08:00", SlotState.MISSING, True),
    ],
)
def test_a_slot_never_requested_is_pending_then_askable_then_missing(now: str, expected: SlotState, gap: bool) -> None:
    assert classify_noon(now=parse_new_york(now)) == (expected, gap, gap)


@pytest.mark.parametrize(("at", "gap"), [("16:00", False), ("18:59", False), ("19:00", True)])
def test_an_early_close_does_not_make_the_session_askable_earlier(at: str, gap: bool) -> None:
    found = classify([(0, 6, SlotState.MISSING)], [], parse_new_york(f"2026-11-27 {at}"), build_grid("2026-11-27"))
    assert found.gap.tolist() == [gap]


def test_askable_and_overdue_count_in_hours_across_a_clock_change() -> None:
    friday = build_grid("2026-03-06")
    rules = GapRules(askable_after=timedelta(hours=48), overdue_after=timedelta(hours=48))
    slots, history = build_open_slots([(0, 0, SlotState.MISSING)]), build_history([])
    for at, gap in (("2026-03-08 16:59", False), ("2026-03-08 17:00", True)):
        assert classify_slots(
            slots, history, build_evidence(1, friday), friday, rules, parse_new_york(at)
        ).gap.tolist() == [gap]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Entry(data_until=parse_epoch(f"{DAY} 12:00"), not_returned=[5]), SlotState.PENDING),
        (Entry(data_until=parse_epoch(f"{DAY} 12:30"), not_returned=[5]), SlotState.PENDING),
        (Entry(data_until=LATER, not_returned=[5]), SlotState.MISSING),
        (Entry(data_until=parse_epoch(f"{DAY} 16:00"), published=True, not_returned=[5]), SlotState.MISSING),
        (Entry(data_until=0, not_returned=range(13)), SlotState.PENDING),
        (Entry(row=1, published=True, not_returned=[5]), SlotState.PENDING),
    ],
    ids=["before the slot", "up to its end", "beyond its end", "published", "no data", "another ticker"],
)
def test_a_slot_is_missing_at_once_if_its_session_is_published_beyond_it(entry: Entry, expected: SlotState) -> None:
    assert get_noon_state([entry]) is expected
    assert is_overdue([entry]) is (expected is SlotState.MISSING)


def test_publication_of_one_session_does_not_affect_another() -> None:
    grid, slots = build_grid(DAY, "2026-06-02"), [(0, 5, SlotState.MISSING), (0, 18, SlotState.MISSING)]
    requested_at = parse_epoch("2026-06-02 19:30")
    published = Entry(published=True, data_until=LATER, requested_at=requested_at, not_returned=[5])
    found = classify(slots, [published], parse_new_york("2026-06-02 19:45"), grid)
    assert found.state.tolist() == [SlotState.MISSING, SlotState.PENDING]
    assert (found.gap.tolist(), found.due.tolist()) == ([True, True], [False, True])


@pytest.mark.parametrize(
    ("half", "at", "expected"),
    [
        ("2026-06-01 20:00", "2026-06-02 01:59", SlotState.PENDING),
        ("2026-06-01 20:00", "2026-06-02 02:00", SlotState.MISSING),
        ("2026-06-02 03:00", "2026-06-02 07:59", SlotState.PENDING),
        ("2026-06-02 03:00", "2026-06-02 08:00", SlotState.MISSING),
    ],
)
def test_absence_counts_six_hours_after_half_of_the_universe_is_published(
    half: str, at: str, expected: SlotState
) -> None:
    assert get_noon_state(now=parse_new_york(at), half_published_at=[parse_epoch(half)]) is expected


@pytest.mark.parametrize("not_returned", [[], [5]], ids=["refused", "refused once, not returned later"])
def test_a_bar_that_the_table_refuses_is_missing_whatever_explains_absence(not_returned: list[int]) -> None:
    """And it is requested on the retry schedule, an hour after the first request."""
    asked = int(EVENING.timestamp())
    entry = Entry(requested_at=asked, published=True, data_until=LATER, not_returned=not_returned)
    thin: dict[str, Any] = {**THIN, "traded": [[0], [0]]}
    found = classify(WHOLE_SESSION, [entry], EVENING, build_grid(DAY), **thin)
    assert found.state.tolist() == [SlotState.NO_TRADE] * 13
    found = classify(WHOLE_SESSION, [entry], EVENING, build_grid(DAY), refused=[5], **thin)
    assert found.state.tolist() == [SlotState.NO_TRADE] * 5 + [SlotState.MISSING] + [SlotState.NO_TRADE] * 7
    assert (found.due[5], found.next_request_at[5]) == (False, asked + 3600)


@pytest.mark.parametrize("now", [EVENING, NEXT_NOON])
def test_a_provisional_bar_stays_provisional_and_is_requested(now: datetime) -> None:
    assert classify_noon(now=now, stored=SlotState.PROVISIONAL) == (SlotState.PROVISIONAL, True, True)
    waiting = Entry(requested_at=int(now.timestamp()), not_returned=[5])
    assert classify_noon([waiting], now, SlotState.PROVISIONAL) == (SlotState.PROVISIONAL, True, False)
    assert classify_noon(now=now, stored=SlotState.PROVISIONAL, traded=[[0], [0]]) == (
        SlotState.PROVISIONAL,
        True,
        True,
    )


def test_a_provisional_bar_counts_as_missing_once_overdue() -> None:
    assert not is_overdue(stored=SlotState.PROVISIONAL)
    assert is_overdue(now=NEXT_NOON, stored=SlotState.PROVISIONAL)
    assert is_overdue(stored=SlotState.PROVISIONAL, half_published_at=[parse_epoch(f"{DAY} 14:00")])


def test_a_provisional_bar_is_overdue_at_once_if_its_session_is_published_beyond_it() -> None:
    assert is_overdue([Entry(published=True, not_returned=[5])], stored=SlotState.PROVISIONAL)


@pytest.mark.parametrize(
    ("known", "rejected", "expected"),
    [
        ({}, False, (SlotState.SUSPECT, False, False)),
        ({}, True, (SlotState.SUSPECT, False, False)),
        (THIN, False, (SlotState.PRESENT, False, False)),
        (THIN, True, (SlotState.SUSPECT, False, False)),
    ],
)
def test_absent_rows_are_usual_for_a_thin_symbol_and_rejected_rows_are_not(
    known: dict[str, Any], rejected: bool, expected: tuple[SlotState, bool, bool]
) -> None:
    slot = (0, NOON_BAR, SlotState.SUSPECT)
    entry = Entry(requested_at=int(NEXT_NOON.timestamp()) - 3600, published=True, data_until=LATER)
    found = classify([slot], [entry], NEXT_NOON, build_grid(DAY), rejected=[slot] if rejected else [], **known)
    assert (SlotState(int(found.state[0])), bool(found.gap[0]), bool(found.due[0])) == expected


def test_a_thin_symbol_did_not_skip_a_slot_in_which_a_rejected_row_shows_a_trade() -> None:
    slot = (0, NOON_BAR, SlotState.MISSING)
    entry = Entry(requested_at=int(EVENING.timestamp()), published=True, data_until=LATER, not_returned=[NOON_BAR])
    for rejected, expected in (([], SlotState.NO_TRADE), ([slot], SlotState.MISSING)):
        found = classify([slot], [entry], NEXT_NOON, build_grid(DAY), rejected=rejected, **THIN)
        assert SlotState(int(found.state[0])) is expected


def test_no_symbol_is_thin_while_rows_are_left_out_whose_meaning_nobody_knows() -> None:
    entry = Entry(requested_at=int(EVENING.timestamp()), published=True, data_until=LATER, not_returned=[5])
    assert get_noon_state([entry], **THIN) is SlotState.NO_TRADE
    assert get_noon_state([entry], **THIN, judges_by_habit=False) is SlotState.MISSING


@pytest.mark.parametrize(
    ("incomplete", "known", "expected"),
    [(3, 6, SlotState.NO_TRADE), (5, 5, SlotState.MISSING), (4, 11, SlotState.NO_TRADE), (3, 11, SlotState.MISSING)],
    ids=["2 of 5", "only 4 others", "3 of 10", "2 of 10"],
)
def test_only_slots_that_a_thin_symbol_skips_are_no_trade_at_once(
    incomplete: int, known: int, expected: SlotState
) -> None:
    entry = Entry(requested_at=int(EVENING.timestamp()), published=True, data_until=LATER, not_returned=[5])
    assert get_noon_state([entry], incomplete_sessions=[incomplete, 0], published_sessions=[known, 0]) is expected


@pytest.mark.parametrize(
    ("entry", "incomplete", "expected"),
    [
        (Entry(data_until=LATER, not_returned=[5]), 2, SlotState.NO_TRADE),
        (Entry(data_until=LATER, not_returned=[5]), 1, SlotState.MISSING),
        (Entry(data_until=parse_epoch(f"{DAY} 12:30"), not_returned=[5]), 5, SlotState.PENDING),
        (Entry(not_returned=range(13)), 5, SlotState.PENDING),
        (Entry(published=True, data_until=LATER, not_returned=[4, 6]), 6, SlotState.MISSING),
        (Entry(row=1, published=True, data_until=LATER, not_returned=[5]), 5, SlotState.PENDING),
    ],
    ids=["own session not counted", "too few", "data end too early", "no data", "deleted", "another ticker"],
)
def test_a_slot_of_a_thin_symbol_is_no_trade_only_if_published_beyond_it(
    entry: Entry, incomplete: int, expected: SlotState
) -> None:
    assert (
        get_noon_state([entry], incomplete_sessions=[incomplete, 0], published_sessions=[5 + entry.published, 0])
        is expected
    )


@pytest.mark.parametrize(
    ("days_late", "next_in_days"),
    [(-1, 0), (0, 1), (2.9, 3.9), (3, np.inf), (50, np.inf)],
    ids=["not yet requested", "requested once", "daily", "for three days", "long ago"],
)
def test_a_halt_is_requested_daily_for_three_days_while_the_other_feed_has_no_calls(
    days_late: float, next_in_days: float
) -> None:
    """A halt was to be asked again on June 2; the first feed was requested ``days_late`` days after that."""
    due_at, day = parse_epoch("2026-06-02 20:00"), 24 * HOUR
    grid = build_grid(DAY)
    halts = HaltedSlots(
        grid.get_slot_keys(np.array([0]), np.array([NOON_BAR])), np.array([False]), np.array([float(due_at)])
    )
    found = classify_slots(
        build_open_slots([(0, NOON_BAR, SlotState.MISSING)]),
        build_history([Entry(requested_at=int(due_at + days_late * day), published=True, not_returned=[NOON_BAR])]),
        replace(build_evidence(2, grid), halts=halts),
        grid,
        RULES,
        parse_new_york("2026-09-01 12:00"),
    )
    assert SlotState(int(found.state[0])) is SlotState.NO_TRADE
    assert found.next_request_at.tolist() == [due_at + next_in_days * day]


def test_a_no_trade_slot_is_never_requested() -> None:
    entry = Entry(requested_at=0, published=True, data_until=LATER, not_returned=[5])
    found = classify([(0, 5, SlotState.MISSING)], [entry], NEXT_NOON, build_grid(DAY), **THIN)
    assert (found.state[0], found.gap[0], found.due[0], found.next_request_at[0]) == (
        SlotState.NO_TRADE,
        False,
        False,
        float("inf"),
    )


@pytest.mark.parametrize(
    "known",
    [{"traded": [[0], [-1]]}, {"traded": [[2], [-1]]}, {"traded": [[3], [-1]]}, {"closed": [True]}],
    ids=["volume 0", "not in the market's file", "no row, as usual", "closed"],
)
@pytest.mark.parametrize("now", [EVENING, NEXT_NOON])
def test_a_day_without_trading_explains_every_absence(known: dict[str, Any], now: datetime) -> None:
    entry = Entry(requested_at=int(now.timestamp()), no_new_data_since=0, not_returned=range(13))
    for entries in ([], [entry]):
        found = classify(WHOLE_SESSION, entries, now, build_grid(DAY), **known)
        assert (set(found.state.tolist()), found.gap.any(), found.due.any()) == ({SlotState.NO_TRADE}, False, False)


@pytest.mark.parametrize("traded", [0, 2, 3])
def test_a_bar_of_the_session_disproves_that_nothing_traded(traded: int) -> None:
    slots = WHOLE_SESSION[1:]  # the first bar is there
    found = classify(slots, [], NEXT_NOON, build_grid(DAY), traded=[[traded], [-1]])
    assert set(found.state.tolist()) == {SlotState.MISSING}
    provisional = [(0, 0, SlotState.PROVISIONAL), *slots]
    found = classify(provisional, [], NEXT_NOON, build_grid(DAY), traded=[[traded], [-1]])
    assert found.state.tolist() == [SlotState.PROVISIONAL, *[SlotState.MISSING] * 12]


def test_daily_data_explain_one_symbol_and_session_only() -> None:
    grid = build_grid(DAY, "2026-06-02")
    slots = [(row, ordinal, SlotState.MISSING) for row in (0, 1) for ordinal in range(26)]
    found = classify(slots, [], parse_new_york("2026-06-03 12:00"), grid, traded=[[1, 0], [-1, 1]])
    states = [SlotState.MISSING, SlotState.NO_TRADE, SlotState.MISSING, SlotState.MISSING]
    assert found.state.tolist() == np.repeat(states, 13).tolist()
    found = classify(slots, [], parse_new_york("2026-06-03 12:00"), grid, closed=[True, False])
    states = [SlotState.NO_TRADE, SlotState.MISSING, SlotState.NO_TRADE, SlotState.MISSING]
    assert found.state.tolist() == np.repeat(states, 13).tolist()


@pytest.mark.parametrize(
    ("request_count", "hours", "gap"),
    [(1, 23.99, False), (1, 24, True), (5, 24, True), (6, 167.99, False), (6, 168, True)],
)
def test_a_suspect_bar_is_requested_daily_then_weekly_and_is_not_a_gap_in_between(
    request_count: int, hours: float, gap: bool
) -> None:
    entry = Entry(
        requested_at=parse_epoch("2026-06-02 12:00"),
        request_count=request_count,
        published=True,
        data_until=LATER,
        not_returned=[7],
    )
    now = NEXT_NOON + timedelta(hours=hours)
    assert classify_noon([entry], now, SlotState.SUSPECT) == (SlotState.SUSPECT, gap, gap)


@pytest.mark.parametrize(
    ("recheck", "request_count", "days", "due"),
    [
        (Recheck.DAILY, 6, 1, True),
        (Recheck.DAILY, 15, 1, True),
        (Recheck.DAILY, 16, 1, False),  # no answer holds the bar: as for an absent one
        (Recheck.DAILY, 16, 7, True),
        (Recheck.WEEKLY, 1, 1, False),
        (Recheck.WEEKLY, 1, 7, True),
        (Recheck.NEVER, 1, 700, False),
    ],
)
def test_how_often_a_bar_in_doubt_is_requested(recheck: Recheck, request_count: int, days: int, due: bool) -> None:
    entry = Entry(
        requested_at=parse_epoch("2026-06-02 12:00"), request_count=request_count, published=True, data_until=LATER
    )
    now = NEXT_NOON + timedelta(days=days)
    assert classify_noon([entry], now, SlotState.SUSPECT, recheck=recheck)[2] is due


def test_a_suspect_bar_that_was_never_requested_is_due() -> None:
    assert classify_noon(now=NEXT_NOON, stored=SlotState.SUSPECT) == (SlotState.SUSPECT, True, True)
    assert classify_noon(stored=SlotState.SUSPECT, now=parse_new_york(f"{DAY} 18:59")) == (
        SlotState.SUSPECT,
        False,
        False,
    )


def test_few_source_rows_are_not_suspect_for_a_thin_symbol() -> None:
    entry = Entry(published=True, data_until=LATER, not_returned=[7])
    assert classify_noon([entry], NEXT_NOON, SlotState.SUSPECT, **THIN) == (SlotState.PRESENT, False, False)
    assert classify_noon([], NEXT_NOON, SlotState.SUSPECT, incomplete_sessions=[2, 0], published_sessions=[5, 0]) == (
        SlotState.PRESENT,
        False,
        False,
    )


def test_a_complete_session_does_not_make_its_symbol_less_thin() -> None:
    complete = Entry(published=True, data_until=LATER)
    assert (
        classify_noon([complete], NEXT_NOON, SlotState.SUSPECT, incomplete_sessions=[2, 0], published_sessions=[6, 0])[
            0
        ]
        is SlotState.PRESENT
    )


@pytest.mark.parametrize("stored", [SlotState.MISSING, SlotState.PROVISIONAL])
def test_a_slot_returned_once_and_deleted_is_requested_at_once(stored: SlotState) -> None:
    entry = Entry(
        requested_at=int(EVENING.timestamp()),
        no_new_data_since=0,
        data_until=parse_epoch(f"{DAY} 11:35"),
        not_returned=[4, 6],
    )
    assert classify_noon([entry], stored=stored) == (
        SlotState.PENDING if stored is SlotState.MISSING else stored,
        True,
        True,
    )


@pytest.mark.parametrize("stored", [SlotState.MISSING, SlotState.PROVISIONAL, SlotState.SUSPECT])
def test_a_request_in_the_future_does_not_delay_a_slot(stored: SlotState) -> None:
    for not_returned, ahead, due in (([5], 1, True), ([5], 0, False), (range(13), 10_000_000, True)):
        entry = Entry(requested_at=int(NEXT_NOON.timestamp()) + ahead, not_returned=not_returned)
        assert classify_noon([entry], NEXT_NOON, stored)[2] is due


def test_a_request_in_the_future_does_not_make_a_vendor_gap() -> None:
    entry = Entry(
        requested_at=parse_epoch("2027-06-01 12:00"),
        no_new_data_since=parse_epoch(f"{DAY} 19:00"),
        not_returned=range(13),
    )
    assert get_noon_state([entry], NEXT_NOON) is SlotState.MISSING


def test_a_complete_window_has_no_open_slots() -> None:
    found = classify([], [Entry(published=True)], EVENING, build_grid(DAY))
    assert [len(column) for column in (found.state, found.overdue, found.gap, found.next_request_at, found.due)] == [
        0
    ] * 5


def test_an_empty_window_has_no_open_slots() -> None:
    assert len(classify([], [], EVENING, build_grid()).state) == 0


def test_default_rules_are_the_documented_ones() -> None:
    assert (RULES.overdue_after_half, RULES.thin_min_sessions, RULES.thin_min_share) == (timedelta(hours=6), 5, 0.3)


def test_the_worked_example_of_classify_slots_holds() -> None:
    at = {text: parse_epoch(f"2026-06-0{text}") for text in ("1 19:00", "1 20:00", "1 23:00", "2 05:00")}
    assert classify_noon(now=parse_new_york("2026-06-01 18:59")) == (SlotState.PENDING, False, False)
    assert classify_noon(now=parse_new_york("2026-06-01 19:00")) == (SlotState.PENDING, True, True)
    for requested, due in pairwise(at.values()):
        entry = Entry(
            requested_at=requested,
            no_new_data_since=at["1 19:00"],
            published=True,
            data_until=parse_epoch(f"{DAY} 16:00"),
            published_at=at["1 19:00"],
            not_returned=[NOON_BAR],
        )
        moments = [datetime.fromtimestamp(due - 1, UTC), datetime.fromtimestamp(due, UTC)]
        found = [classify_noon([entry], now, first_published_at=[at["1 19:00"]]) for now in moments]
        assert found == [(SlotState.MISSING, True, False), (SlotState.MISSING, True, True)]
