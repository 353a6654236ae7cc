"""The state of every slot: expected − present − explained, head, interior and tail.

Pure: what is stored and what is known about absence come in as arrays, the clock as ``now``.
Reading those arrays from Postgres is in ``store.coverage``; deciding what to ask is in
``backfill.planner``.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.evidence import Asked, Facts
from backfill_assets.market.gaps.retry_schedule import Ladder, next_ask, silence, silent_since

Int64 = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class State(IntEnum):
    """The state of a slot (DESIGN.md, "The words"): exactly one of these."""

    PRESENT = 0
    PROVISIONAL = 1
    UNVERIFIED = 2
    SUSPECT = 3
    PENDING = 4
    MISSING = 5
    NO_TRADE = 6
    VENDOR_GAP = 7


@dataclass(frozen=True, slots=True)
class Rules:
    """When absence may be asked about, counts, is explained, and is asked about again.

    Attributes:
        askable_after: from the regular close until a request may bring the session.
        overdue_after: from the close until absence counts.
        overdue_after_half: from when half of the universe was seen published until it counts.
        thin_sessions: published sessions that must be known before a ticker may be called thin.
        thin_share: share of them that lacked a slot, from which on it is thin.
        ladder: when to ask again.
    """

    askable_after: timedelta
    overdue_after: timedelta
    overdue_after_half: timedelta = timedelta(hours=6)
    thin_sessions: int = 5
    thin_share: float = 0.3
    ladder: Ladder = field(default_factory=Ladder)


@dataclass(frozen=True, eq=False)
class OpenSlots:
    """Slots without a trusted final bar, as parallel arrays of one length.

    Attributes:
        row: position of the ticker in the universe looked at.
        ordinal: the slot in the grid.
        held: what stands there: ``State.PROVISIONAL`` or ``State.SUSPECT``; else ``State.MISSING``.
    """

    row: Int64
    ordinal: Int64
    held: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Classified:
    """The state of each open slot, and when a request may bring it.

    Attributes:
        state: a ``State`` each.
        late: whether its absence counts (overdue): for ``PROVISIONAL`` ones, which have a bar.
        gap: whether a request could improve it now.
        ask_at: epoch seconds from when it is to be asked (again); infinite where no request helps.
        due: whether that time has come.
    """

    state: NDArray[np.int8]
    late: Bools
    gap: Bools
    ask_at: Floats
    due: Bools


def classify(slots: OpenSlots, asked: Asked, facts: Facts, grid: SlotGrid, rules: Rules, now: datetime) -> Classified:
    """Derive the state of every open slot; the one place where this is decided."""
    clock = now.timestamp()
    session = grid.session_of[slots.ordinal]
    entries = asked.entries(len(facts.known), len(grid.sessions))
    asked = replace(asked, silent_since=silent_since(asked, entries))
    entry = entries[slots.row, session]
    withheld = _withheld(slots, asked, grid)
    beyond = _seen_beyond(slots, entry, asked, grid)
    late = (_overdue_at(facts, grid, rules)[session] <= clock) | beyond
    made = np.append(asked.asked_at <= clock, False)  # an ask in the future is a mistaken --as-of: nobody waits for it
    counted = np.where(made[entry], entry, -1)
    counts_from = _silence_counts_from(facts, grid, rules, clock)

    state = np.where(late, State.MISSING, State.PENDING).astype(np.int8)
    given_up = withheld & (counted >= 0)
    silent = silence(counted[given_up], session[given_up], asked, counts_from)
    given_up[given_up] = silent >= rules.ladder.given_up_after.total_seconds()
    state[given_up] = State.VENDOR_GAP
    thin = _is_thin(slots, entry, asked, facts, rules)
    state[withheld & beyond & thin] = State.NO_TRADE
    state[(facts.traded[slots.row, session] == 0) | facts.closed[session]] = State.NO_TRADE
    has_bar = slots.held != State.MISSING
    state[has_bar] = slots.held[has_bar]
    state[(slots.held == State.SUSPECT) & thin] = State.PRESENT  # few rows are usual for a thin ticker

    askable = np.array([(s.regular_close + rules.askable_after).timestamp() for s in grid.sessions], float)
    suspect = state == State.SUSPECT
    counting = np.where(made[entries], entries, -1)
    again = next_ask(slots.row, session, counted, withheld, suspect, asked, counting, counts_from, rules.ladder)
    ask_at = np.maximum(askable[session], again)
    settled = (state == State.NO_TRADE) | (state == State.PRESENT)
    ask_at[settled] = np.inf
    gap = (askable[session] <= clock) & ~settled
    suspect_later = (state == State.SUSPECT) & (ask_at > clock)
    return Classified(state, late, gap & ~suspect_later, ask_at, gap & (ask_at <= clock))


def _overdue_at(facts: Facts, grid: SlotGrid, rules: Rules) -> Floats:
    latest = np.array([(s.regular_close + rules.overdue_after).timestamp() for s in grid.sessions], float)
    sooner: Floats = np.fmin(latest, facts.half_seen_at + rules.overdue_after_half.total_seconds())
    return sooner


def _silence_counts_from(facts: Facts, grid: SlotGrid, rules: Rules, clock: float) -> Floats:
    """From when asking in vain counts: at first sight of the session, and not at all while it is fresh and unseen."""
    fresh = [clock < (s.regular_close + rules.overdue_after).timestamp() for s in grid.sessions]
    unseen = np.where(fresh, np.inf, -np.inf)
    counts: Floats = np.where(np.isnan(facts.first_seen_at), unseen, facts.first_seen_at)
    return counts


def _seen_beyond(slots: OpenSlots, entry: Int64, asked: Asked, grid: SlotGrid) -> Bools:
    """Whether this ticker's own session was already seen published beyond the slot."""
    result = np.zeros(len(entry), bool)
    known = entry >= 0
    at = entry[known]
    result[known] = asked.published[at] | (asked.reached[at] > grid.ends[slots.ordinal[known]])
    return result


def _withheld(slots: OpenSlots, asked: Asked, grid: SlotGrid) -> Bools:
    """Slots that were asked for and did not come; one that came and is gone is not among them."""
    withheld = asked.row[asked.withheld_entry] * grid.size + asked.withheld_ordinal
    return np.isin(slots.row * grid.size + slots.ordinal, withheld)


def _is_thin(slots: OpenSlots, entry: Int64, asked: Asked, facts: Facts, rules: Rules) -> Bools:
    """Whether the ticker often skips slots: its other published sessions say so (decision 7)."""
    lacking = np.zeros(len(asked.row), bool)
    lacking[asked.withheld_entry] = True
    published = np.append(asked.published, False)
    others = facts.known[slots.row] - published[entry]
    skips = facts.skips[slots.row] - (published & np.append(lacking, False))[entry]
    thin: Bools = (others >= rules.thin_sessions) & (skips >= rules.thin_share * others)
    return thin
