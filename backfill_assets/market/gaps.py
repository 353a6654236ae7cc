"""The state of every slot: expected − present − explained, head, interior and tail.

Pure: what is stored and what is known about absence come in as arrays, the clock as ``now``.
Reading those arrays from Postgres is in ``store.coverage``; deciding what to ask is in
``backfill.plan``.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.slots import SlotGrid

Int64 = NDArray[np.int64]
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
    """When absence may be asked about, counts, and is asked about again."""

    askable_after: timedelta
    overdue_after: timedelta
    ladder: tuple[timedelta, ...] = tuple(timedelta(hours=h) for h in (1, 3, 6, 12, 24))
    ladder_rest: timedelta = timedelta(hours=24)

    def pause_after(self, asks: int) -> timedelta:
        """How long to wait after the ``asks``-th ask that brought nothing new (decision 8)."""
        return self.ladder[asks - 1] if asks <= len(self.ladder) else self.ladder_rest


@dataclass(frozen=True, eq=False)
class OpenSlots:
    """Slots without a final bar, as parallel arrays of one length.

    Attributes:
        row: position of the ticker in the universe looked at.
        ordinal: the slot in the grid.
        provisional: whether a provisional bar stands there (else nothing does).
    """

    row: Int64
    ordinal: Int64
    provisional: Bools


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was asked and what came, as parallel arrays, one entry a ticker and session asked.

    Attributes:
        row: position of the ticker in the universe looked at.
        session: index into the grid's sessions.
        asked_at: epoch seconds of the newest ask.
        fruitless: asks in a row that brought nothing new.
        published: whether the session was seen published to its end.
        reached: epoch seconds to which the vendor's rows reached, 0 if none came.
        withheld_entry: for each slot that was asked for and did not come, its entry above.
        withheld_ordinal: and its slot in the grid.
    """

    row: Int64
    session: Int64
    asked_at: Int64
    fruitless: Int64
    published: Bools
    reached: Int64
    withheld_entry: Int64
    withheld_ordinal: Int64


@dataclass(frozen=True, eq=False)
class Classified:
    """The state of each open slot, and whether a request may bring it.

    Attributes:
        state: a ``State`` each.
        gap: whether a request could improve it now (askable).
        due: whether it is also time to ask: never asked, came once and is gone, or the ladder says so.
    """

    state: NDArray[np.int8]
    gap: Bools
    due: Bools


def classify(slots: OpenSlots, evidence: Evidence, grid: SlotGrid, rules: Rules, now: datetime) -> Classified:
    """Derive the state of every open slot; the one place where this is decided."""
    session = grid.session_of[slots.ordinal]
    clock = now.timestamp()
    askable_at, overdue_at = _due_times(grid, rules)
    entry = _entry_of(slots, session, evidence, grid)
    overdue = (overdue_at[session] <= clock) | _seen_published_beyond(slots, entry, evidence, grid)
    state = np.where(overdue, State.MISSING, State.PENDING).astype(np.int8)
    state[slots.provisional] = State.PROVISIONAL
    gap = askable_at[session] <= clock
    return Classified(
        state,
        gap,
        gap & (_never_withheld(slots, evidence, grid) | _ladder_says(entry, evidence, rules, clock)),
    )


def overdue_provisional(slots: OpenSlots, classified: Classified, grid: SlotGrid, rules: Rules, now: datetime) -> Bools:
    """Provisional slots whose final bar is overdue: they count as missing bars (DESIGN.md)."""
    _, overdue_at = _due_times(grid, rules)
    late: Bools = overdue_at[grid.session_of[slots.ordinal]] <= now.timestamp()
    counted: Bools = late & (classified.state == State.PROVISIONAL)
    return counted


def _due_times(grid: SlotGrid, rules: Rules) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    askable = [(s.regular_close + rules.askable_after).timestamp() for s in grid.sessions]
    overdue = [(s.regular_close + rules.overdue_after).timestamp() for s in grid.sessions]
    return np.array(askable, float), np.array(overdue, float)


def _entry_of(slots: OpenSlots, session: Int64, evidence: Evidence, grid: SlotGrid) -> Int64:
    """Which entry of the evidence speaks of each slot's ticker and session, −1 for none."""
    known = evidence.row * len(grid.sessions) + evidence.session
    order = np.argsort(known)
    wanted = slots.row * len(grid.sessions) + session
    if not len(known):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)
    return np.where(known[order[at]] == wanted, order[at], -1).astype(np.int64)


def _seen_published_beyond(slots: OpenSlots, entry: Int64, evidence: Evidence, grid: SlotGrid) -> Bools:
    result = np.zeros(len(entry), bool)
    known = entry >= 0
    at = entry[known]
    result[known] = evidence.published[at] | (evidence.reached[at] > grid.ends[slots.ordinal[known]])
    return result


def _never_withheld(slots: OpenSlots, evidence: Evidence, grid: SlotGrid) -> Bools:
    """Slots that were never asked for, or that came when they were."""
    withheld = evidence.row[evidence.withheld_entry] * grid.size + evidence.withheld_ordinal
    never: Bools = ~np.isin(slots.row * grid.size + slots.ordinal, withheld)
    return never


def _ladder_says(entry: Int64, evidence: Evidence, rules: Rules, clock: float) -> Bools:
    pauses = np.array(
        [rules.pause_after(asks).total_seconds() for asks in range(1, int(evidence.fruitless.max(initial=1)) + 1)]
    )
    due = np.ones(len(entry), bool)
    known = entry >= 0
    at = entry[known]
    due[known] = evidence.asked_at[at] + pauses[np.maximum(evidence.fruitless[at], 1) - 1] <= clock
    return due
