"""Dates and moments that a caller of a read gives: brought to UTC, and whether two of them are a range.

The other arguments are checked in ``request``.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import TypeAlias
from zoneinfo import ZoneInfo

import numpy as np

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.moment_style import name_city
from backfill_assets.market.calendar.sessions import EARLIEST_DATE, LATEST_DATE

Moment: TypeAlias = date | datetime | str
_ISO_DATE = len("2026-06-01")
_EXAMPLES = "a date such as '2026-06-01' or a moment with a time zone such as '2026-06-01T13:30:00Z'"


def parse_moment(
    value: object, name: str, zone: ZoneInfo, start_of_day: Callable[[date], datetime] | None = None
) -> datetime:
    """A moment as UTC: an aware datetime, an ISO text with its zone, or a date, which means midnight in ``zone``.

    With ``start_of_day`` a date means what that gives. pandas' and numpy's stamps are read, too.

    Raises:
        UsageError: no moment, or one without a time zone.
    """
    if isinstance(value, str):
        value = _read_text(value.strip(), name)
    elif isinstance(value, np.datetime64):  # of days a date, of anything shorter a naive stamp
        value = (value if value.dtype == "datetime64[D]" else value.astype("datetime64[us]")).item()
    if isinstance(value, datetime) and value == value:
        if value.tzinfo is None or value.utcoffset() is None:
            example = value.replace(microsecond=0).isoformat()
            raise UsageError(
                f"{name} {str(value)[:40]} has no time zone, and 09:30 in {name_city(zone)} is another moment than"
                " 09:30 UTC;"
                f" write {example}Z for UTC, or datetime(…, tzinfo=ZoneInfo({zone.key!r}))"
            )
        return _to_utc(value, name)
    if isinstance(value, date) and not isinstance(value, datetime):
        return _to_utc(start_of_day(value) if start_of_day else datetime.combine(value, time(), zone), name)
    raise UsageError(f"{name} {str(value)[:40]!r} is no date or moment; write {_EXAMPLES}")


def require_range(first: datetime, after: datetime, start: object, end: object) -> None:
    """Make sure that a range is within the calendar and not empty; ``start`` and ``end`` are what the caller wrote.

    Raises:
        UsageError: it is not; says which end is wrong.
    """
    if first.date() < EARLIEST_DATE:
        raise UsageError(f"start {str(start)[:40]} is before the vendor's first data, {EARLIEST_DATE}")
    if after.date() > LATEST_DATE:
        raise UsageError(f"end {str(end)[:40]} is after the last day of the calendar, {LATEST_DATE}")
    if first > after:
        raise UsageError(f"start {str(start)[:40]} is after end {str(end)[:40]}; give the earlier moment first")
    if first == after:
        raise UsageError(
            f"start and end are both {str(end)[:40]}, and the end is not included; for one day, give the next date as"
            " the end"
        )


def _to_utc(moment: datetime, name: str) -> datetime:
    try:
        utc = moment.astimezone(UTC)
    except (OverflowError, ValueError):  # in the first or the last hours of the calendar of Python
        raise UsageError(f"{name} {str(moment)[:40]} is out of range") from None
    return datetime.combine(utc.date(), utc.time(), UTC)  # also of a pandas Timestamp, which psycopg does not know


def _read_text(text: str, name: str) -> date | datetime:
    try:
        return date.fromisoformat(text) if len(text) == _ISO_DATE else datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{name} {text[:40]!r} is no date or moment; write {_EXAMPLES}") from None
