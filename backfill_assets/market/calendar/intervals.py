"""The supported bar intervals, how tables spell them, and the vendor interval that each is built from.

Only names and lengths. The slots of an interval are in ``slots``; which spellings a table uses, in
``store.bars.interval_spellings``.
"""

import re
from dataclasses import dataclass, field

from backfill_assets.errors import UsageError


@dataclass(frozen=True, slots=True)
class Interval:
    """A bar length. ``spellings`` are its names in the column ``interval_type``, our own first."""

    name: str
    seconds: int
    spellings: tuple[str, ...] = field(compare=False)  # they depend on the database


_MINUTES = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60}
INTERVALS = {name: Interval(name, minutes * 60, (name, f"{minutes}min")) for name, minutes in _MINUTES.items()}
DEFAULT_INTERVAL = "30m"  # what commands and jobs mean when no interval is given
SOURCE_INTERVALS = ("1m", "5m")

_UNIT_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "t", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600),
}
_NUMBER_AND_UNIT = re.compile(r"(\d{1,5})[ _-]?([a-z]+)(?:[ _-]?bars?)?")
_UNIT_AND_NUMBER = re.compile(r"([mh]|min|minute|hour)[ _-]?(\d{1,3})")  # M30, H1
_CLOCK = re.compile(r"(?:0 days? )?(\d{1,2}):(\d\d)(?::(\d\d))?")  # 00:30:00, and 0:30 as hours and minutes
_ISO_DURATION = re.compile(r"p(?:0d)?t(?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_BARE_NUMBERS = {"1": 60, "5": 300, "15": 900, "30": 1800, "300": 300, "900": 900, "1800": 1800, "3600": 3600}
_LONGER = re.compile(
    r"(?:p?\d{0,3}[ _-]?(?:d|w|wk|mo|mon|q|y|b|bd|day|week|month|quarter|year)s?|[dw]\d{0,2}|mn1?|eod)"
)
_LONGER_WORDS = frozenset({"daily", "weekly", "monthly", "quarterly", "yearly", "tick", "ticks"})
_INTERVALS_BY_SECONDS = {interval.seconds: interval for interval in INTERVALS.values()}


def parse_interval(text: str) -> Interval:
    """The interval with the name ``text``, in any of its spellings.

    Raises:
        UsageError: unknown interval.
    """
    for interval in INTERVALS.values():
        if text in interval.spellings:
            return interval
    raise UsageError(f"unknown interval {text[:20]!r}; use one of {', '.join(INTERVALS)}")


def recognize_interval(text: str) -> Interval | None:
    """The interval that another program's ``interval_type`` means, or None.

    Known forms are a number and a unit (30m, 30Min, 30T, 1H, 1800s, 30 minutes), the reverse (M30, H1), an ISO duration
    (PT30M), a clock time (00:30:00) and a bare number: 1, 5, 15 and 30 are minutes; 300, 900, 1800 and 3600 are
    seconds. 60 may be either and means nothing here, and neither does 1M, which is a month to some programs.
    """
    seconds = None if text.strip() == "1M" else _measure_seconds(text.strip().lower())
    return _INTERVALS_BY_SECONDS.get(seconds) if seconds is not None else None


def is_other_length(text: str) -> bool:
    """Whether an ``interval_type`` names a length that is none of ``INTERVALS``: days and longer, ticks, 2h, 10m."""
    name = text.strip().lower()
    seconds = _measure_seconds(name)
    is_longer = _LONGER.fullmatch(name) is not None or name in _LONGER_WORDS
    return is_longer or (seconds is not None and seconds not in _INTERVALS_BY_SECONDS)


def _measure_seconds(text: str) -> int | None:
    """The length of an interval spelled ``text`` (lower case) in seconds; None if it is none of the known forms."""
    if text in _BARE_NUMBERS:
        return _BARE_NUMBERS[text]
    if duration := _CLOCK.fullmatch(text) or _ISO_DURATION.fullmatch(text):
        hours, minutes, seconds = (int(part or 0) for part in duration.groups())
        return hours * 3600 + minutes * 60 + seconds
    if named := _UNIT_AND_NUMBER.fullmatch(text):
        return int(named[2]) * _UNIT_SECONDS[named[1]]
    counted = _NUMBER_AND_UNIT.fullmatch(text)
    return int(counted[1]) * _UNIT_SECONDS[counted[2]] if counted and counted[2] in _UNIT_SECONDS else None


def choose_source_interval(interval: Interval, preferred: str) -> Interval:
    """The vendor interval from whose rows bars of ``interval`` are built.

    The vendor's own 15m, 30m and 1h are not used: it is not proven how they are cut (docs/vendor.md §2.2), and a
    request costs the same at every interval. ``preferred`` is the setting, 1m or 5m. Bars of 1m need 1m rows.

    Raises:
        UsageError: ``preferred`` is not a source interval.
    """
    if preferred not in SOURCE_INTERVALS:
        raise UsageError(f"unknown source interval {preferred!r}; use one of {', '.join(SOURCE_INTERVALS)}")
    preferred_interval = INTERVALS[preferred]
    return INTERVALS["1m"] if interval.seconds < preferred_interval.seconds else preferred_interval
