"""Trading sessions of an exchange, from its calendar, with early closes, breaks and daylight saving time.

A user's corrections, which the profile carries, are applied here. Which bars a session must have is in ``slots``. Which
of them are absent is in ``market.gaps``.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import lru_cache

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.calendar_tables import CalendarTable, CalendarUnbuildable, read_calendar_table
from backfill_assets.market.calendar.forex_calendar import get_day_begin
from backfill_assets.market.calendar.session_hours import ROW_MINUTES, Hours, list_hours, refuse_overlaps
from backfill_assets.market.exchanges.profile import MarketProfile

FIRST_YEAR, LAST_YEAR = 2004, 2099  # the vendor's 1m data begin in 2004 (docs/vendor.md §2.5)
EARLIEST_DATE = date(FIRST_YEAR, 1, 1)
LATEST_DATE = date(LAST_YEAR + 1, 1, 1)
CALENDAR_NOTICE = timedelta(days=60)  # long enough for a new version of the library, or to write down the sessions


class SessionsUnknown(UsageError):  # noqa: N818 - what is the matter with the calendar
    """The sessions of an exchange cannot be told (exit code 2)."""


class CalendarEnded(SessionsUnknown):
    """A day after the last one that a calendar's library knows (exit code 2)."""


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day. Times are UTC.

    Attributes:
        exchange: the vendor's code.
        day: the day in the exchange's time zone.
        segments: open and close of each part of the day, without its breaks; ascending, at least one.
        regular_close: the close of a full day. The vendor publishes a number of hours after it, also when the session
            closes early (docs/glossary.md, "askable").
        market: the exchange's profile.
        open: when the session opens.
        close: when it closes.
    """

    exchange: str
    day: date
    segments: tuple[Hours, ...]
    regular_close: datetime
    market: MarketProfile = field(compare=False, repr=False)
    open: datetime = field(init=False, compare=False)
    close: datetime = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Set open and close, which are read far more often than a session is made."""
        object.__setattr__(self, "open", self.segments[0][0])
        object.__setattr__(self, "close", self.segments[-1][1])

    @property
    def rows_from(self) -> datetime:
        """The open of the vendor's row in which the session opens: no bar of it begins earlier.

        The session's open itself, but where that lies beside the five minutes of the clock (Karachi's 9:32).
        """
        beside = timedelta(minutes=self.open.minute % ROW_MINUTES, seconds=self.open.second)
        return self.open - beside if beside else self.open

    @property
    def is_whole_day(self) -> bool:
        """Whether no night is between it and the next session, so that the vendor may have rows at all times."""
        return self.regular_close - self.open >= timedelta(days=1)

    @property
    def is_early_close(self) -> bool:
        """Whether the session closes before its regular close."""
        return self.close < self.regular_close


def select_regular_days(sessions: Iterable[Session]) -> list[Session]:
    """The sessions with the hours of most days: no half days, and no weekdays with hours of their own.

    If every weekday has its own, all but the half days.
    """
    full = [session for session in sessions if not session.is_early_close]
    return [session for session in full if session.day.weekday() not in session.market.weekday_hours] or full


def list_sessions(market: MarketProfile, first: date, last: date) -> tuple[Session, ...]:
    """Every session of the calendar from ``first`` to ``last``, both inclusive, oldest first, with the corrections.

    Raises:
        CalendarEnded: ``last`` is after the last day that the calendar knows.
        SessionsUnknown: nobody has given the exchange's breaks, or the calendar cannot be built.
        UsageError: dates outside ``EARLIEST_DATE`` to ``LATEST_DATE``, or before the first day that the calendar knows.
    """
    if market.needs_breaks:
        raise SessionsUnknown(_explain_breaks(market))
    if first < EARLIEST_DATE or last > LATEST_DATE:
        raise UsageError(f"dates must lie between {EARLIEST_DATE} and {LATEST_DATE}, not {first} to {last}")
    if last < first:
        return ()
    _check_bounds(market, first, last)
    if first.year == last.year:
        return _select(market, first.year, first, last)
    years = range(first.year, last.year + 1)
    return tuple(session for year in years for session in _select(market, year, first, last))


def find_day_start(market: MarketProfile, day: date) -> datetime:
    """When a day begins, in the exchange's zone: at midnight, or when its session opens on the evening before."""
    midnight = datetime.combine(day, time(), market.zone)
    try:
        sessions = list_sessions(market, day, day)
    except UsageError:  # no calendar reaches so far, and nothing is stored there
        sessions = ()
    return min([midnight, *(session.open.astimezone(market.zone) for session in sessions)])


def find_session_day(market: MarketProfile, moment: datetime) -> date:
    """The session date of ``moment`` (aware) as ``backfill.session_day`` has it, also where no session has that date.

    The date by the exchange's clock; where the calendar's days begin on the evening before, from then on the next one.
    """
    local = moment.astimezone(market.zone).replace(tzinfo=None)
    return (local - get_day_begin(market.calendar)).date()


def find_last_known_day(market: MarketProfile, near: date) -> date | None:
    """The last day that the calendar of an exchange knows, or the last extra session after it; None: it has no end.

    ``near`` is any day, at best one of a year whose sessions are needed anyway.
    """
    end = _read_table(market, min(near, LATEST_DATE).year).last_day
    return end and max(end, *market.overrides.extra_sessions, end)


def find_calendar_end(market: MarketProfile, until: date) -> date | None:
    """The last day that the calendar of an exchange knows, if that is before ``until``; else None."""
    end = find_last_known_day(market, until)
    return end if end is not None and end < until else None


def is_near_end(last_day: date | None, today: date) -> bool:
    """Whether a calendar's last known day, if it has one, is so near that people should be told."""
    return last_day is not None and last_day - today <= CALENDAR_NOTICE


def list_overlapping_sessions(market: MarketProfile, start: datetime, end: datetime) -> tuple[Session, ...]:
    """Every session that overlaps ``[start, end)`` (aware datetimes), oldest first.

    Raises:
        CalendarEnded: ``end`` is after the last day that the calendar knows.
    """
    first = max(EARLIEST_DATE, start.date() - timedelta(days=2))
    last = limit_to_calendar(market, min(LATEST_DATE, end.date() + timedelta(days=2)), end)
    return tuple(s for s in list_sessions(market, first, last) if s.open < end and s.close > start)


def limit_to_calendar(market: MarketProfile, last: date, moment: datetime) -> date:
    """``last``, or the last day that the calendar knows while ``moment`` (aware) is not after it.

    For ranges that reach a few days beyond what is asked for, so that a calendar serves until its very last day.
    """
    end = find_calendar_end(market, last)
    return last if end is None or moment.astimezone(market.zone).date() > end else end


def list_next_sessions(session: Session, count: int, until: datetime) -> tuple[Session, ...]:
    """At most ``count`` sessions after ``session`` that opened before ``until``, oldest first."""
    first = session.day + timedelta(days=1)
    day = until.astimezone(session.market.zone).date()
    last = min(day + timedelta(days=1), session.day + timedelta(days=10 + 2 * count))  # a session may open on the eve
    if first > last:
        return ()
    later_sessions = list_sessions(session.market, first, limit_to_calendar(session.market, last, until))
    return tuple(later for later in later_sessions if later.open < until)[:count]


def list_previous_sessions(session: Session, count: int) -> tuple[Session, ...]:
    """The ``count`` sessions before ``session``, oldest first; fewer where the calendar begins."""
    if count == 0:
        return ()
    lookback = timedelta(days=10 + 2 * count)
    first_known = _read_table(session.market, session.day.year).first_day or EARLIEST_DATE
    first = max(EARLIEST_DATE, first_known, session.day - lookback)
    return list_sessions(session.market, first, session.day - timedelta(days=1))[-count:]


def find_previous_session_day(market: MarketProfile, day: date) -> date | None:
    """The newest session before a day; None if that would be before ``EARLIEST_DATE``, or after ``LATEST_DATE``."""
    for year in (day.year, day.year - 1):
        days = _list_year(market, year)[0] if FIRST_YEAR <= year <= LAST_YEAR else ()
        if position := bisect_left(days, day):
            return days[position - 1]
    return None


def _explain_breaks(market: MarketProfile) -> str:
    code = market.exchange
    return (
        f"the hours of exchange {code} ({market.name}) are not known: its sessions have a break that its calendar"
        f" lacks; write {code}.breaks into BACKFILL_MARKETS_FILE (the command `backfill-assets markets probe {code}`"
        f" reads the vendor's hours and prints the line), or take {code} out of BACKFILL_EXCHANGES"
    )


def _read_table(market: MarketProfile, year: int) -> CalendarTable:
    """The table of a market's calendar; a SessionsUnknown if the libraries that are installed cannot build it."""
    try:
        return read_calendar_table(market.calendar, year)
    except CalendarUnbuildable as error:
        code = market.exchange
        raise SessionsUnknown(
            f"the sessions of exchange {code} cannot be told: {error}; install the versions in constraints.txt (pandas"
            f" below 3.1), set another {code}.calendar in BACKFILL_MARKETS_FILE, or take {code} out of"
            " BACKFILL_EXCHANGES"
        ) from error


def _check_bounds(market: MarketProfile, first: date, last: date) -> None:
    name = f"the calendar of exchange {market.exchange} ({market.calendar} of the package exchange_calendars)"
    if end := find_calendar_end(market, last):
        raise CalendarEnded(
            f"{name} ends on {end}, and {last} is after it; install a newer exchange_calendars, write sessions after"
            f" it into extra_sessions of BACKFILL_MARKETS_FILE, or take {market.exchange} out of BACKFILL_EXCHANGES"
        )
    first_day = _read_table(market, last.year).first_day
    if first_day is not None and first < first_day:
        raise UsageError(f"{name} begins on {first_day}, and {first} is before it")


def _select(market: MarketProfile, year: int, first: date, last: date) -> tuple[Session, ...]:
    days, sessions = _list_year(market, year)
    return sessions[bisect_left(days, first) : bisect_right(days, last)]


@lru_cache(maxsize=512)  # 250 sessions each; a profile with other corrections is another key
def _list_year(market: MarketProfile, year: int) -> tuple[list[date], tuple[Session, ...]]:
    """The days and the sessions of a year, corrected, oldest first."""
    hours = list_hours(market, _read_table(market, year))
    if not market.overrides.extra_sessions.keys().isdisjoint({date(year - 1, 12, 31), date(year, 1, 1)}):
        before = list_hours(market, _read_table(market, year - 1))
        refuse_overlaps(market, [*before[-1:], *hours[:1]])
    sessions = tuple(
        Session(market.exchange, day, segments, regular_close, market) for day, segments, regular_close in hours
    )
    return [session.day for session in sessions], sessions
