"""Which older sessions of each symbol are watched: those that were partitions, and those filled or given up since.

Older sessions are healed though they are no partitions (``backfill.older_sessions``). A session that
BACKFILL_HEAL_SESSIONS adds is not watched at first: it is filled with calls that are left over, and no alert and no
figure of the status counts what it lacks. It is watched once each of its slots has a final bar, is explained or was
given up, and all later sessions are watched too. So a symbol needs one day, from which on its sessions are watched,
also when the setting grows, shrinks and grows again. Which slots are missing is decided in ``market.gaps``.
"""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import date

import numpy as np

from backfill_assets.backfill.engine import Engine
from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.store.watched_sessions import WatchedFrom, read_watched, write_watched

_OPEN_STATES = (SlotState.PENDING, SlotState.MISSING, SlotState.PROVISIONAL)  # neither filled nor given up


def record_watched(engine: Engine, coverage: Coverage, next_session: Session) -> Int64:
    """Record from which session on each symbol is watched, and what the watched ones lack; only changes are written.

    Args:
        engine: the parts to work with.
        coverage: of older sessions up to the last one that is no partition, measured now.
        next_session: the first session after them; a symbol seen for the first time is watched from there on.

    Returns:
        The first watched session of each symbol, a position in the coverage's sessions; their number where none of
        them is watched. Shape (symbols,).
    """
    days = [session.day for session in coverage.grid.sessions]
    with engine.database.transaction() as connection:
        ids = [symbol.symbol_id for symbol in coverage.symbols]
        stored = read_watched(connection, ids, coverage.grid.interval)
        known = np.array([bisect_left(days, stored[i].day) if i in stored else len(days) for i in ids], np.int64)
        open_slots = coverage.count_by_session(coverage.has_state(*_OPEN_STATES))
        first = _find_first_watched(open_slots, known)
        is_watched = np.arange(len(days)) >= first[:, None]
        lacking = coverage.has_state(SlotState.MISSING) | (
            coverage.has_state(SlotState.PROVISIONAL) & coverage.slot_states.overdue
        )
        missing = np.where(is_watched, coverage.count_by_session(lacking), 0).sum(axis=1)
        bounds = [*days, next_session.day]
        watched = {
            symbol_id: WatchedFrom(bounds[position], count)
            for symbol_id, position, count in zip(ids, first.tolist(), missing.tolist(), strict=True)
        }
        changed = {i: one for i, one in watched.items() if i not in stored or _is_changed(stored[i], one)}
        write_watched(connection, coverage.grid.interval, changed)
    return first


def find_common_day(engine: Engine, symbols: Sequence[Symbol], interval: Interval) -> date | None:
    """The day from which on the sessions of all these symbols are watched; None if one was not looked at yet."""
    with engine.database.transaction() as connection:
        watched = read_watched(connection, [symbol.symbol_id for symbol in symbols], interval)
    return max((one.day for one in watched.values()), default=None) if len(watched) == len(symbols) else None


def _find_first_watched(open_slots: Int64, known: Int64) -> Int64:
    """The session after the newest one that is open and was not watched yet; shape (symbols,)."""
    sessions = np.arange(1, open_slots.shape[1] + 1)
    is_barrier = (open_slots > 0) & (sessions <= known[:, None])
    first: Int64 = np.where(is_barrier, sessions, 0).max(axis=1, initial=0)
    return first


def _is_changed(old: WatchedFrom, new: WatchedFrom) -> bool:
    """Whether a row has to be written; a day before the sessions that are looked at stays."""
    return new.day < old.day or new.missing != old.missing
