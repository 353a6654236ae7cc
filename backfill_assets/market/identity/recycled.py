"""Where a ticker's daily history breaks: months without a row, and another level after them. Pure.

Such a ticker probably named two instruments in turn. A person decides; a halt of months, or a ticker that was delisted
and listed again, has a gap, too, but goes on at the level that its last adjusted close shows.
"""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from backfill_assets.market.arrays import Bools, Floats
from backfill_assets.market.identity.closes import MAX_STEP, DayClose
from backfill_assets.market.vendor import DailyRows

MIN_GAP = timedelta(days=60)  # months; the shortest recorded one is META's of 132 days


@dataclass(frozen=True, slots=True)
class TickerBreak:
    """The last close before a gap in a ticker's daily history, and the first one after it."""

    last: DayClose
    first: DayClose

    def __str__(self) -> str:
        return f"{self.last}, then nothing until {self.first}"


def find_breaks(rows: DailyRows) -> list[TickerBreak]:
    """The breaks of a complete daily history, the oldest first.

    The level must be another one both as traded and as adjusted, so that a split during the gap is none.
    """
    with_close = rows.filter_rows(rows.close > 0)
    order = np.argsort(with_close.date, kind="stable")
    days, close, adjusted = with_close.date[order], with_close.close[order], with_close.adjusted_close[order]
    is_long = np.diff(days) >= np.timedelta64(MIN_GAP.days, "D")
    is_break = is_long & _is_other_level(close) & _is_other_level(np.where(adjusted > 0, adjusted, close))
    return [
        TickerBreak(
            DayClose(days[at].astype(object), float(close[at])),
            DayClose(days[at + 1].astype(object), float(close[at + 1])),
        )
        for at in np.flatnonzero(is_break).tolist()
    ]


def _is_other_level(prices: Floats) -> Bools:
    larger, smaller = np.maximum(prices[1:], prices[:-1]), np.minimum(prices[1:], prices[:-1])
    is_other: Bools = larger > MAX_STEP * smaller
    return is_other
