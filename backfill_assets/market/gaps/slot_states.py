"""The state of every slot, and when a request may improve it. All states are decided here.

Pure: what is stored and what is known about absent bars come in as arrays, the clock as ``now``. ``store.coverage``
reads those arrays from Postgres, ``backfill.planner`` turns the states into requests.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int8, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.timestamps import DAY_SECONDS
from backfill_assets.market.gaps.ask_times import ask_new_sessions, ask_unserved_weekly, wait_for_turns
from backfill_assets.market.gaps.evidence import NO_ENTRY, AbsenceEvidence, RequestHistory, look_up
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.halts import FINAL_AFTER
from backfill_assets.market.gaps.retry_schedule import PastRequests, compute_retries, select_past_requests
from backfill_assets.market.gaps.thin_symbols import is_thin, is_usual


class SlotState(IntEnum):
    """The state of a slot, exactly one of these (docs/glossary.md, "state of a slot").

    ``PRESENT`` and ``UNVERIFIED`` slots have a trusted final bar, which this package or another program wrote. All
    others are *open*: without a bar, or with one that is provisional or suspect.
    """

    PRESENT = 0
    PROVISIONAL = 1
    UNVERIFIED = 2
    SUSPECT = 3
    PENDING = 4
    MISSING = 5
    NO_TRADE = 6
    VENDOR_GAP = 7


# No bar is stored.
ABSENT_STATES = (SlotState.PENDING, SlotState.MISSING, SlotState.NO_TRADE, SlotState.VENDOR_GAP)
# A bar is stored, trusted or not.
STORED_STATES = tuple(state for state in SlotState if state not in ABSENT_STATES)
# No final bar is stored, and no trade is not proven. A session without such slots is settled.
UNSETTLED_STATES = (SlotState.PENDING, SlotState.MISSING, SlotState.VENDOR_GAP, SlotState.PROVISIONAL)
# A request could improve the slot: it is unsettled, or its bar is suspect.
IMPROVABLE_STATES = (*UNSETTLED_STATES, SlotState.SUSPECT)


@dataclass(frozen=True, eq=False)
class OpenSlots:
    """Slots without a trusted final bar, as parallel arrays of the shape (slots,).

    Attributes:
        row: the symbol's position in the universe looked at.
        ordinal: the slot in the grid.
        stored_state: what is stored there: ``PROVISIONAL`` or ``SUSPECT`` for such a bar, ``MISSING`` for no bar.
        is_unexcused: whether what is wrong with the slot is usual for no symbol: one of its source rows was rejected
            (its bar is suspect for that, or it has no bar although the row shows a trade), or its bar is in doubt.
            None: no slot.
        recheck: how often a suspect bar is requested again, a ``Recheck`` each. None: all by the number of requests.
    """

    row: Int64
    ordinal: Int64
    stored_state: Int8
    is_unexcused: Bools | None = None
    recheck: Int8 | None = None


@dataclass(frozen=True, eq=False)
class SlotStates:
    """The state of each open slot, and when a request may improve it; every array has the shape (slots,).

    Attributes:
        state: a ``SlotState`` each. A suspect bar that lacks what is usual for its symbol is ``PRESENT``.
        overdue: whether a final bar should be there by now; for a provisional bar this makes it count as missing.
        gap: whether a request could improve the slot now.
        next_request_at: epoch seconds from when it is to be requested (again); ∞ where no request helps.
        due: whether it is a gap and that time has come.
    """

    state: Int8
    overdue: Bools
    gap: Bools
    next_request_at: Floats
    due: Bools


@dataclass(frozen=True, eq=False)
class _SlotEvidence:
    """What is known of each open slot; every array has the shape (slots,)."""

    session: Int64
    not_returned: Bools  # the newest response that covered it did not hold it
    published_beyond: Bools  # the symbol's own session was seen published beyond it
    is_habit: Bools  # the symbol often skips this very slot, and it lacks only what such a symbol lacks
    is_hole: Bools  # none of many tickers has the slot
    untraded: Bools  # the daily data show that nothing traded and no bar disproves it, or the market was closed
    halt: Int64  # the position in ``AbsenceEvidence.halts``, NO_ENTRY for a slot that is none
    refused: Bools  # the vendor returned a bar, and the table refused it


def classify_slots(
    slots: OpenSlots, history: RequestHistory, evidence: AbsenceEvidence, grid: SlotGrid, rules: GapRules, now: datetime
) -> SlotStates:
    """Derive the state of every open slot as of ``now``, and when to request it again.

    Example, with the usual rules (askable 3 h and overdue 16 h after the regular close) and times of New York: AAPL
    has no bar for 12:00 on Monday, 2026-06-01, a session that closes at 16:00. AAPL is not thin.

    - Until the first request the slot is pending. At 19:00 the session becomes askable: the slot is a gap, and due.
    - First request, Monday 19:00: every bar comes but this one. Because the vendor's rows reach beyond the slot, it is
      overdue at once, and missing; without any rows it would stay pending until Tuesday 08:00, 16 h after the close.
      New data came just now, so the next request is due after 1 h, at 20:00.
    - Second request, 20:00: nothing new. Requests have returned no new data for 1 h, so the next delay is 3 h.
    - Third request, 23:00: nothing new for 4 h, so the next delay is 6 h, until Tuesday 05:00.
    - And so on. The first request after 11 days and 22 h without new data makes the slot a vendor gap, which is
      requested weekly. Daily data without volume for Monday would make it no trade, which is not requested again.
    """
    now_epoch = now.timestamp()
    latest_overdue_at = _to_epochs(rules.compute_overdue_at(s) for s in grid.sessions)
    entry_index = history.build_entry_index(len(evidence.published_sessions), len(grid.sessions))
    known = _collect_evidence(slots, history, entry_index, evidence, grid, rules)
    overdue_at = _bring_forward_overdue(latest_overdue_at, evidence, grid, rules)
    # A final bar should be there: the symbol has later rows, or the time allowed for publication has passed.
    slot_overdue_at = np.minimum(rules.compute_slot_overdue_at(grid)[slots.ordinal], overdue_at[known.session])
    overdue = known.published_beyond | (slot_overdue_at <= now_epoch)
    # A stored bar lacks source rows, one was rejected, or it is in doubt; absent rows may be usual for the symbol.
    suspect = (slots.stored_state == SlotState.SUSPECT) & ~known.is_habit
    counting_starts_at = _compute_counting_start(latest_overdue_at, evidence, now_epoch)
    past = select_past_requests(history, entry_index, counting_starts_at, now_epoch)
    unfilled = known.not_returned | known.refused
    recheck = np.zeros(len(slots.row), np.int8) if slots.recheck is None else slots.recheck
    askable_at = rules.compute_slot_askable_at(grid)[slots.ordinal]
    delayed_from = askable_at if grid.is_around_the_clock else None  # elsewhere all of a session is askable at once
    retries = compute_retries(
        slots.row, known.session, unfilled, suspect, recheck, past, rules.retry_schedule, delayed_from
    )
    # Requests have returned no new data for so long that the vendor is taken not to have the bar.
    is_vendor_gap = retries.seconds_without_data >= rules.retry_schedule.vendor_gap_after.total_seconds()
    # A slot that nobody has may be none of the calendar: it is not said of the vendor either.
    is_vendor_gap &= ~known.is_hole
    # The vendor does not serve the symbol at all: its absent bars are no alarm of their own.
    is_unserved = evidence.is_unserved[slots.row]
    is_vendor_gap |= is_unserved & overdue
    overdue &= ~is_unserved
    state = _decide_states(slots.stored_state, known, overdue, is_vendor_gap)
    retry_at = retries.next_request_at
    if not grid.is_around_the_clock:
        ask_at = ask_new_sessions(
            retry_at, slots.row, known.session, past, evidence, grid, latest_overdue_at, now_epoch
        )
        retry_at = np.where(slots.stored_state == SlotState.SUSPECT, retry_at, ask_at)
    retry_at = ask_unserved_weekly(slots.row, retry_at, evidence, rules, now_epoch)
    if grid.is_around_the_clock:  # another slot is askable every half hour, and each request costs the same
        is_pending = state == SlotState.PENDING
        is_recent = latest_overdue_at > now_epoch
        retry_at = wait_for_turns(retry_at, slots.row, is_pending, history, is_recent, rules, now_epoch)
    # A request could change the state, now or later: every state but present, unverified and no trade.
    is_improvable = np.isin(state, IMPROVABLE_STATES)
    # Not before the session is askable, nor before the retry schedule allows it.
    next_request_at = np.where(is_improvable, np.maximum(askable_at, retry_at), np.inf)
    # A halt is no trade at once, and asked again all the same until it is final.
    is_halt = (state == SlotState.NO_TRADE) & (known.halt != NO_ENTRY)
    next_request_at[is_halt] = _ask_halts_again(slots, known, past, evidence)[is_halt]
    # The time of the next request has come; never for slots that no request improves.
    due = next_request_at <= now_epoch
    # An absent or provisional slot is a gap while its next request is pending; a suspect bar only when that is due.
    gap = due | (is_improvable & ~suspect & (askable_at <= now_epoch))
    return SlotStates(state, overdue, gap, next_request_at, due)


def classify_trusted_bar(source: str | None) -> SlotState:
    """The state of a slot with a trusted final bar: unverified if another program wrote it, so without a source."""
    return SlotState.UNVERIFIED if source is None else SlotState.PRESENT


def count_states(slots: OpenSlots, slot_states: SlotStates, expected: Int64, external: Int64) -> Int64:
    """Expected slots per symbol and ``SlotState``, shape (symbols, states).

    ``expected`` and ``external`` have the shape (symbols,): slots within the listing life, and slots of the whole grid
    with a bar that another program wrote. Those become unverified, as far as slots without another state remain.
    """
    counts = np.zeros((len(expected), len(SlotState)), np.int64)
    np.add.at(counts, (slots.row, slot_states.state), 1)
    counts[:, SlotState.PRESENT] = 0  # the rest, below; it includes suspect bars that lack what is usual
    counts[:, SlotState.UNVERIFIED] = np.minimum(external, expected - counts.sum(axis=1))
    counts[:, SlotState.PRESENT] = expected - counts.sum(axis=1)
    return counts


def _to_epochs(moments: Iterable[datetime]) -> Floats:
    return np.array([moment.timestamp() for moment in moments], float)


def _collect_evidence(
    slots: OpenSlots,
    history: RequestHistory,
    entry_index: Int64,
    evidence: AbsenceEvidence,
    grid: SlotGrid,
    rules: GapRules,
) -> _SlotEvidence:
    session = grid.session_index[slots.ordinal]
    entry = entry_index[slots.row, session]
    key = grid.get_slot_keys(slots.row, slots.ordinal)
    is_hole = np.isin(slots.ordinal, evidence.holes)
    has_bar = slots.stored_state != SlotState.MISSING
    is_habit = evidence.judges_by_habit & is_thin(slots.row, entry, history, evidence, rules) & ~is_hole
    is_habit &= is_usual(slots.row, slots.ordinal, has_bar, grid, evidence.slot_baseline, rules)
    return _SlotEvidence(
        session=session,
        not_returned=_is_not_returned(slots, history, grid),
        published_beyond=look_up(history.published, entry, default=False)
        | (look_up(history.data_until, entry, default=0) > grid.ends[slots.ordinal]),
        is_habit=is_habit if slots.is_unexcused is None else is_habit & ~slots.is_unexcused,
        is_hole=is_hole,
        untraded=(evidence.is_untraded[slots.row, session] & ~_has_bar(slots, session, entry_index.shape, grid))
        | evidence.closed[session],
        halt=evidence.halts.find(key),
        refused=np.isin(key, evidence.refused),
    )


def _has_bar(slots: OpenSlots, session: Int64, shape: tuple[int, ...], grid: SlotGrid) -> Bools:
    """Whether a bar of the symbol is stored in the session of each open slot; ``shape`` is (symbols, sessions)."""
    cell = slots.row * shape[1] + session
    absent_counts = np.bincount(cell[slots.stored_state == SlotState.MISSING], minlength=shape[0] * shape[1])
    has_bar: Bools = absent_counts[cell] < grid.session_sizes[session]
    return has_bar


def _decide_states(stored_state: Int8, known: _SlotEvidence, overdue: Bools, is_vendor_gap: Bools) -> Int8:
    # Later lines win. Without any other evidence, an overdue slot is missing and the rest is pending.
    state = np.where(overdue, SlotState.MISSING, SlotState.PENDING).astype(np.int8)
    # Requests have returned no new data for long enough.
    state[is_vendor_gap] = SlotState.VENDOR_GAP
    # A thin symbol skipped the slot, as often: its session was published beyond it, and the response did not hold it.
    state[known.not_returned & known.published_beyond & known.is_habit] = SlotState.NO_TRADE
    # The vendor's daily data prove that nothing traded.
    state[known.untraded] = SlotState.NO_TRADE
    # Both feeds have rows on both sides of the slot and none inside.
    state[known.halt != NO_ENTRY] = SlotState.NO_TRADE
    # The bar exists, whatever the daily data say, and no request to the vendor brings it into the table.
    state[known.refused] = SlotState.MISSING
    # A stored bar takes precedence over evidence of absence.
    has_bar = stored_state != SlotState.MISSING
    state[has_bar] = stored_state[has_bar]
    # Absent source rows are usual for the symbol in this slot: its bar is not suspect.
    state[(stored_state == SlotState.SUSPECT) & known.is_habit] = SlotState.PRESENT
    return state


def _ask_halts_again(slots: OpenSlots, known: _SlotEvidence, past: PastRequests, evidence: AbsenceEvidence) -> Floats:
    """When halts are requested again (epoch seconds, ∞ for other slots); shape (slots,).

    Both feeds are asked in one run. If only the first could be, a day passes before it is asked once more, for as long
    as a halt takes to become final: then the other feed has no calls, and the first one has said often enough.
    """
    next_at = look_up(evidence.halts.next_request_at, known.halt, default=np.inf)
    requested_at = look_up(past.history.requested_at, past.entry_index[slots.row, known.session], default=0)
    again_at = np.where(requested_at - next_at < FINAL_AFTER.total_seconds(), requested_at + DAY_SECONDS, np.inf)
    postponed: Floats = np.where(requested_at >= next_at, again_at, next_at)
    return postponed


def _bring_forward_overdue(
    latest_overdue_at: Floats, evidence: AbsenceEvidence, grid: SlotGrid, rules: GapRules
) -> Floats:
    """From when absence counts (epoch seconds): sooner if half of the universe was seen published; (sessions,).

    Not around the clock: there the vendor's rows of each symbol end elsewhere, and a session is published bit by bit.
    """
    if grid.is_around_the_clock:
        return latest_overdue_at
    after_half = evidence.half_published_at + rules.overdue_after_half.total_seconds()
    sooner: Floats = np.fmin(latest_overdue_at, after_half)  # fmin ignores the NaN of a session not seen published
    return sooner


def _compute_counting_start(latest_overdue_at: Floats, evidence: AbsenceEvidence, now_epoch: float) -> Floats:
    """From when time without new data counts (see ``PastRequests``), shape (sessions,).

    It counts from when the session was first seen published for any symbol. If it never was, time counts from the
    first request once the session is overdue, and before that not at all.
    """
    start_if_unpublished = np.where(now_epoch < latest_overdue_at, np.inf, -np.inf)
    never_published = np.isnan(evidence.first_published_at)
    starts: Floats = np.where(never_published, start_if_unpublished, evidence.first_published_at)
    return starts


def _is_not_returned(slots: OpenSlots, history: RequestHistory, grid: SlotGrid) -> Bools:
    """Whether a slot was requested and not returned. A slot that was returned once and is gone since is not."""
    not_returned_keys = grid.get_slot_keys(history.row[history.not_returned_entry], history.not_returned_ordinal)
    return np.isin(grid.get_slot_keys(slots.row, slots.ordinal), not_returned_keys)
