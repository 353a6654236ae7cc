"""Reading what was asked and what came, as arrays and not row by row: a year of 5,000 tickers is 1.2 million rows."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.evidence import Asked
from backfill_assets.market.slots import SlotGrid
from backfill_assets.store.connection import Connection
from backfill_assets.store.multiranges import expand
from backfill_assets.store.symbols import Symbol

_OF = """
FROM backfill.evidence
WHERE symbol_id = ANY (%(ids)s) AND interval_type = %(interval)s AND source_interval = %(source)s
  AND session_day BETWEEN %(first)s AND %(last)s
"""
_ASKED = """
COPY (SELECT symbol_id, session_day - date '2000-01-01', extract(epoch FROM asked_at)::bigint, asks,
             coalesce(extract(epoch FROM silent_since)::float8, 'NaN'), published::int::smallint,
             coalesce(extract(epoch FROM reached)::bigint, 0) {of}) TO STDOUT (FORMAT BINARY)
"""
_WITHHELD = "SELECT symbol_id, session_day - date '2000-01-01', withheld::text {of} AND NOT isempty(withheld)"
_FIELDS = (
    *(("symbol_id", ">i4"), ("day", ">i4"), ("asked_at", ">i8"), ("asks", ">i4")),
    *(("silent_since", ">f8"), ("published", ">i2"), ("reached", ">i8")),
)
_ROW = np.dtype([("fields", ">i2"), *((f, t) for n, c in _FIELDS for f, t in ((f"{n}_size", ">i4"), (n, c)))])
_HEAD, _TAIL = 19, 2  # bytes around the rows
_EPOCH = date(2000, 1, 1)
Int64 = NDArray[np.int64]


def read_asked(connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid, values: Mapping[str, Any]) -> Asked:
    """What is known of ``symbols`` in the sessions of ``grid``; ``values`` are the query's parameters."""
    raw = bytearray()
    with connection.cursor().copy(_ASKED.format(of=_OF).encode(), values) as copy:
        for part in copy:
            raw += part
    rows = np.frombuffer(raw, _ROW, offset=_HEAD, count=(len(raw) - _HEAD - _TAIL) // _ROW.itemsize)
    row, session = _positions(rows["symbol_id"].astype(np.int64), rows["day"].astype(np.int64), symbols, grid)
    rows, row, session = rows[session >= 0], row[session >= 0], session[session >= 0]
    entry, ordinal = _withheld(connection, symbols, grid, values, row, session)
    return Asked(
        row=row,
        session=session,
        asked_at=rows["asked_at"].astype(np.int64),
        asks=rows["asks"].astype(np.int64),
        silent_since=rows["silent_since"].astype(np.float64),
        published=rows["published"] == 1,
        reached=rows["reached"].astype(np.int64),
        withheld_entry=entry,
        withheld_ordinal=ordinal,
    )


def _withheld(
    connection: Connection,
    symbols: Sequence[Symbol],
    grid: SlotGrid,
    values: Mapping[str, Any],
    row: Int64,
    session: Int64,
) -> tuple[Int64, Int64]:
    """The entry and the slot in the grid of everything that was asked for and did not come."""
    found = connection.execute(_WITHHELD.format(of=_OF).encode(), values).fetchall()
    ids, days = (np.array([f[at] for f in found], np.int64) for at in (0, 1))
    of_row, of_session = _positions(ids, days, symbols, grid)
    kept = np.flatnonzero(of_session >= 0)
    owner, within = expand([found[at][2] for at in kept.tolist()])
    entries = np.full((len(symbols), len(grid.sessions)), -1, np.int64)
    entries[row, session] = np.arange(len(row))
    entry = entries[of_row[kept], of_session[kept]][owner]
    return entry, within + grid.first_of[of_session[kept][owner]]


def _positions(ids: Int64, days: Int64, symbols: Sequence[Symbol], grid: SlotGrid) -> tuple[Int64, Int64]:
    """Positions of tickers and sessions; −1 for a day that is no session of the grid."""
    known = np.array([s.symbol_id for s in symbols], np.int64)
    order = np.argsort(known)
    row = order[np.searchsorted(known[order], ids)]
    starts = np.array([(s.day - _EPOCH) // timedelta(days=1) for s in grid.sessions], np.int64)
    session = np.minimum(np.searchsorted(starts, days), len(starts) - 1)
    return row.astype(np.int64), np.where(starts[session] == days, session, -1)
