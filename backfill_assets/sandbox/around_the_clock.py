"""What the vendor's rows of a market that never closes at night are like: crypto pairs and currencies. Values only.

Rows are made in ``world.clock_rows``, served in ``endpoints.clock_archive``. What is recorded, and what is assumed, is
in docs/markets.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum


class RowPublication(StrEnum):
    """When rows appear in ``/intraday``."""

    TRAILING = "trailing"  # some hours after each row's end, by ticker
    AT_CLOSE = "at close"  # all rows up to a session's close, some hours after it


class ClockVolumes(StrEnum):
    """What the volumes of rows are."""

    QUOTE_CURRENCY = "quote currency"  # what was traded, in multiples of 1,024
    MEANINGLESS = "meaningless"  # numbers that count nothing


class ClockDailyVolumes(StrEnum):
    """What volumes of ``/eod`` are."""

    SUM = "sum"  # of the day's rows
    ZERO = "zero"
    NULL = "null"


@dataclass(frozen=True)
class Withheld:
    """Rows that the vendor lacks for some time.

    Attributes:
        symbol: whose rows.
        start: the first stamp (aware).
        end: the first stamp after them.
        until: when the vendor has them; None: never.
    """

    symbol: str
    start: datetime
    end: datetime
    until: datetime | None = None


@dataclass(frozen=True)
class AroundTheClock:
    """The rows of one market.

    A float without a description is a probability; it is drawn per row, or as its name says.

    Attributes:
        prices: typical price of familiar pairs; others are drawn.
        decimals: of a price from 0.01 on; smaller ones have eight significant digits.
        swing: how far prices move within weeks, relative.
        noise: how far prices of a row lie beside the path, relative, by interval: intervals are different sources.
        closed_noise: the same while the market is closed: rows come nevertheless, without moving on.
        volumes: what volumes are.
        null_volumes: rows with moving prices and no volume.
        null_rows: rows with nothing but a stamp.
        absent_rows: rows that never come.
        zero_rows: rows with prices of 0, while the market is closed.
        near_zero_lows: rows whose low is near 0, by interval.
        off_grid_days: days with a flat row without volume at 03:29.
        repeats_hour: on days when clocks change in New York, 01:00 to 02:00 UTC stands twice, with different values.
        publication: when rows appear.
        trailing_hours: bounds of the hours until rows appear, drawn per ticker, by interval.
        hours_after_close: the same after the close of a session.
        ended: (symbol, interval) → the first day without rows: the series was given up.
        missing: (symbol, interval) pairs without any row.
        daily_volumes: what daily volumes are.
        daily_volume_share: the day's volume ÷ the sum of its rows: rows without a volume were traded, too.
    """

    prices: Mapping[str, float] = field(default_factory=dict)
    decimals: int = 6
    swing: float = 0.08
    noise: Mapping[str, float] = field(default_factory=dict)
    closed_noise: float = 0.0
    volumes: ClockVolumes = ClockVolumes.MEANINGLESS
    null_volumes: float = 0.0
    null_rows: float = 0.0
    absent_rows: float = 0.0
    zero_rows: float = 0.0
    near_zero_lows: Mapping[str, float] = field(default_factory=dict)
    off_grid_days: float = 0.0
    repeats_hour: bool = False
    publication: RowPublication = RowPublication.TRAILING
    trailing_hours: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    hours_after_close: tuple[float, float] = (2.5, 2.95)
    ended: Mapping[tuple[str, str], date] = field(default_factory=dict)
    missing: frozenset[tuple[str, str]] = frozenset()
    daily_volumes: ClockDailyVolumes = ClockDailyVolumes.SUM
    daily_volume_share: float = 1.7
