"""The bar intervals we keep and the vendor interval each is built from.

No calendar and no data here: only names and lengths.
"""

from dataclasses import dataclass

from backfill_assets.errors import UsageError


@dataclass(frozen=True, slots=True)
class Interval:
    """A bar length; ``spellings`` are the names other writers use for it in ``interval_type``."""

    name: str
    seconds: int
    spellings: tuple[str, ...]


_MINUTES = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60}
INTERVALS = {name: Interval(name, minutes * 60, (name, f"{minutes}min")) for name, minutes in _MINUTES.items()}
DEFAULT_INTERVAL = "30m"  # what commands and jobs mean when no interval is given
SOURCE_INTERVALS = ("1m", "5m")


def parse_interval(text: str) -> Interval:
    """The interval called ``text``, in any of its spellings.

    Raises:
        UsageError: no such interval.
    """
    for interval in INTERVALS.values():
        if text in interval.spellings:
            return interval
    raise UsageError(f"interval {text[:20]!r} is not known; use one of {', '.join(INTERVALS)}")


def choose_source_interval(interval: Interval, preferred: str) -> Interval:
    """The vendor interval whose rows make up ``interval``.

    The vendor's own 15m, 30m and 1h are not used: their grids are unproven (EODHD.md §2), and one
    request costs the same at every interval. ``preferred`` is the setting, 1m or 5m; bars of 1m
    can only come from 1m.
    """
    if preferred not in SOURCE_INTERVALS:
        raise UsageError(f"source interval {preferred!r} is not served; use one of {', '.join(SOURCE_INTERVALS)}")
    preferred_interval = INTERVALS[preferred]
    return INTERVALS["1m"] if interval.seconds < preferred_interval.seconds else preferred_interval
