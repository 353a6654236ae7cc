"""Every slot against a slow model in plain Python, in the words of DESIGN.md: one slot at a time, no arrays."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import inf, nan

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets_tests.unit.gap_builders import HOUR, Entry, Slot, judged

TICKERS = 2
DAY = 24 * HOUR
Verdict = tuple[SlotState, bool, bool, float, bool]  # state, late, gap, ask_at, due


@dataclass(frozen=True)
class World:
    grid: SlotGrid
    clock: int
    slots: list[Slot]
    entries: list[Entry]
    skips: list[int]
    known: list[int]
    traded: list[list[int]]
    first_seen: list[float]
    half_seen: list[float]
    closed: list[bool]

    def close_of(self, session: int) -> float:
        return self.grid.sessions[session].regular_close.timestamp()

    def entry_of(self, row: int, session: int) -> Entry | None:
        return next((e for e in self.entries if (e.row, e.session) == (row, session)), None)


def pause_after(silent: float) -> int:
    """Decision 8: after about 1, 3, 6, 12, 24 h, then daily for 10 days, then weekly."""
    passed = 0
    for hours in (1, 3, 6, 12, 24):
        passed += hours
        if silent < passed * HOUR:
            return hours * HOUR
    return DAY if silent < passed * HOUR + 10 * DAY else 7 * DAY


def counts_from(world: World, session: int) -> float:
    """Before this moment silence does not count; infinite while it does not count at all."""
    if world.first_seen[session] == world.first_seen[session]:
        return world.first_seen[session]
    return inf if world.clock < world.close_of(session) + 16 * HOUR else -inf


def silent_since(world: World, entry: Entry) -> float:
    """A session of which nothing came is silent at most since an older one of its ticker was first seen."""
    older = [e.seen_at for e in world.entries if e.row == entry.row and e.session < entry.session]
    seen = [at for at in older if at == at]
    return entry.silence if entry.reached else max([entry.silence, *seen])


def is_thin(world: World, row: int, entry: Entry | None) -> bool:
    """Of the *other* published sessions at least five are known, and 30 % of them lacked a slot."""
    own = entry is not None and entry.published
    others = world.known[row] - own
    lacking = world.skips[row] - (own and len(entry.withheld) > 0)
    return others >= 5 and 10 * lacking >= 3 * others


def is_late(world: World, session: int, *, beyond: bool) -> bool:
    half = world.half_seen[session] + 6 * HOUR  # NaN before half of the universe was seen: compares as False
    return beyond or world.clock >= world.close_of(session) + 16 * HOUR or world.clock >= half


def state_of(world: World, slot: Slot) -> tuple[SlotState, bool]:
    row, ordinal, held = slot
    session = int(world.grid.session_index[ordinal])
    entry = world.entry_of(row, session)
    beyond = entry is not None and (entry.published or entry.reached > world.grid.ends[ordinal])
    late = is_late(world, session, beyond=beyond)
    thin = is_thin(world, row, entry)
    if held is SlotState.PROVISIONAL:
        return held, late
    if held is SlotState.SUSPECT:
        return SlotState.PRESENT if thin else held, late
    if world.closed[session] or world.traded[row][session] == 0:
        return SlotState.NO_TRADE, late
    if entry is not None and ordinal in entry.withheld:
        if beyond and thin:
            return SlotState.NO_TRADE, late
        since = max(silent_since(world, entry), counts_from(world, session))
        if entry.asked_at <= world.clock and entry.asked_at - since >= 46 * HOUR + 10 * DAY:
            return SlotState.VENDOR_GAP, late
    return SlotState.MISSING if late else SlotState.PENDING, late


def silent_until(world: World, row: int, session: int) -> float:
    """Until when a ticker's sessions newer than any that ever brought a row wait together."""
    mine = [e for e in world.entries if e.row == row and e.asked_at <= world.clock]
    spoke = max((e.session for e in mine if e.reached), default=-1)
    quiet = [e for e in mine if e.session > spoke and counts_from(world, e.session) < inf]
    if session <= spoke or not quiet:
        return -inf
    last = max(e.asked_at for e in quiet)
    since = min(max(silent_since(world, e), counts_from(world, e.session)) for e in quiet)
    return last + pause_after(max(0.0, last - since))


def asked_again(world: World, slot: Slot, state: SlotState) -> float:
    row, ordinal, _ = slot
    session = int(world.grid.session_index[ordinal])
    entry = world.entry_of(row, session)
    if entry is None or entry.asked_at > world.clock:
        return silent_until(world, row, session)
    if state is SlotState.SUSPECT:
        at: float = entry.asked_at + (7 * DAY if entry.asks > 5 else DAY)
    elif ordinal in entry.withheld:
        since = max(silent_since(world, entry), counts_from(world, session))
        at = entry.asked_at + pause_after(max(0.0, entry.asked_at - since))
    else:
        return -inf  # came once and is gone
    return max(at, silent_until(world, row, session))


def model(world: World, slot: Slot) -> Verdict:
    state, late = state_of(world, slot)
    askable_at = world.close_of(int(world.grid.session_index[slot[1]])) + 3 * HOUR
    if state in {SlotState.NO_TRADE, SlotState.PRESENT}:
        return state, late, False, inf, False
    ask_at = max(askable_at, asked_again(world, slot, state))
    askable = world.clock >= askable_at
    gap = askable and (state is not SlotState.SUSPECT or world.clock >= ask_at)
    return state, late, gap, ask_at, askable and world.clock >= ask_at


def chosen(mask: int, first: int, last: int) -> list[int]:
    return [ordinal for ordinal in range(first, last) if mask >> ordinal & 1]


SILENCES = [0, 1, 4, 10, 22, 46, 60, 285, 286, 286, 400, 400, 400]
PAUSES = [0, 1, 3, 6, 12, 24, 168, 168, 168]


@st.composite
def entries(draw: st.DrawFn, grid: SlotGrid, row: int, session: int, clock: int) -> Entry:
    """What an ask leaves behind: nothing came means that everything is withheld."""
    first, last = int(grid.session_offsets[session]), int(grid.session_offsets[session + 1])
    ends = grid.ends[first:last].tolist()
    reached = draw(st.sampled_from([0, 0, ends[0], ends[len(ends) // 2] + 300, ends[-1]]))
    withheld = chosen(draw(st.integers(0, 2**grid.size - 1)), first, last) if reached else list(range(first, last))
    published = bool(reached) and draw(st.booleans())
    nudge = draw(st.sampled_from([-1, 0, 0, 1]))
    asked_at = clock - draw(st.sampled_from(PAUSES)) * HOUR + nudge
    silence = draw(st.sampled_from(SILENCES)) * HOUR + draw(st.sampled_from([-1, 0, 0]))
    return Entry(
        row=row,
        session=session,
        asked_at=asked_at,
        asks=draw(st.sampled_from([1, 5, 6, 30])),
        silent_since=asked_at - silence,
        published=published,
        reached=reached,
        seen_at=clock - draw(st.sampled_from([0, 3, 30, 500, 700, 700])) * HOUR if published else nan,
        withheld=withheld,
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    monday = date(2020, 12, 28) + timedelta(weeks=draw(st.integers(0, 340)))
    days = list_sessions("US", monday, monday + timedelta(days=draw(st.sampled_from([0, 1, 4]))))
    grid = build_slot_grid(days, INTERVALS[draw(st.sampled_from(["30m", "1h"]))])
    closes = [int(s.regular_close.timestamp()) for s in grid.sessions] or [0]
    hours = st.sampled_from([-7.0, 0.0, 3.0, 8.0, 16.0, 17.0, 40.0, 300.0, 400.0, 400.0])
    clock = draw(st.sampled_from(closes)) + int(draw(hours) * HOUR) - draw(st.sampled_from([0, 0, 1]))
    held = [SlotState.MISSING, SlotState.MISSING, SlotState.PROVISIONAL, SlotState.SUSPECT]
    slots = [
        (row, ordinal, draw(st.sampled_from(held)))
        for row in range(TICKERS)
        for ordinal in chosen(draw(st.integers(0, 2**grid.size - 1)), 0, grid.size)
    ]
    asked = [
        draw(entries(grid, row, session, clock))
        for row in range(TICKERS)
        for session in range(len(grid.sessions))
        if draw(st.booleans())
    ]
    known = [draw(st.integers(4, 8)) for _ in range(TICKERS)]
    seen = st.sampled_from([nan, nan, *(clock - hours * HOUR for hours in (0, 1, 5, 6, 23, 46, 500, 500))])
    return World(
        grid=grid,
        clock=clock,
        slots=draw(st.permutations(slots)),
        entries=draw(st.permutations(asked)),
        skips=[draw(st.integers(1, 4)) for _ in range(TICKERS)],
        known=known,
        traded=[[draw(st.sampled_from([-1, -1, 1, 0])) for _ in grid.sessions] for _ in range(TICKERS)],
        first_seen=[draw(seen) for _ in grid.sessions],
        half_seen=[draw(seen) for _ in grid.sessions],
        closed=[draw(st.sampled_from([False, False, False, True])) for _ in grid.sessions],
    )


def verdicts(world: World) -> list[Verdict]:
    shape = (TICKERS, len(world.grid.sessions))
    found = judged(
        world.slots,
        world.entries,
        datetime.fromtimestamp(world.clock, UTC),
        world.grid,
        TICKERS,
        incomplete_sessions=world.skips,
        published_sessions=world.known,
        traded=np.array(world.traded).reshape(shape),
        first_published_at=world.first_seen,
        half_published_at=world.half_seen,
        closed=world.closed,
    )
    columns: Sequence[np.ndarray] = (found.state, found.overdue, found.gap, found.next_request_at, found.due)
    return [
        (SlotState(state), late, gap, ask_at, due)
        for state, late, gap, ask_at, due in zip(*(c.tolist() for c in columns), strict=True)
    ]


def test_every_slot_is_what_the_slow_model_says() -> None:
    met: Counter[tuple[SlotState, bool, bool]] = Counter()

    @given(worlds())
    @settings(max_examples=500, derandomize=True, deadline=None)
    def check(world: World) -> None:
        answer = verdicts(world)
        assert dict(zip(world.slots, answer, strict=True)) == {slot: model(world, slot) for slot in world.slots}
        met.update((state, late, due) for state, late, _, _, due in answer)

    check()
    askable = {SlotState.PROVISIONAL, SlotState.SUSPECT, SlotState.PENDING, SlotState.MISSING, SlotState.VENDOR_GAP}
    assert {(state, due) for state, _, due in met} == {
        *((state, due) for state in askable for due in (True, False)),
        (SlotState.PRESENT, False),
        (SlotState.NO_TRADE, False),
    }  # UNVERIFIED is a bar somebody else wrote: never open
    assert {late for state, late, _ in met if state is SlotState.PROVISIONAL} == {True, False}
    assert {late for state, late, _ in met if state in {SlotState.PENDING, SlotState.MISSING}} == {True, False}
