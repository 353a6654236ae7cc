"""Symbols that were requested in vain after others were seen published, while nothing is learned of them. Pure.

They are requested in rounds: every hour until half of the universe was seen published, an hour after that, then every
three hours until a day after the session was overdue. A round begins with few of them and goes on while half of those
come (``backfill.probing``), so that the whole tail is not requested in vain again and again; twelve hours after the
first of them was requested last, all of them are (docs/decisions/0088). Fewer than five late symbols, and symbols that
lack older sessions as well, stay on the retry schedule.
"""

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.gaps.evidence import NO_ENTRY, AbsenceEvidence, RequestHistory, look_up
from backfill_assets.market.gaps.retry_schedule import PastRequests

_HOUR = 3600.0
FIRST_STEP, STEP, LONGEST_WAIT = 1 * _HOUR, 3 * _HOUR, 12 * _HOUR
_ROUNDS_AFTER_OVERDUE = 24 * _HOUR
_MAX_SESSIONS_WITHOUT_DATA = 2
_MIN_LATE_SYMBOLS = 5


def find_stragglers(
    history: RequestHistory, entry_index: Int64, evidence: AbsenceEvidence, overdue_at: Floats, now_epoch: float
) -> Bools:
    """Which symbols are stragglers of which sessions, shape (symbols, sessions).

    There are none before the session was seen published; ``overdue_at`` is when absence counts at the latest, epoch
    seconds, shape (sessions,).
    """
    has_data = look_up(history.data_until > 0, entry_index, default=False)
    session = np.arange(entry_index.shape[1])
    newest_with_data = np.where(has_data, session, -1).max(axis=1, initial=-1)[:, None]
    requested_at = look_up(history.requested_at, entry_index, default=0)
    is_straggler: Bools = (entry_index != NO_ENTRY) & ~has_data
    # NaN, for not seen published, compares as False
    is_straggler &= (requested_at >= evidence.first_published_at) & (requested_at <= now_epoch)
    is_straggler &= now_epoch < overdue_at + _ROUNDS_AFTER_OVERDUE
    is_straggler &= (session > newest_with_data) & (session <= newest_with_data + _MAX_SESSIONS_WITHOUT_DATA)
    came_late = look_up(history.published_at, entry_index, default=np.nan) > evidence.half_published_at
    is_straggler &= (is_straggler | came_late).sum(axis=0) >= _MIN_LATE_SYMBOLS
    return is_straggler


def ask_in_rounds(
    request_at: Floats,
    row: Int64,
    session: Int64,
    past: PastRequests,
    evidence: AbsenceEvidence,
    overdue_at: Floats,
    now_epoch: float,
) -> Floats:
    """``request_at`` (epoch seconds), but in rounds where the symbol is a straggler; shape (slots,).

    The next round follows the last request in vain for any of them. ``row`` and ``session`` have the same shape.
    """
    is_straggler = find_stragglers(past.history, past.entry_index, evidence, overdue_at, now_epoch)
    if not is_straggler.any():
        return request_at
    requested_at = look_up(past.history.requested_at, past.entry_index, default=0).astype(float)
    newest = np.where(is_straggler, requested_at, -np.inf).max(axis=0)
    is_first = newest < np.fmin(evidence.half_published_at, overdue_at) + FIRST_STEP
    round_at = newest + np.where(is_first, FIRST_STEP, STEP)
    round_at = np.minimum(round_at, find_last_moments(is_straggler, requested_at))
    asked: Floats = np.where(is_straggler[row, session], round_at[session], request_at)
    return asked


def find_last_moments(is_straggler: Bools, requested_at: Floats) -> Floats:
    """When all stragglers of a session are requested, epoch seconds, ∞ without any; shape (sessions,)."""
    last: Floats = np.where(is_straggler, requested_at, np.inf).min(axis=0, initial=np.inf) + LONGEST_WAIT
    return last
