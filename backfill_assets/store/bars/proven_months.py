"""Which months of a window hold exactly the bars of its slots, by the census, so that nobody has to look at them.

What else a month may have, such as a provisional bar, one built from few rows or one beside the slots, is left to
``gap_queries``. Bars of any month may be in doubt, which ``suspect_slots`` reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.expected_months import group_by_month
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.census.reader import read_census
from backfill_assets.store.postgres.connection import Connection

MIN_MONTHS = 2  # for fewer a look at the bars is as fast
_MOST = 0.5  # of the symbols; if more have to be looked at, all are, in one statement with the months beside


@dataclass(frozen=True, eq=False)
class ProvenMonths:
    """The months of a grid up to a slot, and who has exactly their bars.

    Attributes:
        bounds: the ordinal of each month's first slot, then the one after the last; shape (months + 1,).
        is_skipped: whether a symbol's bars of a month need no look, shape (symbols, months).
        unverified: how many of these bars are of other programs, shape (symbols, months).
    """

    bounds: Int64
    is_skipped: Bools
    unverified: Int64

    def count_external(self) -> Int64:
        """How many bars of other programs the months have that are not looked at, shape (symbols,)."""
        counts: Int64 = np.where(self.is_skipped, self.unverified, 0).sum(axis=1)
        return counts

    def iter_ranges(self) -> Iterator[tuple[int, int, Int64]]:
        """What has to be looked at: first ordinal, the one after the last, and the rows of the symbols."""
        rows = [np.flatnonzero(~skipped) for skipped in self.is_skipped.T]
        for _, group in groupby(range(len(rows)), key=lambda month: rows[month].tobytes()):
            months = list(group)
            if len(rows[months[0]]):
                yield int(self.bounds[months[0]]), int(self.bounds[months[-1] + 1]), rows[months[0]]


def find_proven_months(
    connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid, end: int
) -> ProvenMonths | None:
    """Read the census for the months of ``grid`` that end before the ordinal ``end``; None: there are too few.

    A month of which the grid lacks sessions is proven only if there are no bars of those.
    """
    monthly = group_by_month(grid)
    count = int(np.searchsorted(monthly.offsets, end, side="right")) - 1
    if count < MIN_MONTHS or not symbol_index.size:
        return None
    months, bounds = monthly.months[:count], monthly.offsets[: count + 1]
    first, last = months[[0, -1]].astype("datetime64[M]").astype("datetime64[D]").tolist()
    found = read_census(connection, symbol_index.symbol_ids.tolist(), grid.interval, first, last)
    expected, squares = np.diff(bounds), np.diff(monthly.square_sums[bounds])
    row, column = symbol_index.get_rows(found.symbol_id), np.searchsorted(months, found.month)
    column[np.append(months, -1)[column] != found.month] = -1  # no slot of the grid begins in that month
    is_exact = (column >= 0) & (found.final + found.unverified == expected[column]) & (found.provisional == 0)
    is_exact &= (found.minute_squares == squares[column]) & (found.sparse == 0)
    is_skipped = np.zeros((symbol_index.size, count), bool)
    unverified = np.zeros((symbol_index.size, count), np.int64)
    is_skipped[row[is_exact], column[is_exact]] = True
    unverified[row[is_exact], column[is_exact]] = found.unverified[is_exact]
    is_skipped[symbol_index.get_rows(found.uncounted)] = False
    is_skipped[:, is_skipped.mean(axis=0) < _MOST] = False
    return ProvenMonths(bounds, is_skipped, unverified)
