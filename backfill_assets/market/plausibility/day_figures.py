"""What is known of the days of a panel's sessions: settled figures of the vendor's daily data, one for each line.

``market.daily_prices`` has the rows as they are stored, and says when one is settled.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Floats
from backfill_assets.market.exchanges.registry import US


@dataclass(frozen=True, eq=False)
class DayFigures:
    """One day for each line of a panel, all NaN where no settled daily row is known; arrays of the shape (lines,).

    Attributes:
        open: prices as traded on the day, like ``high`` and ``low`` (as the vendor gives them, see
            ``market.daily_prices.DailyPrices``).
        close: adjusted backwards for spin-offs.
        adjusted_close: adjusted for splits and dividends until the row was read.
        volume: shares of the day itself: the splits since are undone; NaN while the symbol's splits are not known.
        split_ratio: new shares for an old one by a split that takes effect on the day, 1 without one, NaN while the
            symbol's splits are not known.
        price_step: the step that prices of one unit and more come in, 0 for none (see ``MarketProfile``).
    """

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    adjusted_close: Floats
    volume: Floats
    split_ratio: Floats
    price_step: float = US.price_step

    @property
    def is_known(self) -> Bools:
        """Whether a settled range of the day is known, shape (lines,)."""
        known: Bools = ~np.isnan(self.high) & ~np.isnan(self.low)
        return known

    @classmethod
    def create_unknown(cls, lines: int) -> "DayFigures":
        """Nothing is known of any day."""
        return cls(*np.full((7, lines), np.nan))  # all but the step
