"""How many bars each symbol must have in each calendar month in UTC, and which, as one number. Pure.

The store counts its bars by the same months (``store.census``), so a month whose numbers are equal is complete without
a look at its bars. Which slots there are is decided in ``market.calendar.slots``.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.slots import SlotGrid

_MINUTE_SECONDS = 60
_BEFORE, _AFTER = -(2**31), 2**31


@dataclass(frozen=True, eq=False)
class MonthlySlots:
    """The slots of a grid by the month in which they begin, for sums over any range of slots.

    Attributes:
        months: each month that has slots, counted from January 1970, ascending, shape (months,).
        offsets: the ordinal of each month's first slot, then the number of slots, shape (months + 1,).
        square_sums: Σ of the squared minute numbers of all slots before each ordinal, shape (slots + 1,). The first
            minute of a month has the number 0.
    """

    months: Int64
    offsets: Int64
    square_sums: Int64

    @property
    def size(self) -> int:
        """How many slots there are."""
        return len(self.square_sums) - 1

    def find_months(self, ordinals: Int64) -> Int64:
        """The month of each slot, counted from January 1970; for ordinals outside the grid, a month before or after."""
        around = np.concatenate([np.array([_BEFORE]), self.months, np.array([_AFTER])])
        months: Int64 = around[np.searchsorted(self.offsets, ordinals, side="right")]
        return months


@dataclass(frozen=True, eq=False)
class ExpectedMonths:
    """What the calendar expects of each symbol in each month; arrays of the shape (symbols, months).

    Attributes:
        slots: how many bars.
        square_sum: Σ of the squares of their minute numbers within the month.
    """

    slots: Int64
    square_sum: Int64


def group_by_month(grid: SlotGrid) -> MonthlySlots:
    """Group the slots of a grid by month in UTC. A session that crosses the end of a month belongs to both."""
    month_of_slot = count_months(grid.starts)
    months, offsets = np.unique(month_of_slot, return_index=True)
    minutes = count_minutes_in_month(grid.starts)
    square_sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(minutes * minutes)])
    return MonthlySlots(months, np.append(offsets, grid.size).astype(np.int64), square_sums)


def count_expected(monthly: MonthlySlots, begins: Int64, ends: Int64) -> ExpectedMonths:
    """What is expected of symbols that are listed from ordinal ``begins`` until before ``ends``, shape (symbols,) each.

    A symbol that is not listed in any slot has ``begins`` ≥ ``ends``.
    """
    lives, life = np.unique(np.stack([begins, np.maximum(begins, ends)]), axis=1, return_inverse=True)
    first, last = (lives[row][:, None] for row in (0, 1))
    low, high = np.clip(monthly.offsets[:-1], first, last), np.clip(monthly.offsets[1:], first, last)
    square_sum = monthly.square_sums[high] - monthly.square_sums[low]
    return ExpectedMonths((high - low)[life.ravel()], square_sum[life.ravel()])


def select_proven(expected: ExpectedMonths, final: Int64, provisional: Int64, square_sum: Int64) -> Bools:
    """Which months have exactly the expected bars, all of them final, shape (symbols, months).

    Args:
        expected: what the calendar expects.
        final: how many final bars the month has, of this program and of others; shape (symbols, months), as the rest.
        provisional: how many that are not final.
        square_sum: Σ of the squares of the minute numbers of all its bars.
    """
    proven: Bools = (final == expected.slots) & (provisional == 0) & (square_sum == expected.square_sum)
    return proven


def count_months(epochs: Int64) -> Int64:
    """The month in UTC of each moment (epoch seconds), counted from January 1970; same shape."""
    months: Int64 = epochs.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    return months


def count_minutes_in_month(epochs: Int64) -> Int64:
    """Whole minutes from the begin of the month in UTC to each moment (epoch seconds); same shape."""
    begins = epochs.astype("datetime64[s]").astype("datetime64[M]").astype("datetime64[s]").astype(np.int64)
    minutes: Int64 = (epochs - begins) // _MINUTE_SECONDS
    return minutes
