"""Reads when past sessions came: what is learned of it decides when new ones are requested.

``evidence_writer`` records it, ``market.gaps.publication_habits`` learns from it.
"""

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from backfill_assets.market.arrays import Bools
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session, list_previous_sessions
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.evidence import RequestHistory, look_up
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.publication_habits import HalfHours, PastSessions, PublicationHabits, learn_habits
from backfill_assets.market.gaps.slot_states import OpenSlots
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.postgres.array_reader import read_columns, to_postgres_days, to_unix_seconds
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbol_counts import count_rows

LEARNED_SESSIONS = 20
_SETTLED_AFTER = timedelta(hours=24)  # from the close: then a session says what it says of nearly all symbols
_SELECT_PAST = """
SELECT symbol_id, session_day, unpublished_at, coalesce(published_at, '-infinity') AS published_at
FROM backfill.session_evidence
WHERE session_day = ANY (%(days)s) AND interval_type = %(interval)s AND source_interval = %(source)s
  AND unpublished_at IS NOT NULL AND symbol_id <> ALL (%(others)s::int[])
"""
_PAST_TYPES = {"symbol_id": ">i4", "session_day": ">i4", "unpublished_at": ">i8", "published_at": ">i8"}


def read_habits(
    connection: Connection,
    symbol_index: SymbolIndex,
    grid: SlotGrid,
    source: Interval,
    slots: OpenSlots,
    history: RequestHistory,
    rules: GapRules,
    now: datetime,
) -> PublicationHabits | None:
    """What is learned of publication, if one of ``slots`` waits for it; None: nothing is, or none does."""
    half_hours = HalfHours.build(rules.askable_after.total_seconds(), rules.overdue_after.total_seconds())
    if not _find_waiting(symbol_index.size, grid, slots, history, half_hours, now):
        return None
    newest = grid.sessions[-1]
    sessions = [
        session
        for session in (*list_previous_sessions(newest, LEARNED_SESSIONS), newest)
        if session.regular_close + _SETTLED_AFTER <= now
    ]
    past = _read_past(connection, symbol_index, sessions, grid.interval, source, half_hours)
    return learn_habits(past, symbol_index.size, half_hours)


def _find_waiting(
    symbol_count: int, grid: SlotGrid, slots: OpenSlots, history: RequestHistory, half_hours: HalfHours, now: datetime
) -> bool:
    """Whether a slot waits for a session of which no row came, and which is new enough to be planned."""
    if grid.is_around_the_clock or not symbol_count or not grid.sessions:
        return False
    ages = np.array([(now - session.regular_close).total_seconds() for session in grid.sessions])
    is_new: Bools = (ages >= 0) & (ages <= half_hours.moments[-1])
    if not is_new.any():
        return False
    entry_index = history.build_entry_index(symbol_count, len(grid.sessions))
    is_waiting = ~look_up(history.data_until > 0, entry_index, default=False) & is_new
    return bool(is_waiting[slots.row, grid.session_index[slots.ordinal]].any())


def _read_past(
    connection: Connection,
    symbol_index: SymbolIndex,
    sessions: list[Session],
    interval: Interval,
    source: Interval,
    half_hours: HalfHours,
) -> PastSessions:
    """When each of ``sessions``, ascending, came for each symbol of the exchange; those of the universe come first."""
    days, closes = [s.day for s in sessions], np.array([s.regular_close.timestamp() for s in sessions])
    weekdays = np.array([day.weekday() for day in days], np.int64)
    values: dict[str, Any] = {"days": days, "interval": interval.name, "source": source.name, "others": []}
    if sessions:
        values["others"] = count_rows(connection, sessions[0].exchange)[1]
    found = read_columns(connection, _SELECT_PAST, values, _PAST_TYPES)
    session = np.searchsorted(to_postgres_days(days), found["session_day"])
    row = symbol_index.find_rows(found["symbol_id"])
    row[row < 0] = symbol_index.size + np.unique(found["symbol_id"][row < 0], return_inverse=True)[1]
    after = np.nan_to_num(to_unix_seconds(found["unpublished_at"]), nan=-np.inf) - closes[session]
    until = np.nan_to_num(to_unix_seconds(found["published_at"]), nan=np.inf) - closes[session]
    # what was requested for the first time long after the close says nothing of when it came
    says_something = np.isfinite(after) | (until <= half_hours.overdue)
    past = (row, session, weekdays[session], after, until)
    return PastSessions(*(values[says_something] for values in past))
