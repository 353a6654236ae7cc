"""Which slots of a window the table holds a bar for, and what kind of bar.

``market.gaps.slot_states`` interprets the rest. The cost follows the window and not the history: one range of an
index for each ticker, or the whole table where the window is most of it. Bars are counted first; absent slots and
doubtful bars are listed only for tickers whose counts show some. The newest sessions, which may be absent for every
ticker (not over, not published, just published), are read separately, so that they do not make the whole year dear.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.postgres.array_reader import read_columns, to_whole_unix_seconds
from backfill_assets.store.postgres.connection import Connection

SUSPECT_SHARE = 0.5  # of its slot; a final bar whose source rows cover no more is suspect
NEWEST_SESSIONS = 3

# For one ticker's few pages a bitmap scan takes six times as long, and compiling the query longer than running it.
_FORCE_INDEX_SCANS = "SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off; SET LOCAL enable_seqscan = off"
# Pages of one ticker lie together; thought of as far apart, the whole table would be read for a few weeks of it.
_ALLOW_SEQUENTIAL_SCANS = "SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL random_page_cost = 1.1"
_SELECT_BARS = """
    SELECT d.symbol_id, d.timestamp AS stamp, d.interval_type, d.source, d.is_final,
           d.source_rows * CASE d.source_interval WHEN '1m' THEN 60 ELSE 300 END AS covered
    FROM market_data d
    WHERE d.symbol_id {chosen} AND d.interval_type = ANY (%(spellings)s)
      AND d.timestamp >= %(first)s AND d.timestamp <= %(last)s
      AND (d.timestamp = ANY (%(starts)s::timestamptz[])) IS TRUE -- so that it is hashed, and no index condition
"""
_SELECT_ALL_BARS = _SELECT_BARS.format(chosen="= ANY (%(ids)s::int[])")
_SELECT_BARS_BY_INDEX = _SELECT_BARS.format(
    chosen="= ANY ((SELECT %(ids)s::int[])::int[])"
)  # which the planner does not look into
_SELECT_BEST_SPELLING = f"""
    SELECT b.* FROM unnest(%(ids)s::int[]) AS u (symbol_id) CROSS JOIN LATERAL (
        SELECT DISTINCT ON (stamp) * FROM ({_SELECT_BARS.format(chosen="= u.symbol_id")}) d ORDER BY stamp, source IS NULL
    ) b
"""  # noqa: S608 - nothing but the text above
_IS_PROVISIONAL_OR_SPARSE = """
    (NOT m.is_final OR m.is_final AND m.covered <= %(half)s
     AND NOT (m.stamp = ANY (%(short)s::timestamptz[]) AND m.covered > %(half_of_short)s))
"""
_COUNT_BARS = """
SELECT symbol_id, count(*)::int AS bars, count(*) FILTER (WHERE interval_type <> %(spelling)s)::int AS other,
       count(*) FILTER (WHERE source IS NULL)::int AS theirs, count(*) FILTER (WHERE {doubtful})::int AS doubtful
FROM ({bars}) m GROUP BY symbol_id
"""
_COUNT_TYPES = dict.fromkeys(("symbol_id", "bars", "other", "theirs", "doubtful"), ">i4")
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
    sparse: Int64
    unverified: Int64
    duplicates: int


def read_stored_slots(connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid) -> StoredSlots:
    """Look up every slot of ``grid`` for every ticker."""
    newest = int(grid.session_offsets[max(0, len(grid.sessions) - NEWEST_SESSIONS)])
    connection.execute(_FORCE_INDEX_SCANS)
    parts = [_SlotRange(connection, symbol_index, grid, newest, grid.size, _SELECT_BARS_BY_INDEX).read()]
    connection.execute(_ALLOW_SEQUENTIAL_SCANS)
    parts.append(_SlotRange(connection, symbol_index, grid, 0, newest, _SELECT_ALL_BARS).read())
    return StoredSlots(
        absent=np.sort(np.concatenate([part.absent for part in parts])),
        provisional=np.concatenate([part.provisional for part in parts]),
        sparse=np.concatenate([part.sparse for part in parts]),
        unverified=np.sum([part.unverified for part in parts], axis=0),
        duplicates=sum(part.duplicates for part in parts),
    )


@dataclass(frozen=True, eq=False)
class _SlotRange:
    """The bars of a universe from ordinal ``begin`` to before ``end`` of a grid; ``bars`` is how they are read."""

    connection: Connection
    symbol_index: SymbolIndex
    grid: SlotGrid
    begin: int
    end: int
    bars_query: str

    def read(self) -> StoredSlots:
        """What is there."""
        none = np.zeros(0, np.int64)
        if self.begin == self.end or not self.symbol_index.size:
            return StoredSlots(none, none, none, np.zeros(self.symbol_index.size, np.int64), 0)
        counts = self._count_bars(self.bars_query, np.arange(self.symbol_index.size))
        mixed_rows = np.flatnonzero((counts["other"] > 0) & (counts["other"] < counts["bars"]))
        single_rows = np.setdiff1d(np.flatnonzero(counts["doubtful"]), mixed_rows)
        listed = [self._list_provisional_and_sparse(self.bars_query, single_rows)]
        duplicates = 0
        if len(mixed_rows):
            best_counts = self._count_bars(_SELECT_BEST_SPELLING, mixed_rows)
            duplicates = int((counts["bars"] - best_counts["bars"])[mixed_rows].sum())
            for name, values in best_counts.items():
                counts[name][mixed_rows] = values[mixed_rows]
            listed.append(
                self._list_provisional_and_sparse(
                    _SELECT_BEST_SPELLING, mixed_rows[best_counts["doubtful"][mixed_rows] > 0]
                )
            )
        provisional, thin = (np.concatenate(both) for both in zip(*listed, strict=True))
        incomplete_rows = np.flatnonzero(counts["bars"] < self.end - self.begin)
        return StoredSlots(self._list_absent(incomplete_rows), provisional, thin, counts["theirs"], duplicates)

    def _count_bars(self, bars_query: str, rows: Int64) -> dict[str, Int64]:
        """The counts of each of ``rows`` by name (see ``_COUNT``), shape (tickers,), 0 for the others."""
        query = _COUNT_BARS.format(bars=bars_query, doubtful=_IS_PROVISIONAL_OR_SPARSE)
        found = read_columns(self.connection, query, self._build_parameters(rows), _COUNT_TYPES)
        row = self.symbol_index.get_rows(found.pop("symbol_id"))
        counts = {name: np.zeros(self.symbol_index.size, np.int64) for name in found}
        for name, values in found.items():
            counts[name][row] = values
        return counts

    def _list_provisional_and_sparse(self, bars_query: str, rows: Int64) -> tuple[Int64, Int64]:
        """The provisional and the thin slots of ``rows``."""
        if not len(rows):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        query = _LIST_BARS.format(bars=bars_query, doubtful=_IS_PROVISIONAL_OR_SPARSE)
        found = read_columns(self.connection, query, self._build_parameters(rows), _LIST_TYPES)
        ordinal = self.grid.find_ordinals(to_whole_unix_seconds(found["stamp"]))
        slot = self.grid.get_slot_keys(self.symbol_index.get_rows(found["symbol_id"]), ordinal)
        is_final = found["is_final"].astype(bool)
        is_sparse = found["covered"] <= SUSPECT_SHARE * (self.grid.ends - self.grid.starts)[ordinal]
        return slot[~is_final], slot[is_final & is_sparse]

    def _list_absent(self, rows: Int64) -> Int64:
        """The slots of ``rows`` that have no bar in any spelling."""
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
        return [datetime.fromtimestamp(at, UTC) for at in self.grid.starts[selection].tolist()]
