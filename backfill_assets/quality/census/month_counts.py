"""The counts of the census beside what the calendar expects, as one line a symbol and month, and what follows of each.

A month is complete by proof if exactly the expected bars are there, all of them final. Of any other month a measurement
says what is missing, as far as it holds; until then every absent bar counts as missing.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.gaps.expected_months import ExpectedMonths, select_proven

UNKNOWN = -1  # in the place of a measured count


@dataclass(frozen=True, eq=False)
class MonthCounts:
    """What is stored of symbols and months beside what is expected; every array has the shape (symbols, months).

    Attributes:
        expected: what the calendar expects.
        bars: final bars of this program and of others.
        provisional: bars that are not final.
        square_sum: Σ of the squares of the minute numbers of all bars.
        measured_missing: what a measurement that still holds found missing; ``UNKNOWN`` without one.
        measured_explained: absent bars that it explained.
    """

    expected: ExpectedMonths
    bars: Int64
    provisional: Int64
    square_sum: Int64
    measured_missing: Int64
    measured_explained: Int64

    def select_first(self, months: int) -> "MonthCounts":
        """Those of the first ``months`` months."""
        expected = ExpectedMonths(self.expected.slots[:, :months], self.expected.square_sum[:, :months])
        tables = (self.bars, self.provisional, self.square_sum, self.measured_missing, self.measured_explained)
        return MonthCounts(expected, *(table[:, :months] for table in tables))

    @property
    def is_proven(self) -> Bools:
        """Whether a month has exactly the expected bars."""
        return select_proven(self.expected, self.bars, self.provisional, self.square_sum)

    @property
    def is_unmeasured(self) -> Bools:
        """Whether a month is neither proven nor measured, although bars are expected."""
        unmeasured: Bools = ~self.is_proven & (self.measured_missing == UNKNOWN) & (self.expected.slots > 0)
        return unmeasured

    @property
    def missing(self) -> Int64:
        """How many bars lack; of a month that is not measured, all that are absent."""
        absent = np.maximum(self.expected.slots - self.bars, 0)
        missing: Int64 = np.where(self.measured_missing == UNKNOWN, absent, self.measured_missing)
        return np.where(self.is_proven | (self.expected.slots == 0), 0, missing)

    @property
    def explained(self) -> Int64:
        """How many absent bars do not lack."""
        return np.where(self.is_proven, 0, self.measured_explained)


def to_months(days: Int64) -> Int64:
    """The month, counted from January 1970, of each day, in days since then; same shape."""
    months: Int64 = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return months


def to_first_day(month: int) -> date:
    """The first day of a month that is counted from January 1970."""
    return date(1970 + month // 12, month % 12 + 1, 1)
