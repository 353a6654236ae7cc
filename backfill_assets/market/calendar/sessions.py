"""Trading sessions of an exchange, from its calendar, with early closes and daylight saving time.

Which bars a session must have is in ``slots``. Which of them are absent is in ``market.gaps``.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.exchanges import CALENDARS

FIRST_YEAR, LAST_YEAR = 2004, 2099  # the vendor's 1m data begin in 2004 (docs/vendor.md §2.5)
EARLIEST_DATE = date(FIRST_YEAR, 1, 1)
LATEST_DATE = date(LAST_YEAR + 1, 1, 1)


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day. Times are UTC; ``regular_close`` is the close of a full day.

    The vendor publishes a number of hours after the regular close, also when the session closes early
    (docs/glossary.md, "askable").
    """

    exchange: str
    day: date
    open: datetime
    close: datetime
    regular_close: datetime

    @property
    def is_early_close(self) -> bool:
        """Whether the session closes before its regular close."""
        return self.close < self.regular_close


@dataclass(frozen=True, slots=True)
class CalendarOverrides:
    """A user's corrections to the calendar: days without a session, and sessions that close early.

    ``early_closes`` maps a day to its close in the exchange's time zone.
    """

    closures: frozenset[date] = frozenset()
    early_closes: Mapping[date, time] = field(default_factory=dict)

    def apply_to(self, sessions: Sequence[Session]) -> tuple[Session, ...]:
        """``sessions`` with the corrections applied. A close outside the session is ignored."""
        return tuple(self._apply_early_close(s) for s in sessions if s.day not in self.closures)

    def _apply_early_close(self, session: Session) -> Session:
        if session.day not in self.early_closes:
            return session
        zone = _load_calendar(session.exchange, session.day, session.day).tz
        close = datetime.combine(session.day, self.early_closes[session.day], zone).astimezone(UTC)
        return replace(session, close=close) if session.open < close < session.close else session


NO_OVERRIDES = CalendarOverrides()


def _load_calendar(exchange: str, first: date, last: date) -> Any:
    """The calendar from ``first`` to ``last``, in whole decades: a decade takes no longer to build than a year."""
    return _build_calendar(exchange, first.year // 10 * 10, last.year // 10 * 10 + 9)


@lru_cache(maxsize=8)
def _build_calendar(exchange: str, first_year: int, last_year: int) -> Any:
    from exchange_calendars import exchange_calendar_xnys  # here because it takes half a second

    calendar_classes = {"XNYS": exchange_calendar_xnys.XNYSExchangeCalendar}
    return calendar_classes[CALENDARS[exchange]](start=f"{first_year}-01-01", end=f"{last_year}-12-31")


def list_sessions(exchange: str, first: date, last: date) -> tuple[Session, ...]:
    """Every session of the calendar from ``first`` to ``last``, both inclusive, oldest first.

    Raises:
        UsageError: an exchange without a calendar, or dates outside ``EARLIEST_DATE`` to ``LATEST_DATE``.
    """
    if exchange not in CALENDARS:
        raise UsageError(f"exchange {exchange!r} is not supported; use one of {', '.join(CALENDARS)}")
    if first < EARLIEST_DATE or last > LATEST_DATE:
        raise UsageError(f"dates must lie between {EARLIEST_DATE} and {LATEST_DATE}, not {first} to {last}")
    if last < first:
        return ()
    calendar = _load_calendar(exchange, first, last)
    opens = calendar.opens.loc[str(first) : str(last)]
    closes = calendar.closes.loc[str(first) : str(last)]
    regular_close_time = calendar.close_times[-1][1]
    return tuple(
        Session(
            exchange,
            day.date(),
            opened.to_pydatetime().astimezone(UTC),
            closed.to_pydatetime().astimezone(UTC),
            datetime.combine(day.date(), regular_close_time, calendar.tz).astimezone(UTC),
        )
        for day, opened, closed in zip(opens.index, opens, closes, strict=True)
    )


def list_overlapping_sessions(
    exchange: str, start: datetime, end: datetime, overrides: CalendarOverrides = NO_OVERRIDES
) -> tuple[Session, ...]:
    """Every session that overlaps ``[start, end)`` (aware datetimes), oldest first."""
    nearby_sessions = list_sessions(
        exchange, max(EARLIEST_DATE, start.date() - timedelta(days=2)), min(LATEST_DATE, end.date() + timedelta(days=2))
    )
    return tuple(s for s in overrides.apply_to(nearby_sessions) if s.open < end and s.close > start)


def list_next_sessions(
    session: Session, count: int, until: datetime, overrides: CalendarOverrides = NO_OVERRIDES
) -> tuple[Session, ...]:
    """At most ``count`` sessions after ``session`` that opened before ``until``, oldest first."""
    first = session.day + timedelta(days=1)
    last = min(until.date(), session.day + timedelta(days=10 + 2 * count))
    if first > last:
        return ()
    later_sessions = overrides.apply_to(list_sessions(session.exchange, first, last))
    return tuple(later for later in later_sessions if later.open < until)[:count]


def list_previous_sessions(
    session: Session, count: int, overrides: CalendarOverrides = NO_OVERRIDES
) -> tuple[Session, ...]:
    """The ``count`` sessions before ``session``, oldest first."""
    if count == 0:
        return ()
    lookback = timedelta(days=10 + 2 * count)
    first = max(EARLIEST_DATE, session.day - lookback)
    earlier_sessions = list_sessions(session.exchange, first, session.day - timedelta(days=1))
    return overrides.apply_to(earlier_sessions)[-count:]


def find_previous_session_day(exchange: str, day: date, overrides: CalendarOverrides = NO_OVERRIDES) -> date | None:
    """The newest session before a day; None if that would be before ``EARLIEST_DATE``, or after ``LATEST_DATE``."""
    for year in (day.year, day.year - 1):
        days = _list_session_days(exchange, year) if FIRST_YEAR <= year <= LAST_YEAR else ()
        before = (days[position] for position in reversed(range(bisect_left(days, day))))
        if found := next((earlier for earlier in before if earlier not in overrides.closures), None):
            return found
    return None


@lru_cache(maxsize=64)
def _list_session_days(exchange: str, year: int) -> tuple[date, ...]:
    return tuple(session.day for session in list_sessions(exchange, date(year, 1, 1), date(year, 12, 31)))
