"""Which slots of a window the table holds a bar for, and what kind of bar.

What the rest means is ``market.gaps``'s. The cost follows the window and not the history: one stretch of an index
for each ticker. It is read once to count the bars and to name the doubtful ones; then again to list absent slots,
among the newest sessions for everybody, among the older ones only where the count shows that some are absent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.slots import SlotGrid
from backfill_assets.store.columns import read_columns, whole_seconds_of
from backfill_assets.store.connection import Connection
from backfill_assets.store.symbols import Symbol

Int64 = NDArray[np.int64]
SUSPECT_SHARE = 0.5  # of its slot; a final bar whose source rows cover no more is suspect
NEWEST_SESSIONS = 3  # in which everybody may lack something: not over, not published, just published

# For one ticker's few pages a bitmap scan takes six times as long, and compiling the query longer than running it.
_PLAIN_INDEX_SCANS = "SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off"
_BARS = """
    SELECT d.timestamp, d.interval_type, d.source, d.is_final,
           d.source_rows * CASE d.source_interval WHEN '1m' THEN 60 ELSE 300 END AS covered
    FROM market_data d
    WHERE d.symbol_id = u.symbol_id AND d.interval_type = ANY (%(spellings)s)
      AND d.timestamp >= %(first)s AND d.timestamp <= %(last)s
      AND (d.timestamp = ANY (%(starts)s::timestamptz[])) IS TRUE -- so that it is hashed, and no index condition
"""
_BETTER_OF_TWO = "SELECT DISTINCT ON (timestamp) * FROM ({bars}) d ORDER BY timestamp, source IS NULL"
_KINDS = """
SELECT u.row, a.*
FROM unnest(%(ids)s::int[], %(rows)s::int[]) AS u (symbol_id, row) CROSS JOIN LATERAL (
    SELECT count(*),
           count(*) FILTER (WHERE m.timestamp < %(newest)s),
           count(*) FILTER (WHERE m.timestamp < %(newest)s AND m.interval_type = %(spelling)s),
           count(*) FILTER (WHERE m.source IS NULL),
           array_agg(extract(epoch FROM m.timestamp)::bigint) FILTER (WHERE m.is_final = false),
           array_agg(ARRAY[extract(epoch FROM m.timestamp)::bigint, m.covered]) FILTER (
               WHERE m.is_final AND m.covered <= %(half)s
                 AND NOT (m.timestamp = ANY (%(short)s::timestamptz[]) AND m.covered > %(half_of_short)s))
    FROM ({bars}) m
) a
"""
_KINDS_OF_ALL = _KINDS.format(bars=_BARS)
_KINDS_OF_DOUBLED = _KINDS.format(bars=_BETTER_OF_TWO.format(bars=_BARS))
_ABSENT = """
SELECT u.row, x.stamp
FROM unnest(%(ids)s::int[], %(rows)s::int[]) AS u (symbol_id, row) CROSS JOIN LATERAL (
    SELECT unnest(%(starts)s::timestamptz[]) AS stamp EXCEPT ALL
    SELECT d.timestamp FROM market_data d
    WHERE d.symbol_id = u.symbol_id AND d.interval_type = ANY (%(spellings)s)
      AND d.timestamp >= %(first)s AND d.timestamp <= %(last)s
) x
"""
_ABSENT_CODES = {"row": ">i4", "stamp": ">i8"}


@dataclass(frozen=True, eq=False)
class Holdings:
    """What the table holds of a grid. A ticker's slot is named row × slots of the grid + ordinal.

    Attributes:
        absent: slots without any bar, ascending.
        provisional: slots whose bar is not final.
        thin: slots whose final bar is built from unusually few source rows.
        unverified: per ticker, how many slots hold a bar that somebody else wrote.
        duplicates: how many slots both spellings of the interval hold; of two bars the one with provenance counts.
    """

    absent: Int64
    provisional: Int64
    thin: Int64
    unverified: Int64
    duplicates: int


def read_holdings(connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid) -> Holdings:
    """Look up every slot of ``grid`` for every ticker; ``row`` is a ticker's position in ``symbols``."""
    if not grid.size or not symbols:
        none = np.zeros(0, np.int64)
        return Holdings(none, none, none, np.zeros(len(symbols), np.int64), 0)
    connection.execute(_PLAIN_INDEX_SCANS)
    newest = int(grid.first_of[max(0, len(grid.sessions) - NEWEST_SESSIONS)])
    table = _Table(connection, np.array([s.symbol_id for s in symbols]), grid, newest)
    everybody = np.arange(len(symbols))
    counts, provisional, thin = table.kinds(_KINDS_OF_ALL, everybody)
    bars, older, older_in_one_spelling, unverified = counts.T
    mixed = (older_in_one_spelling > 0) & (older_in_one_spelling < older)
    lacking = np.flatnonzero((older < newest) | mixed)
    absent = np.concatenate([table.absent(everybody, newest, grid.size), table.absent(lacking, 0, newest)])
    twice = bars + np.bincount(absent // grid.size, minlength=len(symbols)) - grid.size
    doubled = np.flatnonzero(twice)
    if len(doubled):
        counts, *better = table.kinds(_KINDS_OF_DOUBLED, doubled)
        unverified[doubled] = counts[:, -1]
        provisional, thin = (
            np.concatenate([old[~np.isin(old // grid.size, doubled)], new])
            for old, new in zip((provisional, thin), better, strict=True)
        )
    absent.sort()
    return Holdings(absent, provisional, thin, unverified, int(twice.sum()))


@dataclass(frozen=True, eq=False)
class _Table:
    """The bars of some tickers (``ids``) over a grid; ``newest`` is the first slot of the newest sessions."""

    connection: Connection
    ids: Int64
    grid: SlotGrid
    newest: int

    def kinds(self, query: str, rows: Int64) -> tuple[Int64, Int64, Int64]:
        """Four counts of each ticker (see ``_KINDS``), shape (rows, 4), and its provisional and its thin slots."""
        grid, lengths = self.grid, self.grid.ends - self.grid.starts
        short = lengths < grid.interval.seconds
        values = self._values(rows, 0, grid.size) | {
            "newest": self._stamps(self.newest, self.newest + 1)[0],
            "spelling": grid.interval.name,
            "half": SUSPECT_SHARE * grid.interval.seconds,
            "short": [datetime.fromtimestamp(at, UTC) for at in grid.starts[short].tolist()],
            "half_of_short": SUSPECT_SHARE * int(lengths[short].max(initial=0)),
        }
        counts = np.zeros((len(self.ids), 4), np.int64)
        provisional: list[tuple[int, int]] = []
        few: list[tuple[int, int, int]] = []
        for row, *numbers, of_provisional, of_few in self.connection.execute(query, values):
            counts[row] = numbers
            provisional += [(row, at) for at in of_provisional or ()]
            few += [(row, at, covered) for at, covered in of_few or ()]
        thin = np.array(few, np.int64).reshape(-1, 3)
        ordinals = grid.ordinals_of(thin[:, 1])
        thin = thin[thin[:, 2] <= SUSPECT_SHARE * lengths[ordinals]]
        return counts[rows], self._keys(np.array(provisional, np.int64).reshape(-1, 2)), self._keys(thin)

    def absent(self, rows: Int64, begin: int, end: int) -> Int64:
        """The slots from ordinal ``begin`` to before ``end`` that have no bar in any spelling."""
        if not len(rows) or begin >= end:
            return np.zeros(0, np.int64)
        found = read_columns(self.connection, _ABSENT, self._values(rows, begin, end), _ABSENT_CODES)
        return found["row"] * np.int64(self.grid.size) + self.grid.ordinals_of(whole_seconds_of(found["stamp"]))

    def _values(self, rows: Int64, begin: int, end: int) -> dict[str, Any]:
        stamps = self._stamps(begin, end)
        return {
            "ids": self.ids[rows].tolist(),
            "rows": rows.tolist(),
            "starts": stamps,
            "first": stamps[0],
            "last": stamps[-1],
            "spellings": list(self.grid.interval.spellings),
        }

    def _stamps(self, begin: int, end: int) -> list[datetime]:
        return [datetime.fromtimestamp(at, UTC) for at in self.grid.starts[begin:end].tolist()]

    def _keys(self, found: Int64) -> Int64:
        return found[:, 0] * self.grid.size + self.grid.ordinals_of(found[:, 1])
