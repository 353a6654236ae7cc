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
from backfill_assets.market.gaps.evidence import AbsenceEvidence, RequestHistory
from backfill_assets.market.gaps.retry_schedule import (
    RetrySchedule,
    adjust_no_new_data_since,
    compute_next_request_at,
    compute_seconds_without_data,
)

Int64 = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class SlotState(IntEnum):
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
class GapRules:
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
    thin_min_sessions: int = 5
    thin_min_share: float = 0.3
    retry_schedule: RetrySchedule = field(default_factory=RetrySchedule)


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
    stored_state: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class SlotStates:
    """The state of each open slot, and when a request may bring it.

    Attributes:
        state: a ``State`` each.
        late: whether its absence counts (overdue): for ``PROVISIONAL`` ones, which have a bar.
        gap: whether a request could improve it now.
        ask_at: epoch seconds from when it is to be asked (again); infinite where no request helps.
        due: whether that time has come.
    """

    state: NDArray[np.int8]
    overdue: Bools
    gap: Bools
    next_request_at: Floats
    due: Bools


def classify_slots(
    slots: OpenSlots, history: RequestHistory, evidence: AbsenceEvidence, grid: SlotGrid, rules: GapRules, now: datetime
) -> SlotStates:
    """Derive the state of every open slot; the one place where this is decided."""
    now_epoch = now.timestamp()
    session = grid.session_index[slots.ordinal]
    entry_index = history.build_entry_index(len(evidence.published_sessions), len(grid.sessions))
    history = replace(history, no_new_data_since=adjust_no_new_data_since(history, entry_index))
    entry = entry_index[slots.row, session]
    not_returned = _is_not_returned(slots, history, grid)
    published_beyond = _is_published_beyond(slots, entry, history, grid)
    overdue = (_compute_overdue_at(evidence, grid, rules)[session] <= now_epoch) | published_beyond
    is_past_request = np.append(
        history.requested_at <= now_epoch, False
    )  # an ask in the future is a mistaken --as-of: nobody waits for it
    past_entry = np.where(is_past_request[entry], entry, -1)
    counting_starts_at = _compute_counting_start(evidence, grid, rules, now_epoch)

    state = np.where(overdue, SlotState.MISSING, SlotState.PENDING).astype(np.int8)
    is_vendor_gap = not_returned & (past_entry >= 0)
    seconds_without_data = compute_seconds_without_data(
        past_entry[is_vendor_gap], session[is_vendor_gap], history, counting_starts_at
    )
    is_vendor_gap[is_vendor_gap] = seconds_without_data >= rules.retry_schedule.vendor_gap_after.total_seconds()
    state[is_vendor_gap] = SlotState.VENDOR_GAP
    is_thin = _is_thin(slots, entry, history, evidence, rules)
    state[not_returned & published_beyond & is_thin] = SlotState.NO_TRADE
    state[(evidence.traded[slots.row, session] == 0) | evidence.closed[session]] = SlotState.NO_TRADE
    has_bar = slots.stored_state != SlotState.MISSING
    state[has_bar] = slots.stored_state[has_bar]
    state[(slots.stored_state == SlotState.SUSPECT) & is_thin] = (
        SlotState.PRESENT
    )  # few rows are usual for a thin ticker

    askable_at = np.array([(s.regular_close + rules.askable_after).timestamp() for s in grid.sessions], float)
    is_suspect = state == SlotState.SUSPECT
    past_entry_index = np.where(is_past_request[entry_index], entry_index, -1)
    retry_at = compute_next_request_at(
        slots.row,
        session,
        past_entry,
        not_returned,
        is_suspect,
        history,
        past_entry_index,
        counting_starts_at,
        rules.retry_schedule,
    )
    next_request_at = np.maximum(askable_at[session], retry_at)
    is_settled = (state == SlotState.NO_TRADE) | (state == SlotState.PRESENT)
    next_request_at[is_settled] = np.inf
    is_gap = (askable_at[session] <= now_epoch) & ~is_settled
    is_suspect_not_due = (state == SlotState.SUSPECT) & (next_request_at > now_epoch)
    return SlotStates(
        state, overdue, is_gap & ~is_suspect_not_due, next_request_at, is_gap & (next_request_at <= now_epoch)
    )


def _compute_overdue_at(evidence: AbsenceEvidence, grid: SlotGrid, rules: GapRules) -> Floats:
    latest = np.array([(s.regular_close + rules.overdue_after).timestamp() for s in grid.sessions], float)
    sooner: Floats = np.fmin(latest, evidence.half_published_at + rules.overdue_after_half.total_seconds())
    return sooner


def _compute_counting_start(evidence: AbsenceEvidence, grid: SlotGrid, rules: GapRules, now_epoch: float) -> Floats:
    """From when asking in vain counts: at first sight of the session, and not at all while it is fresh and unseen."""
    is_fresh = [now_epoch < (s.regular_close + rules.overdue_after).timestamp() for s in grid.sessions]
    start_if_unpublished = np.where(is_fresh, np.inf, -np.inf)
    counting_starts_at: Floats = np.where(
        np.isnan(evidence.first_published_at), start_if_unpublished, evidence.first_published_at
    )
    return counting_starts_at


def _is_published_beyond(slots: OpenSlots, entry: Int64, history: RequestHistory, grid: SlotGrid) -> Bools:
    """Whether this ticker's own session was already seen published beyond the slot."""
    result = np.zeros(len(entry), bool)
    has_entry = entry >= 0
    known_entry = entry[has_entry]
    result[has_entry] = history.published[known_entry] | (
        history.data_until[known_entry] > grid.ends[slots.ordinal[has_entry]]
    )
    return result


def _is_not_returned(slots: OpenSlots, history: RequestHistory, grid: SlotGrid) -> Bools:
    """Slots that were asked for and did not come; one that came and is gone is not among them."""
    not_returned_keys = history.row[history.not_returned_entry] * grid.size + history.not_returned_ordinal
    return np.isin(slots.row * grid.size + slots.ordinal, not_returned_keys)


def _is_thin(
    slots: OpenSlots, entry: Int64, history: RequestHistory, evidence: AbsenceEvidence, rules: GapRules
) -> Bools:
    """Whether the ticker often skips slots: its other published sessions say so (decision 7)."""
    is_incomplete = np.zeros(len(history.row), bool)
    is_incomplete[history.not_returned_entry] = True
    published = np.append(history.published, False)
    other_sessions = evidence.published_sessions[slots.row] - published[entry]
    incomplete_sessions = evidence.incomplete_sessions[slots.row] - (published & np.append(is_incomplete, False))[entry]
    thin: Bools = (other_sessions >= rules.thin_min_sessions) & (
        incomplete_sessions >= rules.thin_min_share * other_sessions
    )
    return thin
