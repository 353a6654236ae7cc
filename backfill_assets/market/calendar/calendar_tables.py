"""The calendars of the library exchange_calendars as small tables, one a calendar and year.

The library takes 0.8 s to import, and 0.1 to 2 s to build a calendar. So another layer may put a cache behind the
tables: ``use_table_reader`` takes any function with the signature of ``build_calendar_table``. Sessions, with a
user's corrections, are made of tables in ``sessions``. Nothing here knows an exchange's profile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from backfill_assets.market.calendar.forex_calendar import FOREX_CALENDAR, find_close, find_open, list_trade_dates

NO_BREAK = -1  # in place of a moment


class CalendarUnbuildable(Exception):  # noqa: N818 - a property of the calendar
    """The library has the calendar and cannot build it with the version of pandas that is installed."""


@dataclass(frozen=True, slots=True)
class CalendarTable:
    """The sessions of one calendar in one year, oldest first. Moments are epoch seconds (UTC), one a session.

    Plain values, which need no numpy and are easily stored.

    Attributes:
        calendar: the library's name of the calendar.
        year: the year of the days.
        first_day: the first day that the library knows; None: it goes back further than any data.
        last_day: the last day that the library knows; None: it computes any year.
        days: each session's day, in the calendar's time zone.
        opens: when it opens.
        closes: when it closes.
        regular_closes: when a full day of that date closes, by the hours in force then; never before ``closes``.
        break_starts: when its break begins; ``NO_BREAK`` without one.
        break_ends: when its break ends; ``NO_BREAK`` without one.
    """

    calendar: str
    year: int
    first_day: date | None
    last_day: date | None
    days: tuple[date, ...] = ()
    opens: tuple[int, ...] = ()
    closes: tuple[int, ...] = ()
    regular_closes: tuple[int, ...] = ()
    break_starts: tuple[int, ...] = ()
    break_ends: tuple[int, ...] = ()


TableReader = Callable[[str, int], CalendarTable]  # calendar and year


def build_calendar_table(calendar: str, year: int) -> CalendarTable:
    """The table of a year from the library; without sessions for a year of which it knows no day.

    Raises:
        KeyError: the library has no such calendar.
        CalendarUnbuildable: the library cannot build it with the pandas that is installed.
    """
    if calendar == FOREX_CALENDAR:
        return _build_forex_table(year)
    factory = _find_factory(calendar)
    first_day, last_day = (bound and bound.date() for bound in (factory.bound_min(), factory.bound_max()))
    first, last = max(first_day or date.min, date(year, 1, 1)), min(last_day or date.max, date(year, 12, 31))
    if first > last:
        return CalendarTable(calendar, year, first_day, last_day)
    built = _build_decade(calendar, year // 10 * 10)
    selected = slice(*built.sessions.searchsorted([str(first), str(last + timedelta(days=1))]))
    closes = _to_seconds(built.closes_nanos[selected])
    days = tuple(day.date() for day in built.sessions[selected])
    return CalendarTable(
        calendar,
        year,
        first_day,
        last_day,
        days,
        _to_seconds(built.opens_nanos[selected]),
        closes,
        tuple(map(max, _list_regular_closes(built, days), closes)),
        _to_seconds(built.break_starts_nanos[selected]),
        _to_seconds(built.break_ends_nanos[selected]),
    )


def _build_forex_table(year: int) -> CalendarTable:
    days = tuple(list_trade_dates(year))
    closes = tuple(map(find_close, days))
    breaks = (NO_BREAK,) * len(days)
    return CalendarTable(
        FOREX_CALENDAR, year, None, None, days, tuple(map(find_open, days)), closes, closes, breaks, breaks
    )


_reader: TableReader = build_calendar_table


def has_calendar(calendar: str) -> bool:
    """Whether the library has a calendar of this name; imports the library."""
    if calendar == FOREX_CALENDAR:
        return True
    from exchange_calendars import calendar_utils

    return calendar in calendar_utils._default_calendar_factories


def use_table_reader(reader: TableReader | None) -> None:
    """Read tables with ``reader`` from now on, such as a cache before ``build_calendar_table``; None: the library."""
    global _reader
    _reader = reader or build_calendar_table
    read_calendar_table.cache_clear()


@lru_cache(maxsize=1024)  # of 10 kB
def read_calendar_table(calendar: str, year: int) -> CalendarTable:
    """The table of a calendar and year, by the reader in use; the same object for the same question."""
    return _reader(calendar, year)


@lru_cache(maxsize=64)
def _build_decade(calendar: str, first_year: int) -> Any:
    """A calendar of ten years, as far as the library knows them: they take little longer to build than one."""
    factory = _find_factory(calendar)
    lower, upper = factory.bound_min(), factory.bound_max()
    # A month more: Seoul's first session of a year opens late, and the library takes the last one it builds for that
    start, end = date(first_year, 1, 1), date(first_year + 10, 1, 31)
    first, last = max(start, lower.date()) if lower else start, min(end, upper.date()) if upper else end
    try:
        return factory(start=str(first), end=str(last))
    except Exception as error:  # whatever a newer pandas refuses of the library's rules, NotImplementedError among it
        libraries = " and ".join(f"{name} {version(name)}" for name in ("exchange_calendars", "pandas"))
        raise CalendarUnbuildable(f"{libraries} cannot build the calendar {calendar} ({error!r:.100})") from error


def _find_factory(calendar: str) -> Any:
    from exchange_calendars import calendar_utils  # here because it takes most of a second

    return calendar_utils._default_calendar_factories[calendar]


def _to_seconds(nanoseconds: Any) -> tuple[int, ...]:
    """The library's moments in seconds; its mark of an absent one is the least number."""
    return tuple(NO_BREAK if moment < 0 else moment // 1_000_000_000 for moment in nanoseconds.tolist())


def _list_regular_closes(built: Any, days: tuple[date, ...]) -> list[int]:
    """When a full day closes on each of ``days``: the library's times of the close are in force from a date on."""
    times = [(since.date() if since else date.min, at) for since, at in built.close_times]
    later = timedelta(days=built.close_offset)  # a session that closes at midnight closes on the next day
    hours = (next(at for since, at in reversed(times) if since <= day) for day in days)
    closes = (datetime.combine(day + later, at, built.tz) for day, at in zip(days, hours, strict=True))
    return [int(close.timestamp()) for close in closes]
