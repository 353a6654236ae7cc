"""What a report or a run looks at: whole sessions, never a stretch of wall clock.

The clock is an argument. A session that has not opened is never in a window.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.sessions import (
    EARLIEST,
    NO_EXCEPTIONS,
    Exceptions,
    Session,
    sessions_between,
    sessions_overlapping,
)

DEFAULT_HOURS = 48.0
LEAST_ASKABLE = 2
MOST_PARTITIONS = 100_000  # of one asset, as Dagster advises (symbols × days)
_LONGEST_CLOSURE = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Window:
    """Sessions, oldest first, and how they were chosen (``described``, for people)."""

    sessions: tuple[Session, ...]
    described: str


def window_of_hours(
    exchange: str,
    now: datetime,
    hours: float,
    askable_after: timedelta,
    exceptions: Exceptions = NO_EXCEPTIONS,
) -> Window:
    """Every session that overlaps the past ``hours``.

    The default of 48 h is extended back until it holds two sessions whose data can be asked for,
    so that a Monday morning looks at Thursday and Friday and not at an empty weekend.
    """
    if not 0 < hours <= 24 * 3660:
        raise UsageError(f"--hours-back must lie between 0 and {24 * 3660}, not {hours:g}")
    described = f"the past {hours:g} h"
    start = now - timedelta(hours=hours)
    sessions = sessions_overlapping(exchange, start, now, exceptions)
    if hours == DEFAULT_HOURS:
        recent = sessions_overlapping(exchange, start - _LONGEST_CLOSURE, now, exceptions)
        askable = [s for s in recent if s.regular_close + askable_after <= now]
        if len(askable) >= LEAST_ASKABLE:
            first = min(askable[-LEAST_ASKABLE].day, *(s.day for s in sessions), date.max)
            sessions = tuple(s for s in recent if s.day >= first)
    return Window(sessions, described)


def window_of_days(
    exchange: str, first: date, last: date, now: datetime, exceptions: Exceptions = NO_EXCEPTIONS
) -> Window:
    """Every session from ``first`` to ``last``, both inclusive, that has opened by ``now``.

    Raises:
        UsageError: the range is reversed or begins before the vendor's data do.
    """
    if first > last:
        raise UsageError(f"--start {first} is after --end {last}; give the earlier date first")
    if first < EARLIEST:
        raise UsageError(f"--start {first} is before the vendor's first data, {EARLIEST}")
    reach = min(last, now.date() + timedelta(days=1))
    sessions = exceptions.applied_to(sessions_between(exchange, first, reach)) if first <= reach else ()
    return Window(tuple(s for s in sessions if s.open <= now), f"{first} to {last}")


def sessions_kept(wanted: int, symbols: int) -> int:
    """How many sessions are partitions: ``wanted``, or what ``MOST_PARTITIONS`` leaves to so many symbols."""
    return max(1, min(wanted, MOST_PARTITIONS // max(1, symbols)))


def window_of_sessions(exchange: str, now: datetime, count: int, exceptions: Exceptions = NO_EXCEPTIONS) -> Window:
    """The last ``count`` sessions that have opened by ``now``."""
    reach = timedelta(days=2 * count) + _LONGEST_CLOSURE
    sessions = sessions_overlapping(exchange, now - reach, now, exceptions)
    return Window(sessions[-count:], f"the last {count} sessions")
