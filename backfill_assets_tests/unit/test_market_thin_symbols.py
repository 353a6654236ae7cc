"""Which absent slots are usual: the same slot of other sessions is compared (docs/decisions/0072)."""

from collections.abc import Collection
from dataclasses import replace
from datetime import date, datetime, time, timedelta

import numpy as np
import pytest

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import US, get_profile
from backfill_assets.market.gaps.evidence import SlotBaseline
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.gaps.thin_symbols import count_same_slot
from backfill_assets_tests.unit.gap_builders import Entry, Slot, build_slot_baseline, classify

HALF_HOUR = INTERVALS["30m"]
Absence = Collection[tuple[int, int]]  # a session and a slot's number in it


def get_states(
    grid: SlotGrid, absent: Absence, suspect: Absence = (), sparse: Absence = (), holes: Collection[int] = ()
) -> dict[tuple[int, int], SlotState]:
    """The states of absent slots and suspect bars of one symbol, long after all sessions were published."""
    offsets, sessions = grid.session_offsets.tolist(), range(len(grid.sessions))
    lacking = {at: [offsets[at] + slot for session, slot in sorted(absent) if session == at] for at in sessions}
    few_rows = {at: [offsets[at] + slot for session, slot in sorted({*suspect, *sparse}) if session == at]
                for at in sessions}  # fmt: skip
    entries = [Entry(session=at, published=True, requested_at=1, data_until=1, not_returned=lacking[at])
               for at in sessions]  # fmt: skip
    slots: list[Slot] = [(0, ordinal, SlotState.MISSING) for ordinals in lacking.values() for ordinal in ordinals]
    slots += [(0, offsets[session] + slot, SlotState.SUSPECT) for session, slot in sorted(suspect)]
    found = classify(
        slots,
        entries,
        grid.sessions[-1].close + timedelta(days=1),
        grid,
        1,
        published_sessions=[len(sessions)],
        incomplete_sessions=[len({session for session, _ in absent})],
        slot_baseline=build_slot_baseline(grid, {0: lacking}, {0: few_rows}),
        holes=sorted(holes),
    )
    return {
        (session, ordinal - offsets[session]): SlotState(int(state))
        for (_, ordinal, _), state in zip(slots, found.state, strict=True)
        for session in [int(grid.session_index[ordinal])]
    }


def build_tokyo_grid(*, knows_break: bool) -> SlotGrid:
    """Twelve sessions of Tokyo, 9:00 to 11:30 and 12:30 to 15:30; without the break 9:00 to 15:30."""
    sessions = list_sessions(get_profile("TSE"), date(2026, 10, 5), date(2026, 10, 21))
    assert len(sessions) == 12
    if not knows_break:
        sessions = tuple(replace(one, segments=((one.open, one.close),)) for one in sessions)
    return build_slot_grid(sessions, HALF_HOUR)


BREAK = {(session, slot) for session in range(12) for slot in (5, 6)}  # 11:30 and 12:00, where no break is known


def test_twelve_tokyo_sessions_have_one_lost_half_hour_and_one_suspect_bar() -> None:
    grid = build_tokyo_grid(knows_break=True)
    assert grid.size == 12 * 11
    assert get_states(grid, {(7, 5)}, suspect={(9, 2)}) == {(7, 5): SlotState.MISSING, (9, 2): SlotState.SUSPECT}


def test_a_break_that_the_calendar_does_not_know_explains_nothing_else() -> None:
    grid = build_tokyo_grid(knows_break=False)
    assert grid.size == 12 * 13
    holes = [session * 13 + slot for session, slot in BREAK]
    states = get_states(grid, {*BREAK, (7, 8)}, suspect={(9, 2)}, holes=holes)
    assert states == {**dict.fromkeys(BREAK, SlotState.MISSING), (7, 8): SlotState.MISSING, (9, 2): SlotState.SUSPECT}
    # few tickers were asked, so that all of them may skip the slots of the break; the others are judged by themselves
    states = get_states(grid, {*BREAK, (7, 8)}, suspect={(9, 2)})
    assert states == {**dict.fromkeys(BREAK, SlotState.NO_TRADE), (7, 8): SlotState.MISSING, (9, 2): SlotState.SUSPECT}


US_SESSIONS = list_sessions(US, date(2026, 9, 1), date(2026, 9, 29))  # 20, without Labor Day
US_GRID = build_slot_grid(US_SESSIONS, HALF_HOUR)
ALWAYS_TRADED = 4


def draw_thin_symbol(skip_share: float, seed: int) -> set[tuple[int, int]]:
    """Slots that a symbol skips at random in 20 sessions; it always trades in one of the thirteen."""
    skips = np.random.default_rng(seed).random((20, 13)) < skip_share
    skips[:, ALWAYS_TRADED] = False
    return {(session, slot) for session, slot in np.argwhere(skips).tolist()}


@pytest.mark.parametrize(("skip_share", "explained"), [(0.15, 0.75), (0.2, 0.85), (0.3, 0.97), (0.5, 0.999)])
def test_what_a_symbol_skips_at_random_is_mostly_explained(skip_share: float, explained: float) -> None:
    """The table of docs/decisions/0072: 80, 92, 99 and 100 % are expected."""
    states = [state for seed in range(20) for state in get_states(US_GRID, draw_thin_symbol(skip_share, seed)).values()]
    assert states.count(SlotState.NO_TRADE) >= explained * len(states)
    assert {*states} <= {SlotState.NO_TRADE, SlotState.MISSING}


@pytest.mark.parametrize("skip_share", [0.15, 0.3, 0.5])
def test_a_lost_slot_in_which_a_thin_symbol_always_trades_is_missing(skip_share: float) -> None:
    for seed in range(5):
        skipped = draw_thin_symbol(skip_share, seed)
        states = get_states(US_GRID, {*skipped, (11, ALWAYS_TRADED)}, suspect={(13, ALWAYS_TRADED)})
        assert states[11, ALWAYS_TRADED] is SlotState.MISSING
        assert states[13, ALWAYS_TRADED] is SlotState.SUSPECT


def test_a_second_loss_of_the_same_slot_in_twenty_sessions_is_missing_as_well() -> None:
    skipped = draw_thin_symbol(0.4, 1)
    states = get_states(US_GRID, {*skipped, (3, ALWAYS_TRADED), (11, ALWAYS_TRADED)})
    assert states[3, ALWAYS_TRADED] is states[11, ALWAYS_TRADED] is SlotState.MISSING


def test_a_lost_half_hour_of_a_complete_symbol_is_missing() -> None:
    assert get_states(US_GRID, {(11, 6)}, suspect={(3, 6)}) == {(11, 6): SlotState.MISSING, (3, 6): SlotState.SUSPECT}


def test_a_suspect_bar_is_usual_where_other_sessions_lack_the_slot_or_rows_of_it() -> None:
    skipped = {(session, 8) for session in range(0, 20, 2)}
    assert get_states(US_GRID, skipped, suspect={(1, 2)})[1, 2] is SlotState.SUSPECT
    assert get_states(US_GRID, skipped, suspect={(1, 2)}, sparse={(5, 2)})[1, 2] is SlotState.SUSPECT  # 1 of 19
    assert get_states(US_GRID, skipped, suspect={(1, 2)}, sparse={(5, 2), (6, 2)})[1, 2] is SlotState.PRESENT
    absent_once = {*skipped, (6, 2)}
    assert get_states(US_GRID, absent_once, suspect={(1, 2)}, sparse={(5, 2)})[1, 2] is SlotState.PRESENT
    # bars with few rows explain no absence
    assert get_states(US_GRID, absent_once, sparse={(5, 2), (7, 2), (9, 2)})[6, 2] is SlotState.MISSING


def count_at(window: SlotGrid, known: SlotGrid, absent: dict[int, list[int]], ordinal: int) -> tuple[int, int]:
    """How many other sessions of symbol 3 have the slot, and how many of them lacked it."""
    baseline = build_slot_baseline(known, {3: {at: absent.get(at, []) for at in range(len(known.sessions))}})
    counts = count_same_slot(np.array([3]), np.array([ordinal]), window, baseline)
    return int(counts.other_sessions[0]), int(counts.absent[0])


def find_slot(grid: SlotGrid, moment: datetime) -> int:
    return int(np.searchsorted(grid.starts, int(moment.timestamp()), side="right")) - 1


def open_late(session: Session, at: time) -> Session:
    opens = datetime.combine(session.day, at, session.market.zone)
    return replace(session, segments=((opens, session.close),))


@pytest.mark.parametrize(
    ("market", "first", "last", "day", "at", "known"),
    [
        (US, date(2026, 10, 26), date(2026, 11, 6), date(2026, 11, 3), time(12), 9),  # clocks change on November 1
        (US, date(2026, 11, 16), date(2026, 11, 27), date(2026, 11, 27), time(12, 30), 8),  # closes at 13:00
        (US, date(2026, 11, 16), date(2026, 11, 27), date(2026, 11, 25), time(15), 7),  # the short day has no 15:00
        (get_profile("HK"), date(2026, 12, 14), date(2026, 12, 24), date(2026, 12, 23), time(14), 7),  # half a day
    ],
    ids=["clock change", "early close", "absent on a half day", "afternoon after a break"],
)
def test_the_same_slot_is_that_of_the_same_local_time(
    market: MarketProfile, first: date, last: date, day: date, at: time, known: int
) -> None:
    grid = build_slot_grid(list_sessions(market, first, last), HALF_HOUR)
    own = find_slot(grid, datetime.combine(day, at, market.zone))
    other = find_slot(grid, datetime.combine(first, at, market.zone))
    assert count_at(grid, grid, {}, own) == (known, 0)
    assert count_at(grid, grid, {0: [other - 1, other, other + 1]}, own) == (known, 1)
    assert count_at(grid, grid, {int(grid.session_index[own]): [own]}, own) == (known, 0)  # it does not explain itself


def test_the_short_first_slot_of_a_late_open_is_compared_with_the_whole_one() -> None:
    """The session opens at 10:15, so its first slot is the second half of the one at 10:00."""
    late = [*US_SESSIONS[:-1], open_late(US_SESSIONS[-1], time(10, 15))]
    window = build_slot_grid(late, HALF_HOUR)
    first = int(window.session_offsets[-2])
    assert count_at(window, window, {0: [1], 2: [15]}, first) == (19, 1)  # 10:00 of the first session; 10:30 of another


def test_sessions_of_the_window_that_do_not_count_are_not_left_out() -> None:
    window = build_slot_grid(US_SESSIONS[-3:], HALF_HOUR)
    known = build_slot_grid(US_SESSIONS[:10], HALF_HOUR)
    assert count_at(window, known, {0: [5], 9: [9 * 13 + 5]}, 5) == (10, 2)


def test_nothing_is_counted_of_symbols_that_hardly_ever_lack_a_slot() -> None:
    baseline = build_slot_baseline(US_GRID, {3: {0: [5]}})
    for row in (0, 7):
        counts = count_same_slot(np.array([row]), np.array([5]), US_GRID, baseline)
        assert (counts.other_sessions.tolist(), counts.absent.tolist()) == ([0], [0])
    assert count_same_slot(np.array([3]), np.array([5]), US_GRID, SlotBaseline()).other_sessions.tolist() == [0]
