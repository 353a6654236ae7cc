"""The calendar of the currency market, which the library exchange_calendars does not have.

A trade date goes from 17:00 of the day before to 17:00 in New York, Monday to Friday: always 24 hours, since clocks
change on Sundays. The library's calendar "24/5" holds whole days in UTC instead, so it lacks Sunday evening and has
Friday evening, when nobody trades.
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

FOREX_CALENDAR = "forex"  # its name in profiles; none of the library's
_NEW_YORK = ZoneInfo("America/New_York")
_TURN_OF_THE_DAY = time(17)
_CLOSED = frozenset({(1, 1), (12, 25)})  # month and day of trade dates that nobody trades
_DAY = timedelta(days=1)


def list_trade_dates(year: int) -> list[date]:
    """The trade dates of a year, oldest first."""
    days = (date(year, 1, 1) + number * _DAY for number in range(366))
    return [day for day in days if day.year == year and day.weekday() < 5 and (day.month, day.day) not in _CLOSED]


def find_close(day: date) -> int:
    """When a trade date ends, in epoch seconds; the next one begins then, but for weekends and holidays."""
    return int(datetime.combine(day, _TURN_OF_THE_DAY, _NEW_YORK).astimezone(UTC).timestamp())


def find_open(day: date) -> int:
    """When a trade date begins, in epoch seconds."""
    return find_close(day - _DAY)


def get_day_begin(calendar: str) -> timedelta:
    """When a calendar's days begin by its clock, counted from midnight; negative on the evening before, as here."""
    turn = timedelta(hours=_TURN_OF_THE_DAY.hour)
    return turn - _DAY if calendar == FOREX_CALENDAR else timedelta(0)
