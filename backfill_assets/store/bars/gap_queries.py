"""Which slots of a window have a bar in the table, and what kind of bar.

Why final bars are suspect for another reason than few source rows is read in ``suspect_slots``;
``market.gaps.slot_states`` interprets the rest. The cost follows the window, not the history: one range of an index per
symbol, or the whole table where the window is most of it. Bars are counted first. Absent slots and doubtful bars are
listed only for symbols whose counts show some. The newest sessions are read separately: they may be absent for every
symbol (not over, not published, just published), and would make the whole year expensive.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from backfill_assets.market.arrays import Int8, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.store.bars.suspect_slots import choose_recheck, read_suspect_slots
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.postgres.array_reader import read_columns, to_whole_unix_seconds
from backfill_assets.store.postgres.connection import Connection

SUSPECT_SHARE = 0.5  # of its slot; a final bar whose source rows cover no more is suspect
NEWEST_SESSIONS = 3

# For the few pages of one symbol, a bitmap scan takes six times as long, and JIT compilation longer than the query.
_FORCE_INDEX_SCANS = "SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off; SET LOCAL enable_seqscan = off"
# The pages of one symbol are adjacent. With the usual page cost the planner reads the whole table for a few weeks.
_ALLOW_SEQUENTIAL_SCANS = "SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL random_page_cost = 1.1"
# Doubtful rows and sessions are few, but the planner may lack statistics for the columns that say so.
_FORCE_NESTED_LOOPS = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
_ALLOW_ALL_JOINS = "SET LOCAL enable_hashjoin TO DEFAULT; SET LOCAL enable_mergejoin TO DEFAULT"
_SELECT_BARS = """
    SELECT d.symbol_id, d.timestamp AS stamp, d.interval_type, d.source, d.is_final,
           d.source_rows * CASE d.source_interval WHEN '1m' THEN 60 ELSE 300 END AS covered
    FROM market_data d
    WHERE d.symbol_id {chosen} AND d.interval_type = ANY (%(spellings)s)
      AND d.timestamp >= %(first)s AND d.timestamp <= %(last)s
      -- IS TRUE keeps this from becoming an index condition; the array is hashed instead
      AND (d.timestamp = ANY (%(starts)s::timestamptz[])) IS TRUE
"""
_SELECT_ALL_BARS = _SELECT_BARS.format(chosen="= ANY (%(ids)s::int[])")
# The sub-select hides the array from the planner's estimates.
_SELECT_BARS_BY_INDEX = _SELECT_BARS.format(chosen="= ANY ((SELECT %(ids)s::int[])::int[])")
_SELECT_BEST_SPELLING = f"""
    SELECT b.* FROM unnest(%(ids)s::int[]) AS u (symbol_id) CROSS JOIN LATERAL (
        SELECT DISTINCT ON (stamp) *
        FROM ({_SELECT_BARS.format(chosen="= u.symbol_id")}) d ORDER BY stamp, source IS NULL
    ) b
"""  # noqa: S608 - only constants are inserted
_IS_PROVISIONAL_OR_SPARSE = """
    (NOT m.is_final OR m.is_final AND m.covered <= %(half)s
     AND NOT (m.stamp = ANY (%(short)s::timestamptz[]) AND m.covered > %(half_of_short)s))
"""
_COUNT_BARS = """
SELECT symbol_id, count(*)::int AS bars, count(*) FILTER (WHERE interval_type <> %(spelling)s)::int AS other,
       count(*) FILTER (WHERE source IS NULL)::int AS external, count(*) FILTER (WHERE {doubtful})::int AS doubtful
FROM ({bars}) m GROUP BY symbol_id
"""
_COUNT_TYPES = dict.fromkeys(("symbol_id", "bars", "other", "external", "doubtful"), ">i4")
_LIST_BARS = "SELECT symbol_id, stamp, is_final, coalesce(covered, 0) AS covered FROM ({bars}) m WHERE {doubtful}"
_LIST_TYPES = {"symbol_id": ">i4", "stamp": ">i8", "is_final": ">i1", "covered": ">i4"}
_LIST_ABSENT_SLOTS = """
SELECT u.symbol_id, x.stamp
FROM unnest(%(ids)s::int[]) AS u (symbol_id) CROSS JOIN LATERAL (
    SELECT unnest(%(starts)s::timestamptz[]) AS stamp EXCEPT ALL
    SELECT d.timestamp FROM market_data d
    WHERE d.symbol_id = u.symbol_id AND d.interval_type = ANY (%(spellings)s)
      AND d.timestamp >= %(first)s AND d.timestamp <= %(last)s
) x
"""
_ABSENT_TYPES = {"symbol_id": ">i4", "stamp": ">i8"}


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
    """

    absent: Int64
    provisional: Int64
    suspect: Int64
    rejected: Int64
    doubted: Int64
    recheck: Int8
    external: Int64
    duplicates: int


def read_stored_slots(connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid) -> StoredSlots:
    """Look up every slot of ``grid`` for every symbol. Changes planner settings of the transaction."""
    newest = int(grid.session_offsets[max(0, len(grid.sessions) - NEWEST_SESSIONS)])
    connection.execute(_FORCE_INDEX_SCANS)
    parts = [_SlotRange(connection, symbol_index, grid, newest, grid.size, _SELECT_BARS_BY_INDEX).read()]
    with force_nested_loops(connection):
        reasons = read_suspect_slots(connection, symbol_index, grid)
    connection.execute(_ALLOW_SEQUENTIAL_SCANS)
    parts.append(_SlotRange(connection, symbol_index, grid, 0, newest, _SELECT_ALL_BARS).read())
    absent = np.sort(np.concatenate([part.absent for part in parts]))
    otherwise_suspect = np.concatenate([*(part.suspect for part in parts), reasons.cut, reasons.rejected])
    return StoredSlots(
        absent=absent,
        provisional=np.concatenate([part.provisional for part in parts]),
        suspect=np.union1d(otherwise_suspect, reasons.doubted),
        rejected=np.union1d(reasons.rejected, np.intersect1d(absent, reasons.rejected_trades)),
        doubted=reasons.doubted,
        recheck=choose_recheck(reasons.doubt_stage, np.isin(reasons.doubted, otherwise_suspect)),
        external=np.sum([part.external for part in parts], axis=0),
        duplicates=sum(part.duplicates for part in parts),
    )


@contextmanager
def force_nested_loops(connection: Connection) -> Iterator[None]:
    """For statements that begin with few rows, as those of ``suspect_slots`` do."""
    connection.execute(_FORCE_NESTED_LOOPS)
    yield
    connection.execute(_ALLOW_ALL_JOINS)


@dataclass(frozen=True, eq=False)
class _SlotRange:
    """The bars of a universe from ordinal ``begin`` to before ``end`` of a grid, read with ``bars_query``."""

    connection: Connection
    symbol_index: SymbolIndex
    grid: SlotGrid
    begin: int
    end: int
    bars_query: str

    def read(self) -> StoredSlots:
        """What the table holds of the range; rejected rows, early ends and doubts are left out."""
        none = np.zeros(0, np.int64)
        if self.begin == self.end or not self.symbol_index.size:
            external = np.zeros(self.symbol_index.size, np.int64)
            return StoredSlots(none, none, none, none, none, none.astype(np.int8), external, 0)
        counts = self._count_bars(self.bars_query, np.arange(self.symbol_index.size))
        # Symbols with bars under both spellings may have two bars in a slot: read the better one.
        mixed_rows = np.flatnonzero((counts["other"] > 0) & (counts["other"] < counts["bars"]))
        single_rows = np.setdiff1d(np.flatnonzero(counts["doubtful"]), mixed_rows)
        listed = [self._list_provisional_and_sparse(self.bars_query, single_rows)]
        duplicates = 0
        if len(mixed_rows):
            best_counts = self._count_bars(_SELECT_BEST_SPELLING, mixed_rows)
            duplicates = int((counts["bars"] - best_counts["bars"])[mixed_rows].sum())
            for name, values in best_counts.items():
                counts[name][mixed_rows] = values[mixed_rows]
            doubtful_rows = mixed_rows[best_counts["doubtful"][mixed_rows] > 0]
            listed.append(self._list_provisional_and_sparse(_SELECT_BEST_SPELLING, doubtful_rows))
        provisional, sparse = (np.concatenate(both) for both in zip(*listed, strict=True))
        incomplete_rows = np.flatnonzero(counts["bars"] < self.end - self.begin)
        absent, none = self._list_absent(incomplete_rows), np.zeros(0, np.int64)
        no_recheck = none.astype(np.int8)
        return StoredSlots(absent, provisional, sparse, none, none, no_recheck, counts["external"], duplicates)

    def _count_bars(self, bars_query: str, rows: Int64) -> dict[str, Int64]:
        """The counts of ``rows`` by name (see ``_COUNT_BARS``), shape (symbols,), 0 for the other symbols."""
        query = _COUNT_BARS.format(bars=bars_query, doubtful=_IS_PROVISIONAL_OR_SPARSE)
        found = read_columns(self.connection, query, self._build_parameters(rows), _COUNT_TYPES)
        row = self.symbol_index.get_rows(found.pop("symbol_id"))
        counts = {name: np.zeros(self.symbol_index.size, np.int64) for name in found}
        for name, values in found.items():
            counts[name][row] = values
        return counts

    def _list_provisional_and_sparse(self, bars_query: str, rows: Int64) -> tuple[Int64, Int64]:
        """The slots of ``rows`` whose bar is provisional, and those whose final bar has few source rows."""
        if not len(rows):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        query = _LIST_BARS.format(bars=bars_query, doubtful=_IS_PROVISIONAL_OR_SPARSE)
        found = read_columns(self.connection, query, self._build_parameters(rows), _LIST_TYPES)
        ordinal = self.grid.find_ordinals(to_whole_unix_seconds(found["stamp"]))
        key = self.grid.get_slot_keys(self.symbol_index.get_rows(found["symbol_id"]), ordinal)
        is_final = found["is_final"].astype(bool)
        is_sparse = found["covered"] <= SUSPECT_SHARE * (self.grid.ends - self.grid.starts)[ordinal]
        return key[~is_final], key[is_final & is_sparse]

    def _list_absent(self, rows: Int64) -> Int64:
        """The slots of ``rows`` that have no bar under any spelling."""
        if not len(rows):
            return np.zeros(0, np.int64)
        found = read_columns(self.connection, _LIST_ABSENT_SLOTS, self._build_parameters(rows), _ABSENT_TYPES)
        ordinal = self.grid.find_ordinals(to_whole_unix_seconds(found["stamp"]))
        return self.grid.get_slot_keys(self.symbol_index.get_rows(found["symbol_id"]), ordinal)

    def _build_parameters(self, rows: Int64) -> dict[str, Any]:
        starts, lengths = self._to_datetimes(slice(self.begin, self.end)), self.grid.ends - self.grid.starts
        short = lengths < self.grid.interval.seconds
        return {
            "ids": self.symbol_index.format_array(rows),
            "starts": starts,
            "first": starts[0],
            "last": starts[-1],
            "spellings": list(self.grid.interval.spellings),
            "spelling": self.grid.interval.name,
            "half": int(SUSPECT_SHARE * self.grid.interval.seconds),  # whole seconds, as ``covered`` is
            "short": self._to_datetimes(short),
            "half_of_short": int(SUSPECT_SHARE * lengths[short].max(initial=0)),
        }

    def _to_datetimes(self, selection: Any) -> Sequence[datetime]:
        return [to_datetime(epoch) for epoch in self.grid.starts[selection].tolist()]
