"""What provisional bars said and what the final ones say that took their places; written by ``bars``."""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.postgres.connection import Connection

_FIELDS = ("open", "high", "low", "close", "volume")
COLUMNS = ("symbol_id", *(f"live_{name}" for name in _FIELDS), *(f"final_{name}" for name in _FIELDS))


def read_reconciliations(
    connection: Connection, symbols: Sequence[Symbol], interval: Interval, first: datetime, last: datetime
) -> pd.DataFrame:
    """One row a reconciled bar of the slots from ``first`` to ``last``, both inclusive; columns of ``COLUMNS``."""
    rows = connection.execute(
        "SELECT symbol_id, live_open, live_high, live_low, live_close, live_volume,"
        " final_open, final_high, final_low, final_close, final_volume"
        " FROM backfill.live_reconciliations WHERE symbol_id = ANY (%s) AND interval_type = %s AND timestamp BETWEEN %s AND %s",
        [[s.symbol_id for s in symbols], interval.name, first, last],
    ).fetchall()
    return pd.DataFrame(rows, columns=list(COLUMNS))
