"""The supported bar intervals, and the vendor interval that each is built from.

Only names and lengths. The slots of an interval are in ``slots``.
"""

from dataclasses import dataclass

from backfill_assets.errors import UsageError


@dataclass(frozen=True, slots=True)
class Interval:
    """A bar length. ``spellings`` are its names in the column ``interval_type``, our own first."""

    name: str
    seconds: int
    spellings: tuple[str, ...]


_MINUTES = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60}
INTERVALS = {name: Interval(name, minutes * 60, (name, f"{minutes}min")) for name, minutes in _MINUTES.items()}
DEFAULT_INTERVAL = "30m"  # what commands and jobs mean when no interval is given
SOURCE_INTERVALS = ("1m", "5m")


def parse_interval(text: str) -> Interval:
    """The interval with the name ``text``, in any of its spellings.

    Raises:
        UsageError: unknown interval.
    """
    for interval in INTERVALS.values():
        if text in interval.spellings:
            return interval
    raise UsageError(f"unknown interval {text[:20]!r}; use one of {', '.join(INTERVALS)}")


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
