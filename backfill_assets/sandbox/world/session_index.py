"""The sessions of the sandbox's market, searchable by time and by day."""

from collections.abc import Sequence
from datetime import date
from functools import lru_cache

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.sessions import Session, list_sessions

PREMARKET_SECONDS = 5 * 3600 + 1800  # 04:00 to 09:30 New York time
AFTER_HOURS_SECONDS = 4 * 3600
LAST_DAY = date(2035, 12, 31)


class SessionIndex:
    """The US sessions from ``first`` to ``last``, oldest first.

    Attributes:
        sessions: the sessions.
        day_ordinals: their days as proleptic ordinals, shape (sessions,).
        opens: epoch seconds of their opens, shape (sessions,).
        closes: epoch seconds of their closes, shape (sessions,).
    """

    def __init__(self, first: date, last: date = LAST_DAY) -> None:
        self.sessions: Sequence[Session] = list_sessions("US", first, last)
        self.day_ordinals: Int64 = np.array([s.day.toordinal() for s in self.sessions], np.int64)
        self.opens: Int64 = np.array([int(s.open.timestamp()) for s in self.sessions], np.int64)
        self.closes: Int64 = np.array([int(s.close.timestamp()) for s in self.sessions], np.int64)
        self._position_by_day = {s.day: i for i, s in enumerate(self.sessions)}

    def find_session(self, day: date) -> Session | None:
        """Find the session of ``day``; None on a day without one."""
        index = self._position_by_day.get(day)
        return None if index is None else self.sessions[index]

    def slice_overlapping(self, start: int, end: int) -> slice:
        """Find the sessions that overlap ``[start, end]`` (epoch seconds), extended hours included."""
        first = np.searchsorted(self.closes + AFTER_HOURS_SECONDS, start, side="right")
        stop = np.searchsorted(self.opens - PREMARKET_SECONDS, end, side="right")
        return slice(int(first), int(stop))

    def slice_days(self, first: date, last: date) -> slice:
        """Find the sessions from ``first`` to ``last``, both inclusive."""
        begin = np.searchsorted(self.day_ordinals, first.toordinal())
        return slice(int(begin), int(np.searchsorted(self.day_ordinals, last.toordinal(), side="right")))

    def find_last_opened(self, moment: float) -> int:
        """Find the index of the last session that opened by ``moment`` (epoch seconds); −1 before the first."""
        return int(np.searchsorted(self.opens, moment, side="right")) - 1

    def find_last_closed(self, moment: float) -> int:
        """Find the index of the last session that closed by ``moment`` (epoch seconds); −1 before the first."""
        return int(np.searchsorted(self.closes, moment, side="right")) - 1

    def find_earlier(self, session: Session, count: int) -> Session | None:
        """Find the session ``count`` sessions before ``session``; None before the first."""
        position = self._position_by_day[session.day] - count
        return self.sessions[position] if position >= 0 else None

    def find_later(self, session: Session, count: int) -> Session:
        """Find the session that follows ``count`` sessions after ``session``; at most the last one."""
        position = self._position_by_day[session.day] + count
        return self.sessions[min(position, len(self.sessions) - 1)]


@lru_cache(maxsize=4)
def get_session_index(first: date) -> SessionIndex:
    """Get the index from ``first``, cached: building one takes 0.2 s."""
    return SessionIndex(first)
