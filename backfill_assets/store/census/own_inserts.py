"""Counts bars that this program inserts, in place of the trigger: that takes a tenth of its time.

Only for an insertion of which it is certain that it stores all its rows or fails, as ``store.bars.new_bars`` has it.
Everything else that this program or another one writes is counted by the triggers.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.columns import Columns
from backfill_assets.store.census.months import COUNTS
from backfill_assets.store.postgres.connection import Connection

_SOURCE_SECONDS, _OTHER_SECONDS = {"1m": 60}, 300  # of a row, as the trigger has it
_MINUTE_SECONDS = 60
# The server keeps inserted rows for the trigger all the same: in memory, where a batch is larger than the usual 4 MB.
_LEAVE_OUT = "SET LOCAL backfill.inserts_are_counted = 'on'; SET LOCAL work_mem = '32MB'"
_COUNT_AGAIN = "SET LOCAL backfill.inserts_are_counted = 'off'; SET LOCAL work_mem TO DEFAULT"
_APPEND = f"""
INSERT INTO backfill.census_deltas (symbol_id, interval_type, month, {", ".join(COUNTS)})
SELECT symbol_id, %(spelling)s, (date 'epoch' + month * interval '1 month')::date, final, provisional, 0, sparse,
       squares
FROM unnest(%(symbol_id)s::bigint[], %(month)s::int[], %(final)s::int[], %(provisional)s::int[], %(sparse)s::int[],
            %(squares)s::bigint[]) AS t (symbol_id, month, final, provisional, sparse, squares)
"""  # noqa: S608 - only constants are inserted


@contextmanager
def counted_inserts(
    connection: Connection, bars: Columns, interval: Interval, spelling: str, source_interval: str
) -> Iterator[None]:
    """Insert ``bars`` within this, and nothing else; they are counted at its end, within the caller's transaction.

    Args:
        connection: with a transaction open.
        bars: ``symbol_id``, ``timestamp`` (epoch seconds UTC), ``source_rows``, ``is_final``, and ``may_insert``: False
            for those that are not inserted. Ascending by symbol and time they leave one delta a month.
        interval: of the bars.
        spelling: of their ``interval_type``.
        source_interval: of the rows that they were built from.
    """
    connection.execute(_LEAVE_OUT)
    yield
    connection.execute(_COUNT_AGAIN)
    fewest_rows = interval.seconds // 2 // _SOURCE_SECONDS.get(source_interval, _OTHER_SECONDS)
    connection.execute(_APPEND.encode(), {"spelling": spelling, **_count_runs(bars, fewest_rows)})


def _count_runs(bars: Columns, fewest_rows: int) -> dict[str, list[int]]:
    """The counts of each run of bars of one symbol and month; final ones of ``fewest_rows`` or less are sparse."""
    is_inserted, is_final = bars["may_insert"], bars["is_final"]
    symbol_id, stamp = bars["symbol_id"], bars["timestamp"]
    months = stamp.astype("datetime64[s]").astype("datetime64[M]")
    minute = (stamp - months.astype("datetime64[s]").astype(np.int64)) / _MINUTE_SECONDS
    month = months.astype(np.int64)
    begins = np.flatnonzero((np.diff(symbol_id, prepend=-1) != 0) | (np.diff(month, prepend=-1) != 0))
    values = {
        "final": is_inserted & is_final,
        "provisional": is_inserted & ~is_final,
        "sparse": is_inserted & is_final & (bars["source_rows"] <= fewest_rows),
        "squares": np.where(is_inserted, np.ceil(minute * minute), 0),
    }
    sums = {name: np.add.reduceat(column, begins, dtype=np.int64).tolist() for name, column in values.items()}
    return {"symbol_id": symbol_id[begins].tolist(), "month": month[begins].tolist(), **sums}
