"""Steps of the prices from one session to the next, and what a split or its adjustment makes of them. Pure.

A step is the first price of a session divided by the last one of the session before, as a natural logarithm. Intraday
prices and the vendor's daily ones are both as traded (docs/vendor.md §5.4), so both step at a split. Doubts about bars
(``market.plausibility.price_steps``) and verdicts on splits (``proof``) compare the same steps.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Floats

MAX_DIFFERENCE = np.log(1.02)  # between the step of the bars and that of the daily data
# 3:2, the smallest common split. A smaller step a price may do by itself; a cash dividend of more than a third of the
# price, which changes the adjusted close by as much, is rarer.
MIN_SPLIT = np.log(1.5)


@dataclass(frozen=True, eq=False)
class OvernightSteps:
    """What is compared at some opens; natural logarithms, NaN where unknown, shape (opens,).

    Attributes:
        bars: the step of the bars.
        days: that of the daily data, from the close before to the open.
        adjustment: how much adjusted close over close grows from the day before, by which splits and dividends show.
        split: of the new shares for an old one by the splits that take effect; the price falls by it. 0 without one.
    """

    bars: Floats
    days: Floats
    adjustment: Floats
    split: Floats

    @property
    def is_contradicted(self) -> Bools:
        """Whether the daily data have another step."""
        contradicted: Bools = np.abs(self.bars - self.days) > MAX_DIFFERENCE
        return contradicted

    @property
    def is_borne_out(self) -> Bools:
        """Whether the daily data have the same step."""
        borne_out: Bools = np.abs(self.bars - self.days) <= MAX_DIFFERENCE
        return borne_out

    @property
    def has_split_in_bars(self) -> Bools:
        """Whether the step of the bars is nearer to what the split makes of the price than to none.

        The same as: the step without the split is smaller than the step as it is.
        """
        return is_nearer(-self.bars, self.split)

    @property
    def has_split_in_days(self) -> Bools:
        """Whether the daily data have the bars' step, and are adjusted for the split: the market moved against it."""
        in_days: Bools = self.is_borne_out & is_nearer(self.adjustment, self.split)
        return in_days


def is_nearer(value: Floats, to: Floats) -> Bools:
    """Whether a logarithm is nearer to another one than to none; False where one is unknown."""
    nearer: Bools = np.abs(value - to) < np.abs(value)
    return nearer


def compute_log_ratio(values: Floats, to: Floats) -> Floats:
    """The logarithm of values / to, NaN where it is none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        logarithms = np.log(values) - np.log(to)
    return np.where(np.isfinite(logarithms), logarithms, np.nan)
