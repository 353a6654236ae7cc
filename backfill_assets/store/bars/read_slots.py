"""Which slots of a window have a bar, derived from bars that were read already: the table is not read a second time.

The same rules as in ``gap_queries``, which looks into the table. Here the caller has the bars: those of the table, or
those that it held at an earlier moment.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.equal_runs import sort_distinct
from backfill_assets.market.gaps.coverage import ExternalBars
from backfill_assets.store.bars.gap_queries import SUSPECT_SHARE, force_nested_loops
from backfill_assets.store.bars.stored_slots import StoredSlots
from backfill_assets.store.bars.suspect_slots import choose_recheck, read_suspect_slots
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.postgres.connection import Connection


@dataclass(frozen=True, eq=False)
class ReadSlots:
    """Bars that were read, at most one a slot, as parallel arrays of the shape (bars,).

    Attributes:
        slot_key: of each bar (see ``SlotGrid.get_slot_keys``), ascending.
        is_external: whether another program wrote it.
        is_provisional: whether it is not final.
        covered: seconds that its source rows cover; 0 where that is not known.
        duplicates: how many slots had a second bar, under another spelling of the interval.
    """

    slot_key: Int64
    is_external: Bools
    is_provisional: Bools
    covered: Int64
    duplicates: int = 0

    @property
    def external_bars(self) -> ExternalBars:
        """The external ones, without fingerprints."""
        key = self.slot_key[self.is_external]
        return ExternalBars(key, np.zeros(len(key), np.int64))


def derive_stored_slots(
    connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid, bars: ReadSlots
) -> StoredSlots:
    """What ``bars`` are of a grid, with what rejects, evidence and doubts say of them.

    Changes planner settings of the transaction.
    """
    with force_nested_loops(connection):
        reasons = read_suspect_slots(connection, symbol_index, grid)
    row, ordinal = grid.split_slot_keys(bars.slot_key)
    length = (grid.ends - grid.starts)[ordinal]
    is_own_final = ~bars.is_external & ~bars.is_provisional
    is_sparse = is_own_final & (bars.covered > 0) & (bars.covered <= SUSPECT_SHARE * length)
    final = bars.slot_key[is_own_final]
    cut, rejected = (key[is_in_ascending(key, final)] for key in (reasons.cut, reasons.rejected))
    is_doubted = is_in_ascending(reasons.doubted, final)
    doubted, stage = reasons.doubted[is_doubted], reasons.doubt_stage[is_doubted]
    otherwise_suspect = np.concatenate([bars.slot_key[is_sparse], cut, rejected])
    is_absent = np.ones(symbol_index.size * grid.size, bool)
    is_absent[bars.slot_key] = False
    absent = np.flatnonzero(is_absent)
    return StoredSlots(
        absent=absent,
        provisional=bars.slot_key[bars.is_provisional],
        suspect=sort_distinct(otherwise_suspect, doubted),
        rejected=sort_distinct(rejected, reasons.rejected_trades[is_absent[reasons.rejected_trades]]),
        doubted=doubted,
        recheck=choose_recheck(stage, np.isin(doubted, otherwise_suspect)),
        external=np.bincount(row[bars.is_external], minlength=symbol_index.size),
        duplicates=bars.duplicates,
    )


def is_in_ascending(values: Int64, ascending: Int64) -> Bools:
    """Whether each value is one of ``ascending``; faster than ``numpy.isin`` for few values among millions."""
    if not len(ascending):
        return np.zeros(len(values), bool)
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    found: Bools = ascending[place] == values
    return found
