"""From when a symbol may be requested, whatever its slots say: a new session, around the clock, or not served. Pure.

Elsewhere a session is published at once and requested when it is likely to be: by what is learned of it
(``ask_plans``), or in rounds (``stragglers``). Around the clock the vendor publishes another slot
every half hour, some hours late. Each symbol is requested every few hours, whichever of its slots are lacking. One of
them, the probe, is requested every half hour and shows how far the vendor's rows reach; ``store.evidence.probe``
chooses it (docs/decisions/0074).
"""

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.ask_plans import ask_by_habit, find_planned
from backfill_assets.market.gaps.evidence import AbsenceEvidence, RequestHistory
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.retry_schedule import PastRequests
from backfill_assets.market.gaps.stragglers import ask_in_rounds, find_stragglers


def ask_new_sessions(
    retry_at: Floats,
    row: Int64,
    session: Int64,
    past: PastRequests,
    evidence: AbsenceEvidence,
    grid: SlotGrid,
    overdue_at: Floats,
    now_epoch: float,
) -> Floats:
    """``retry_at`` (epoch seconds), but by what is learned, or in rounds, for new sessions of which no row came.

    ``row`` and ``session`` are those of each slot, shape (slots,) like the result; ``overdue_at`` has the shape
    (sessions,). Not around the clock.
    """
    if evidence.habits is None:
        return ask_in_rounds(retry_at, row, session, past, evidence, overdue_at, now_epoch)
    return ask_by_habit(retry_at, row, session, past, evidence.habits, grid.sessions, now_epoch)


def find_awaited(
    history: RequestHistory,
    entry_index: Int64,
    evidence: AbsenceEvidence,
    grid: SlotGrid,
    overdue_at: Floats,
    now_epoch: float,
) -> Bools:
    """Which sessions may only be late, shape (symbols, sessions): of which no row came, and that are new enough.

    They are requested by what is learned, or in rounds; ``overdue_at`` has the shape (sessions,).
    """
    if grid.is_around_the_clock:
        return np.zeros(entry_index.shape, bool)
    if evidence.habits is None:
        return find_stragglers(history, entry_index, evidence, overdue_at, now_epoch)
    return find_planned(history, entry_index, evidence.habits, grid.sessions, now_epoch)


def wait_for_turns(
    retry_at: Floats,
    row: Int64,
    is_pending: Bools,
    history: RequestHistory,
    is_recent: Bools,
    rules: GapRules,
    now_epoch: float,
) -> Floats:
    """``retry_at`` (epoch seconds), but not before the turn of each slot's symbol; shape (slots,).

    Pending slots of the probe do not wait for the retry schedule: its rows are looked at again, not a hole among them.
    ``row`` and ``is_pending`` have the same shape; ``is_recent`` is that of ``compute_turns``.
    """
    if history.probe_row is not None:
        retry_at = np.where(is_pending & (row == history.probe_row), -np.inf, retry_at)
    symbol_count = int(max(row.max(initial=-1), history.row.max(initial=-1))) + 1
    waiting: Floats = np.maximum(retry_at, compute_turns(history, is_recent, symbol_count, rules, now_epoch)[row])
    return waiting


def compute_turns(
    history: RequestHistory, is_recent: Bools, symbol_count: int, rules: GapRules, now_epoch: float
) -> Floats:
    """From when each symbol may be requested again: epoch seconds, −∞ if it never was; shape (symbols,).

    Only requests for recent sessions count, those that are not overdue as a whole; ``is_recent`` has the shape
    (sessions,). Each turn is one. A review, or a person's request for older ones, is none: it brings no new slots, and
    they would be overdue before the next turn.
    """
    asked_at = np.full(symbol_count, -np.inf)
    counts = history.requested_at <= now_epoch  # a request in the future comes from a mistaken --as-of
    counts &= is_recent[history.session]
    np.maximum.at(asked_at, history.row[counts], history.requested_at[counts].astype(float))
    delay = np.full(symbol_count, rules.ask_every.total_seconds())
    if history.probe_row is not None and history.probe_row < symbol_count:
        delay[history.probe_row] = rules.probe_every.total_seconds()
    turns: Floats = asked_at + delay
    return turns


def ask_unserved_weekly(
    row: Int64, retry_at: Floats, evidence: AbsenceEvidence, rules: GapRules, now_epoch: float
) -> Floats:
    """``retry_at``, but every slot of a symbol that the vendor does not serve waits a week from its newest request."""
    if not len(evidence.unserved_asked_at):
        return retry_at
    asked_at = evidence.unserved_asked_at[row]
    # A request in the future comes from a mistaken --as-of. No slot waits for it.
    weekly_at = np.where(asked_at <= now_epoch, asked_at + rules.retry_schedule.weekly_delay.total_seconds(), -np.inf)
    return np.where(np.isnan(asked_at), retry_at, weekly_at)
