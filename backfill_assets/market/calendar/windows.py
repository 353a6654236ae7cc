"""Windows: the sessions that a report or a run looks at.

A window holds whole sessions, and none that has not opened. The clock is an argument.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.sessions import (
    EARLIEST_DATE,
    Session,
    find_last_known_day,
    limit_to_calendar,
    list_overlapping_sessions,
    list_sessions,
)
from backfill_assets.market.exchanges.profile import MarketProfile

DEFAULT_HOURS = 48.0
MIN_ASKABLE_SESSIONS = 2
MAX_PARTITIONS = 100_000  # symbols × days of one asset, Dagster's recommended limit
_LONGEST_CLOSURE = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Window:
    """Sessions of one exchange, oldest first, and a description of how they were chosen."""

    market: MarketProfile
    sessions: tuple[Session, ...]
    description: str


def build_hours_window(
    market: MarketProfile,
    now: datetime,
    hours: float,
    askable_at: Callable[[Session], datetime],
) -> Window:
    """Every session that overlaps the past ``hours``.

    The default of 48 h is extended back until it holds two askable sessions, so that on a Monday morning the window
    holds Thursday and Friday instead of an empty weekend. ``askable_at`` returns from when a session is askable. A
    market that never closes needs no extension: its window is the sessions that overlap the 48 h.

    Raises:
        UsageError: ``hours`` is not positive, or longer than ten years.
    """
    if not 0 < hours <= 24 * 3660:
        raise UsageError(f"--hours-back must lie between 0 and {24 * 3660}, not {hours:g}")
    description = f"the past {hours:g} h"
    start = now - timedelta(hours=hours)
    sessions = _list_sessions_with_data(market, start, now)
    if hours == DEFAULT_HOURS and not market.is_around_the_clock:
        recent = _list_sessions_with_data(market, start - _LONGEST_CLOSURE, now)
        askable_sessions = [s for s in recent if askable_at(s) <= now]
        if len(askable_sessions) >= MIN_ASKABLE_SESSIONS:
            first_day = min(askable_sessions[-MIN_ASKABLE_SESSIONS].day, *(s.day for s in sessions), date.max)
            sessions = tuple(s for s in recent if s.day >= first_day)
    return Window(market, sessions, description)


def build_date_window(market: MarketProfile, first: date, last: date, now: datetime) -> Window:
    """Every session from ``first`` to ``last``, both inclusive, that has opened by ``now``.

    Raises:
        UsageError: the range is reversed, or begins before the vendor's first data.
    """
    if first > last:
        raise UsageError(f"--start {first} is after --end {last}; give the earlier date first")
    first_data = market.data_from or EARLIEST_DATE
    if first < first_data:
        of_market = "" if market.data_from is None else f" of {market.exchange}"
        raise UsageError(f"--start {first} is before the vendor's first data{of_market}, {first_data}")
    last_possible_day = limit_to_calendar(market, min(last, now.date() + timedelta(days=1)), now)
    sessions = list_sessions(market, first, last_possible_day)
    return Window(market, tuple(s for s in sessions if s.open <= now), f"{first} to {last}")


def limit_partition_sessions(requested_sessions: int, symbol_count: int) -> int:
    """How many sessions become partitions: those requested, or as many as ``MAX_PARTITIONS`` allows for the symbols."""
    return max(1, min(requested_sessions, MAX_PARTITIONS // max(1, symbol_count)))


def count_healed_sessions(heal_sessions: int | None, partition_sessions: int) -> int:
    """How many sessions are healed, that is, their gaps are filled by themselves; None: as many as are partitions."""
    return partition_sessions if heal_sessions is None else heal_sessions


def build_session_window(market: MarketProfile, now: datetime, count: int) -> Window:
    """The last ``count`` sessions that have opened by ``now``."""
    lookback = timedelta(days=2 * count) + _LONGEST_CLOSURE
    sessions = _list_sessions_with_data(market, now - lookback, now)
    return Window(market, sessions[-count:], f"the last {count} sessions")


def list_newest_known_sessions(market: MarketProfile, now: datetime, count: int) -> tuple[Session, ...]:
    """The last ``count`` sessions that have opened, at least one: what can be said of an exchange at any moment.

    They are those of ``build_session_window`` but in two cases. After the end of the calendar they are the last that it
    knows. Before the vendor's first data there is one without data. For definitions of several exchanges, of which
    those of the others must not fail with one.
    """
    end = find_last_known_day(market, now.astimezone(market.zone).date())
    moment = now if end is None else min(now, datetime.combine(end, time.max, market.zone))
    if window := build_session_window(market, moment, count).sessions:
        return window
    return list_overlapping_sessions(market, moment - _LONGEST_CLOSURE, moment)[-1:]


def _list_sessions_with_data(market: MarketProfile, start: datetime, end: datetime) -> tuple[Session, ...]:
    """The sessions that overlap ``[start, end)``, from the vendor's first data of the exchange on."""
    sessions = list_overlapping_sessions(market, start, end)
    return sessions if market.data_from is None else tuple(s for s in sessions if s.day >= market.data_from)
