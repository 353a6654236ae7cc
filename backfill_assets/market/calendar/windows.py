"""Windows: the sessions that a report or a run looks at.

A window holds whole sessions, and none that has not opened. The clock is an argument.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.sessions import (
    EARLIEST_DATE,
    NO_OVERRIDES,
    CalendarOverrides,
    Session,
    list_overlapping_sessions,
    list_sessions,
)

DEFAULT_HOURS = 48.0
MIN_ASKABLE_SESSIONS = 2
MAX_PARTITIONS = 100_000  # symbols × days of one asset, Dagster's recommended limit
_LONGEST_CLOSURE = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Window:
    """Sessions, oldest first, and a description of how they were chosen."""

    sessions: tuple[Session, ...]
    description: str


def build_hours_window(
    exchange: str,
    now: datetime,
    hours: float,
    askable_at: Callable[[Session], datetime],
    overrides: CalendarOverrides = NO_OVERRIDES,
) -> Window:
    """Every session that overlaps the past ``hours``.

    The default of 48 h is extended back until it holds two askable sessions, so that on a Monday morning the window
    holds Thursday and Friday instead of an empty weekend. ``askable_at`` returns from when a session is askable.

    Raises:
        UsageError: ``hours`` is not positive, or longer than ten years.
    """
    if not 0 < hours <= 24 * 3660:
        raise UsageError(f"--hours-back must lie between 0 and {24 * 3660}, not {hours:g}")
    description = f"the past {hours:g} h"
    start = now - timedelta(hours=hours)
    sessions = list_overlapping_sessions(exchange, start, now, overrides)
    if hours == DEFAULT_HOURS:
        recent = list_overlapping_sessions(exchange, start - _LONGEST_CLOSURE, now, overrides)
        askable_sessions = [s for s in recent if askable_at(s) <= now]
        if len(askable_sessions) >= MIN_ASKABLE_SESSIONS:
            first_day = min(askable_sessions[-MIN_ASKABLE_SESSIONS].day, *(s.day for s in sessions), date.max)
            sessions = tuple(s for s in recent if s.day >= first_day)
    return Window(sessions, description)


def build_date_window(
    exchange: str, first: date, last: date, now: datetime, overrides: CalendarOverrides = NO_OVERRIDES
) -> Window:
    """Every session from ``first`` to ``last``, both inclusive, that has opened by ``now``.

    Raises:
        UsageError: the range is reversed, or begins before the vendor's first data.
    """
    if first > last:
        raise UsageError(f"--start {first} is after --end {last}; give the earlier date first")
    if first < EARLIEST_DATE:
        raise UsageError(f"--start {first} is before the vendor's first data, {EARLIEST_DATE}")
    last_possible_day = min(last, now.date() + timedelta(days=1))
    sessions = (
        overrides.apply_to(list_sessions(exchange, first, last_possible_day)) if first <= last_possible_day else ()
    )
    return Window(tuple(s for s in sessions if s.open <= now), f"{first} to {last}")


def limit_partition_sessions(requested_sessions: int, symbol_count: int) -> int:
    """How many sessions become partitions: those requested, or as many as ``MAX_PARTITIONS`` allows for the symbols."""
    return max(1, min(requested_sessions, MAX_PARTITIONS // max(1, symbol_count)))


def build_session_window(
    exchange: str, now: datetime, count: int, overrides: CalendarOverrides = NO_OVERRIDES
) -> Window:
    """The last ``count`` sessions that have opened by ``now``."""
    lookback = timedelta(days=2 * count) + _LONGEST_CLOSURE
    sessions = list_overlapping_sessions(exchange, now - lookback, now, overrides)
    return Window(sessions[-count:], f"the last {count} sessions")
