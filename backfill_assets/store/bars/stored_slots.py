"""What the table holds of a grid: a value. ``gap_queries`` reads it, ``read_slots`` derives it from bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from backfill_assets.market.arrays import Int8, Int64
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.store.postgres.array_reader import POSTGRES_EPOCH

NO_BAR = np.iinfo(np.int64).min  # in ``StoredSlots.newest``


@dataclass(frozen=True, eq=False)
class StoredSlots:
    """What the table holds of a grid. Slots are given as slot keys (see ``SlotGrid.get_slot_keys``).

    Attributes:
        absent: slots without any bar, ascending.
        provisional: slots whose bar is not final.
        suspect: slots whose final bar may be wrong: it is built from unusually few source rows or around a rejected
            one, the rows of its session end within it, before the close, or a doubt marks it.
        rejected: slots with a rejected row: suspect ones whose bar is built around it, and absent ones in which it
            shows a trade.
        doubted: the suspect slots that a doubt marks, ascending.
        recheck: how often each of those is requested again, a ``Recheck`` each.
        external: per symbol, how many slots have a bar that another program wrote, shape (symbols,).
        duplicates: how many slots have a bar under both spellings of the interval. Of the two, the one with a source
            counts.
        newest: each symbol's newest bar of the newest sessions or later, in a slot or not, as microseconds since 2000,
            ``NO_BAR`` without one, shape (symbols,); None: not looked at.
    """

    absent: Int64
    provisional: Int64
    suspect: Int64
    rejected: Int64
    doubted: Int64
    recheck: Int8
    external: Int64
    duplicates: int
    newest: Int64 | None = None

    def find_newest_bar(self, symbols: Sequence[Symbol]) -> datetime | None:
        """The ``newest`` of the active ones of ``symbols``, which are the grid's, UTC; None if none was found."""
        if self.newest is None:
            return None
        is_active = np.array([symbol.is_active for symbol in symbols], bool)
        newest = int(self.newest[is_active].max(initial=NO_BAR))
        return None if newest == NO_BAR else to_datetime(POSTGRES_EPOCH) + timedelta(microseconds=newest)
