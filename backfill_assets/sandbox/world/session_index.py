"""The sessions of one of the sandbox's markets, searchable by time and by day."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import lru_cache

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.sessions import Session, find_last_known_day, list_sessions
from backfill_assets.market.exchanges.profile import NO_OVERRIDES, MarketProfile
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE, US, get_profile
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.exchange_hours import HOURS

PREMARKET_SECONDS = 5 * 3600 + 1800  # 04:00 to 09:30 New York time
AFTER_HOURS_SECONDS = 4 * 3600
_AUCTION_SECONDS = 3600  # outside the US there is only the closing auction, within this long after the close
_HISTORY_FROM = date(2018, 1, 2)
LAST_DAY = date(2035, 12, 31)


class SessionIndex:
    """The sessions of ``market`` from ``first`` to ``last``, oldest first.

    Attributes:
        sessions: the sessions.
        before_seconds: from the first possible row of a session to its open.
        after_seconds: from a session's close to its last possible row.
        day_ordinals: their days as proleptic ordinals, shape (sessions,).
        opens: epoch seconds of their opens, shape (sessions,).
        closes: epoch seconds of their closes, shape (sessions,).
    """

    def __init__(self, first: date, last: date = LAST_DAY, market: MarketProfile = US) -> None:
        self.sessions: Sequence[Session] = list_sessions(market, first, last)
        has_extended_hours = market.exchange == DEFAULT_EXCHANGE
        self.before_seconds = PREMARKET_SECONDS if has_extended_hours else 0
        self.after_seconds = AFTER_HOURS_SECONDS if has_extended_hours else _AUCTION_SECONDS
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
        first = np.searchsorted(self.closes + self.after_seconds, start, side="right")
        stop = np.searchsorted(self.opens - self.before_seconds, end, side="right")
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


@lru_cache(maxsize=64)  # two for each exchange
def get_session_index(first: date, last: date = LAST_DAY, market: MarketProfile = US) -> SessionIndex:
    """Get the index, cached: building one takes 0.2 s."""
    return SessionIndex(first, last, market)


def build_market(config: SandboxConfig) -> MarketProfile:
    """The profile of the exchange that a configuration is of, with what its real sessions differ in.

    Where users must give the breaks, they are those that ``/v2/exchange-details`` has.
    """
    market = get_profile(config.exchange)
    if market.needs_breaks:
        market = replace(market, needs_breaks=False, breaks=HOURS[market.calendar].break_times)
    return market if config.overrides is NO_OVERRIDES else replace(market, overrides=config.overrides)


def build_session_index(config: SandboxConfig, market: MarketProfile) -> SessionIndex:
    """The sessions that a configuration's tickers can have."""
    days = [config.history_from, *config.listed.values()]
    first = min(*days, _HISTORY_FROM) if config.exchange == DEFAULT_EXCHANGE else min(days)
    known = find_last_known_day(market, config.history_to)
    return get_session_index(first, min(known or config.history_to, config.history_to), market)
