"""When bars became known to the store and were revised, for those of which it had another version before."""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.store.bars.bar_stream import BarQuery
from backfill_assets.store.bars.bar_versions import SELECT_FIRST_KNOWN_AND_REVISED
from backfill_assets.store.postgres.array_reader import read_columns
from backfill_assets.store.postgres.connection import Connection

_SELECT_HISTORY = f"""
SELECT v.row, v.stamp, v.first_known, coalesce(v.revised, '-infinity') AS revised
FROM ({SELECT_FIRST_KNOWN_AND_REVISED}) v
"""  # noqa: S608 - a constant is inserted
_COLUMN_TYPES = dict.fromkeys(("row", "stamp", "first_known", "revised"), ">i8")


@dataclass(frozen=True, eq=False)
class BarHistory:
    """Bars that had another version before, as parallel arrays; moments in microseconds since 2000.

    Attributes:
        row: position in the symbols of the query.
        stamp: slot start.
        first_known: when the store first had the bar, ``NEVER`` if unknown.
        revised: when the newest revision replaced another version, ``NEVER`` without one.
    """

    row: Int64
    stamp: Int64
    first_known: Int64
    revised: Int64


def read_bar_history(connection: Connection, query: BarQuery) -> BarHistory:
    """What the store knows of earlier versions of the bars that ``query`` reads, by slot and whatever spelling."""
    if query.is_empty:
        return BarHistory(*(np.zeros(0, np.int64) for _ in _COLUMN_TYPES))
    return BarHistory(**read_columns(connection, _SELECT_HISTORY, query.parameters, _COLUMN_TYPES))
