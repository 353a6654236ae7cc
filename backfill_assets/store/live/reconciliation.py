"""The values of provisional bars beside those of the final bars that replaced them.

``store.bars.bar_writer`` writes them, ``quality.live_accuracy`` evaluates them.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.columns import Columns
from backfill_assets.store.postgres.connection import Connection

_FIELDS = ("open", "high", "low", "close", "volume")
COLUMNS = ("symbol_id", *(f"live_{name}" for name in _FIELDS), *(f"final_{name}" for name in _FIELDS))

_SELECT_RECONCILIATIONS = """
SELECT symbol_id, live_open, live_high, live_low, live_close, live_volume,
       final_open, final_high, final_low, final_close, final_volume
FROM backfill.live_reconciliations
WHERE symbol_id = ANY (%(ids)s) AND interval_type = %(interval)s AND timestamp BETWEEN %(first)s AND %(last)s
"""


def read_reconciliations(
    connection: Connection, symbols: Sequence[Symbol], interval: Interval, first: datetime, last: datetime
) -> Columns:
    """One row per reconciled bar of the slots from ``first`` to ``last``, both inclusive; columns of ``COLUMNS``.

    All are in double precision, volumes that are not known NaN.
    """
    values = {"ids": [s.symbol_id for s in symbols], "interval": interval.name, "first": first, "last": last}
    rows = connection.execute(_SELECT_RECONCILIATIONS, values).fetchall()
    columns = np.array(rows, np.float64).reshape(-1, len(COLUMNS)).T
    return Columns(dict(zip(COLUMNS, columns, strict=True)))
