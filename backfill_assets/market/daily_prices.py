"""Daily rows as they are stored: what the vendor says about whole days, without numbers that are impossible. Pure.

``market.vendor`` has the rows as the vendor sent them. What days without a row mean is in ``market.gaps.daily_rows``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from backfill_assets.market.arrays import Floats, Int64
from backfill_assets.market.vendor import BulkDailyRows, DailyRows, DateArray

SETTLED_AFTER = timedelta(hours=12)  # from the close; the newest row changes overnight (docs/vendor.md §5.4)
MAX_DAILY_VOLUME = 2.0**53  # more is no volume, and 0 means that nothing traded: a fraction of a share counts as one


@dataclass(frozen=True, eq=False)
class DailyPrices:
    """Daily rows of any symbols and days, one of each pair: parallel arrays, NaN where a number is unknown.

    Attributes:
        symbol_id: the symbols.
        day: session dates (``datetime64[D]``).
        open: prices are above 0; ``high`` and ``low`` are both unknown where they contradict each other.
        close: adjusted backwards for spin-offs, but not for splits (docs/vendor.md §5.4).
        adjusted_close: adjusted for splits and dividends until the row was read.
        volume: shares, adjusted for splits until the row was read; those of some exchanges have a fraction.
        traded_volume: what the rules of absence read, whole; NaN where the volume is unknown: then they read nothing.
    """

    symbol_id: Int64
    day: DateArray
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    adjusted_close: Floats
    volume: Floats
    traded_volume: Floats | Int64

    def __len__(self) -> int:
        return len(self.symbol_id)


def build_daily_prices(
    symbol_ids: Sequence[int], rows: DailyRows | BulkDailyRows, positions: Sequence[int]
) -> DailyPrices:
    """The rows at ``positions``, which belong to ``symbol_ids``; numbers that are impossible become unknown."""
    chosen = np.array(positions, np.int64)
    high, low = _drop_impossible_prices(rows.high[chosen]), _drop_impossible_prices(rows.low[chosen])
    is_contradiction = high < low
    volume = rows.volume[chosen]
    known_volume = np.where((volume >= 0) & (volume <= MAX_DAILY_VOLUME), volume, np.nan)
    return DailyPrices(
        symbol_id=np.array(symbol_ids, np.int64),
        day=rows.date[chosen],
        open=_drop_impossible_prices(rows.open[chosen]),
        high=np.where(is_contradiction, np.nan, high),
        low=np.where(is_contradiction, np.nan, low),
        close=_drop_impossible_prices(rows.close[chosen]),
        adjusted_close=_drop_impossible_prices(rows.adjusted_close[chosen]),
        volume=known_volume,
        traded_volume=np.ceil(known_volume),
    )


def is_settled(read_at: datetime | None, session_close: datetime) -> bool:
    """Whether a daily row was read at least 12 hours after the close of its session; both are UTC.

    Before, the vendor may still change it without a reason. Not known (None) means that it is not.
    """
    return read_at is not None and read_at >= session_close + SETTLED_AFTER


def _drop_impossible_prices(prices: Floats) -> Floats:
    return np.where((prices > 0) & np.isfinite(prices), prices, np.nan)
