"""The state of every slot, by cases that a person can follow.

The slow model is in ``test_market_slot_states_model``.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.slot_states import SlotState, classify_slots
from backfill_assets_tests.unit.gap_builders import RULES, Entry, asked_of, facts_of, judged, slots_of
from backfill_assets_tests.unit.market_builders import grid_of, new_york, stamp

DAY = "2026-06-01"
EVENING = new_york("2026-06-01 20:00")
NOON_AFTER = new_york("2026-06-02 12:00")
NOON_BAR = 5  # the ordinal of 12:00
LATER = stamp(f"{DAY} 12:35")  # reached beyond the slot of 12:00
OFTEN = {
    "incomplete_sessions": [3, 0],
    "published_sessions": [6, 0],
}  # with the session at hand: 2 of the 5 others lacked a slot


def one(
    entries: Sequence[Entry] = (), now: datetime = EVENING, held: SlotState = SlotState.MISSING, **known: Any
) -> tuple[SlotState, bool, bool]:
    """State, gap and due of the slot 12:00, which has no trusted final bar."""
    found = judged([(0, NOON_BAR, held)], entries, now, grid_of(DAY), **known)
    return SlotState(int(found.state[0])), bool(found.gap[0]), bool(found.due[0])


def state(entries: Sequence[Entry] = (), now: datetime = EVENING, **known: Any) -> SlotState:
    return one(entries, now, **known)[0]


def late(
    entries: Sequence[Entry] = (), now: datetime = EVENING, held: SlotState = SlotState.MISSING, **known: Any
) -> bool:
    return bool(judged([(0, NOON_BAR, held)], entries, now, grid_of(DAY), **known).overdue[0])


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
def test_a_slot_never_asked_for_is_pending_then_askable_then_missing(now: str, expected: SlotState, gap: bool) -> None:
    assert one(now=new_york(now)) == (expected, gap, gap)


@pytest.mark.parametrize(("at", "gap"), [("16:00", False), ("18:59", False), ("19:00", True)])
def test_an_early_close_does_not_bring_the_data_forward(at: str, gap: bool) -> None:
    found = judged([(0, 6, SlotState.MISSING)], [], new_york(f"2026-11-27 {at}"), grid_of("2026-11-27"))
    assert found.gap.tolist() == [gap]


def test_the_wait_counts_in_hours_across_a_clock_change() -> None:
    friday = grid_of("2026-03-06")
    rules = GapRules(askable_after=timedelta(hours=48), overdue_after=timedelta(hours=48))
    slots, nothing = slots_of([(0, 0, SlotState.MISSING)]), asked_of([])
    for at, gap in (("2026-03-08 16:59", False), ("2026-03-08 17:00", True)):
        assert classify_slots(slots, nothing, facts_of(1, friday), friday, rules, new_york(at)).gap.tolist() == [gap]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (Entry(reached=stamp(f"{DAY} 12:00"), withheld=[5]), SlotState.PENDING),
        (Entry(reached=stamp(f"{DAY} 12:30"), withheld=[5]), SlotState.PENDING),
        (Entry(reached=LATER, withheld=[5]), SlotState.MISSING),
        (Entry(reached=stamp(f"{DAY} 16:00"), published=True, withheld=[5]), SlotState.MISSING),
        (Entry(reached=0, withheld=range(13)), SlotState.PENDING),
        (Entry(row=1, published=True, withheld=[5]), SlotState.PENDING),
    ],
    ids=["short", "to its end", "beyond", "published", "nothing came", "another ticker"],
)
def test_a_slot_is_missing_at_once_if_its_session_was_seen_beyond_it(entry: Entry, expected: SlotState) -> None:
    assert state([entry]) is expected
    assert late([entry]) is (expected is SlotState.MISSING)


def test_what_was_seen_of_one_session_says_nothing_of_another() -> None:
    grid, slots = grid_of(DAY, "2026-06-02"), [(0, 5, SlotState.MISSING), (0, 18, SlotState.MISSING)]
    asked_at = stamp("2026-06-02 19:30")
    published = Entry(published=True, reached=LATER, asked_at=asked_at, withheld=[5])
    found = judged(slots, [published], new_york("2026-06-02 19:45"), grid)
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
def test_absence_counts_six_hours_after_half_of_the_universe_was_seen(half: str, at: str, expected: SlotState) -> None:
    assert state(now=new_york(at), half_published_at=[stamp(half)]) is expected


@pytest.mark.parametrize("now", [EVENING, NOON_AFTER])
def test_a_provisional_bar_stays_provisional_and_is_asked_for(now: datetime) -> None:
    assert one(now=now, held=SlotState.PROVISIONAL) == (SlotState.PROVISIONAL, True, True)
    waiting = Entry(asked_at=int(now.timestamp()), withheld=[5])
    assert one([waiting], now, SlotState.PROVISIONAL) == (SlotState.PROVISIONAL, True, False)
    assert one(now=now, held=SlotState.PROVISIONAL, traded=[[0], [0]]) == (SlotState.PROVISIONAL, True, True)


def test_a_provisional_bar_counts_as_missing_once_overdue() -> None:
    assert not late(held=SlotState.PROVISIONAL)
    assert late(now=NOON_AFTER, held=SlotState.PROVISIONAL)
    assert late(held=SlotState.PROVISIONAL, half_published_at=[stamp(f"{DAY} 14:00")])


def test_a_provisional_bar_is_overdue_at_once_if_its_session_was_seen_beyond_it() -> None:
    assert late([Entry(published=True, withheld=[5])], held=SlotState.PROVISIONAL)


@pytest.mark.parametrize(
    ("skips", "known", "expected"),
    [(3, 6, SlotState.NO_TRADE), (5, 5, SlotState.MISSING), (4, 11, SlotState.NO_TRADE), (3, 11, SlotState.MISSING)],
    ids=["2 of 5", "only 4 others", "3 of 10", "2 of 10"],
)
def test_only_what_a_thin_ticker_skips_is_no_trade_at_once(skips: int, known: int, expected: SlotState) -> None:
    entry = Entry(asked_at=int(EVENING.timestamp()), published=True, reached=LATER, withheld=[5])
    assert state([entry], incomplete_sessions=[skips, 0], published_sessions=[known, 0]) is expected


@pytest.mark.parametrize(
    ("entry", "skips", "expected"),
    [
        (Entry(reached=LATER, withheld=[5]), 2, SlotState.NO_TRADE),
        (Entry(reached=LATER, withheld=[5]), 1, SlotState.MISSING),
        (Entry(reached=stamp(f"{DAY} 12:30"), withheld=[5]), 5, SlotState.PENDING),
        (Entry(withheld=range(13)), 5, SlotState.PENDING),
        (Entry(published=True, reached=LATER, withheld=[4, 6]), 6, SlotState.MISSING),
        (Entry(row=1, published=True, reached=LATER, withheld=[5]), 5, SlotState.PENDING),
    ],
    ids=["own session counts not", "too few", "short answer", "nothing came", "came and gone", "another ticker"],
)
def test_a_thin_ticker_did_not_trade_only_where_it_was_seen_beyond(
    entry: Entry, skips: int, expected: SlotState
) -> None:
    assert state([entry], incomplete_sessions=[skips, 0], published_sessions=[5 + entry.published, 0]) is expected


def test_no_trade_is_never_asked_for() -> None:
    entry = Entry(asked_at=0, published=True, reached=LATER, withheld=[5])
    found = judged([(0, 5, SlotState.MISSING)], [entry], NOON_AFTER, grid_of(DAY), **OFTEN)
    assert (found.state[0], found.gap[0], found.due[0], found.next_request_at[0]) == (
        SlotState.NO_TRADE,
        False,
        False,
        float("inf"),
    )


@pytest.mark.parametrize("known", [{"traded": [[0], [-1]]}, {"closed": [True]}], ids=["volume 0", "closed"])
@pytest.mark.parametrize("now", [EVENING, NOON_AFTER])
def test_a_day_without_trading_explains_every_absence(known: dict[str, Any], now: datetime) -> None:
    assert one(now=now, **known) == (SlotState.NO_TRADE, False, False)
    given_up = Entry(asked_at=int(now.timestamp()), silent_since=0, withheld=range(13))
    assert one([given_up], now, **known) == (SlotState.NO_TRADE, False, False)


def test_the_daily_data_speak_of_one_ticker_and_session_only() -> None:
    grid = grid_of(DAY, "2026-06-02")
    slots = [(row, ordinal, SlotState.MISSING) for row in (0, 1) for ordinal in (5, 18)]
    found = judged(slots, [], new_york("2026-06-03 12:00"), grid, traded=[[1, 0], [-1, 1]])
    assert found.state.tolist() == [SlotState.MISSING, SlotState.NO_TRADE, SlotState.MISSING, SlotState.MISSING]
    found = judged(slots, [], new_york("2026-06-03 12:00"), grid, closed=[True, False])
    assert found.state.tolist() == [SlotState.NO_TRADE, SlotState.MISSING, SlotState.NO_TRADE, SlotState.MISSING]


@pytest.mark.parametrize(
    ("asks", "hours", "gap"), [(1, 23.99, False), (1, 24, True), (5, 24, True), (6, 167.99, False), (6, 168, True)]
)
def test_a_suspect_bar_is_asked_again_daily_then_weekly_and_is_no_gap_between(
    asks: int, hours: float, gap: bool
) -> None:
    entry = Entry(asked_at=stamp("2026-06-02 12:00"), asks=asks, published=True, reached=LATER, withheld=[7])
    now = NOON_AFTER + timedelta(hours=hours)
    assert one([entry], now, SlotState.SUSPECT) == (SlotState.SUSPECT, gap, gap)


def test_a_suspect_bar_that_was_never_asked_about_is_due() -> None:
    assert one(now=NOON_AFTER, held=SlotState.SUSPECT) == (SlotState.SUSPECT, True, True)
    assert one(held=SlotState.SUSPECT, now=new_york(f"{DAY} 18:59")) == (SlotState.SUSPECT, False, False)


def test_few_source_rows_are_usual_for_a_thin_ticker() -> None:
    entry = Entry(published=True, reached=LATER, withheld=[7])
    assert one([entry], NOON_AFTER, SlotState.SUSPECT, **OFTEN) == (SlotState.PRESENT, False, False)
    assert one([], NOON_AFTER, SlotState.SUSPECT, incomplete_sessions=[2, 0], published_sessions=[5, 0]) == (
        SlotState.PRESENT,
        False,
        False,
    )


def test_a_complete_session_does_not_make_its_ticker_less_thin() -> None:
    complete = Entry(published=True, reached=LATER)
    assert (
        one([complete], NOON_AFTER, SlotState.SUSPECT, incomplete_sessions=[2, 0], published_sessions=[6, 0])[0]
        is SlotState.PRESENT
    )


@pytest.mark.parametrize("held", [SlotState.MISSING, SlotState.PROVISIONAL])
def test_a_slot_that_came_once_and_is_gone_is_asked_for_at_once(held: SlotState) -> None:
    entry = Entry(asked_at=int(EVENING.timestamp()), silent_since=0, reached=stamp(f"{DAY} 11:35"), withheld=[4, 6])
    assert one([entry], held=held) == (SlotState.PENDING if held is SlotState.MISSING else held, True, True)


@pytest.mark.parametrize("held", [SlotState.MISSING, SlotState.PROVISIONAL, SlotState.SUSPECT])
def test_an_ask_in_the_future_is_a_mistake_and_holds_nothing_back(held: SlotState) -> None:
    for withheld, ahead, due in (([5], 1, True), ([5], 0, False), (range(13), 10_000_000, True)):
        entry = Entry(asked_at=int(NOON_AFTER.timestamp()) + ahead, withheld=withheld)
        assert one([entry], NOON_AFTER, held)[2] is due


def test_an_ask_in_the_future_does_not_make_a_vendor_gap() -> None:
    entry = Entry(asked_at=stamp("2027-06-01 12:00"), silent_since=stamp(f"{DAY} 19:00"), withheld=range(13))
    assert state([entry], NOON_AFTER) is SlotState.MISSING


def test_a_complete_window_has_nothing_to_say() -> None:
    found = judged([], [Entry(published=True)], EVENING, grid_of(DAY))
    assert [len(column) for column in (found.state, found.overdue, found.gap, found.next_request_at, found.due)] == [
        0
    ] * 5


def test_an_empty_window_has_nothing_to_say() -> None:
    assert len(judged([], [], EVENING, grid_of()).state) == 0


def test_the_rules_are_those_of_the_design() -> None:
    assert (RULES.overdue_after_half, RULES.thin_min_sessions, RULES.thin_min_share) == (timedelta(hours=6), 5, 0.3)


def test_the_worked_example_of_classify_slots_holds() -> None:
    at = {text: stamp(f"2026-06-0{text}") for text in ("1 19:00", "1 20:00", "1 23:00", "2 05:00")}
    assert one(now=new_york("2026-06-01 18:59")) == (SlotState.PENDING, False, False)
    assert one(now=new_york("2026-06-01 19:00")) == (SlotState.PENDING, True, True)
    for requested, due in pairwise(at.values()):
        entry = Entry(
            asked_at=requested,
            silent_since=at["1 19:00"],
            published=True,
            reached=stamp(f"{DAY} 16:00"),
            seen_at=at["1 19:00"],
            withheld=[NOON_BAR],
        )
        moments = [datetime.fromtimestamp(due - 1, UTC), datetime.fromtimestamp(due, UTC)]
        found = [one([entry], now, first_published_at=[at["1 19:00"]]) for now in moments]
        assert found == [(SlotState.MISSING, True, False), (SlotState.MISSING, True, True)]
