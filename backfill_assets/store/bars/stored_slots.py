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
from numpy.typing import NDArray

from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.store.bars.symbol_index import Places
from backfill_assets.store.postgres.array_reader import read_columns, whole_seconds_of
from backfill_assets.store.postgres.connection import Connection

Int64 = NDArray[np.int64]
SUSPECT_SHARE = 0.5  # of its slot; a final bar whose source rows cover no more is suspect
NEWEST_SESSIONS = 3

# For one ticker's few pages a bitmap scan takes six times as long, and compiling the query longer than running it.
_PLAIN_INDEX_SCANS = "SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off; SET LOCAL enable_seqscan = off"
# Pages of one ticker lie together; thought of as far apart, the whole table would be read for a few weeks of it.
_OR_EVERYTHING = "SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL random_page_cost = 1.1"
_BARS = """
    SELECT d.symbol_id, d.timestamp AS stamp, d.interval_type, d.source, d.is_final,
           d.source_rows * CASE d.source_interval WHEN '1m' THEN 60 ELSE 300 END AS covered
    FROM market_data d
    WHERE d.symbol_id {chosen} AND d.interval_type = ANY (%(spellings)s)
      AND d.timestamp >= %(first)s AND d.timestamp <= %(last)s
      AND (d.timestamp = ANY (%(starts)s::timestamptz[])) IS TRUE -- so that it is hashed, and no index condition
"""
_ALL = _BARS.format(chosen="= ANY (%(ids)s::int[])")
_ALL_BY_INDEX = _BARS.format(chosen="= ANY ((SELECT %(ids)s::int[])::int[])")  # which the planner does not look into
_BETTER_OF_TWO = f"""
    SELECT b.* FROM unnest(%(ids)s::int[]) AS u (symbol_id) CROSS JOIN LATERAL (
        SELECT DISTINCT ON (stamp) * FROM ({_BARS.format(chosen="= u.symbol_id")}) d ORDER BY stamp, source IS NULL
    ) b
"""  # noqa: S608 - nothing but the text above
_DOUBTFUL = """
    (NOT m.is_final OR m.is_final AND m.covered <= %(half)s
     AND NOT (m.stamp = ANY (%(short)s::timestamptz[]) AND m.covered > %(half_of_short)s))
"""
_COUNT = """
SELECT symbol_id, count(*)::int AS bars, count(*) FILTER (WHERE interval_type <> %(spelling)s)::int AS other,
       count(*) FILTER (WHERE source IS NULL)::int AS theirs, count(*) FILTER (WHERE {doubtful})::int AS doubtful
FROM ({bars}) m GROUP BY symbol_id
"""
_COUNT_CODES = dict.fromkeys(("symbol_id", "bars", "other", "theirs", "doubtful"), ">i4")
_LIST = "SELECT symbol_id, stamp, is_final, coalesce(covered, 0) AS covered FROM ({bars}) m WHERE {doubtful}"
_LIST_CODES = {"symbol_id": ">i4", "stamp": ">i8", "is_final": ">i1", "covered": ">i4"}
_ABSENT = """
SELECT u.symbol_id, x.stamp
FROM unnest(%(ids)s::int[]) AS u (symbol_id) CROSS JOIN LATERAL (
    SELECT unnest(%(starts)s::timestamptz[]) AS stamp EXCEPT ALL
    SELECT d.timestamp FROM market_data d
    WHERE d.symbol_id = u.symbol_id AND d.interval_type = ANY (%(spellings)s)
      AND d.timestamp >= %(first)s AND d.timestamp <= %(last)s
) x
"""
_ABSENT_CODES = {"symbol_id": ">i4", "stamp": ">i8"}


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


def read_holdings(connection: Connection, places: Places, grid: SlotGrid) -> Holdings:
    """Look up every slot of ``grid`` for every ticker."""
    newest = int(grid.first_of[max(0, len(grid.sessions) - NEWEST_SESSIONS)])
    connection.execute(_PLAIN_INDEX_SCANS)
    parts = [_Stretch(connection, places, grid, newest, grid.size, _ALL_BY_INDEX).read()]
    connection.execute(_OR_EVERYTHING)
    parts.append(_Stretch(connection, places, grid, 0, newest, _ALL).read())
    return Holdings(
        absent=np.sort(np.concatenate([part.absent for part in parts])),
        provisional=np.concatenate([part.provisional for part in parts]),
        thin=np.concatenate([part.thin for part in parts]),
        unverified=np.sum([part.unverified for part in parts], axis=0),
        duplicates=sum(part.duplicates for part in parts),
    )


@dataclass(frozen=True, eq=False)
class _Stretch:
    """The bars of a universe from ordinal ``begin`` to before ``end`` of a grid; ``bars`` is how they are read."""

    connection: Connection
    places: Places
    grid: SlotGrid
    begin: int
    end: int
    bars: str

    def read(self) -> Holdings:
        """What is there."""
        none = np.zeros(0, np.int64)
        if self.begin == self.end or not self.places.size:
            return Holdings(none, none, none, np.zeros(self.places.size, np.int64), 0)
        counts = self._counts(self.bars, np.arange(self.places.size))
        mixed = np.flatnonzero((counts["other"] > 0) & (counts["other"] < counts["bars"]))
        single = np.setdiff1d(np.flatnonzero(counts["doubtful"]), mixed)
        lists = [self._doubtful(self.bars, single)]
        duplicates = 0
        if len(mixed):
            better = self._counts(_BETTER_OF_TWO, mixed)
            duplicates = int((counts["bars"] - better["bars"])[mixed].sum())
            for name, values in better.items():
                counts[name][mixed] = values[mixed]
            lists.append(self._doubtful(_BETTER_OF_TWO, mixed[better["doubtful"][mixed] > 0]))
        provisional, thin = (np.concatenate(both) for both in zip(*lists, strict=True))
        lacking = np.flatnonzero(counts["bars"] < self.end - self.begin)
        return Holdings(self._absent(lacking), provisional, thin, counts["theirs"], duplicates)

    def _counts(self, bars: str, rows: Int64) -> dict[str, Int64]:
        """The counts of each of ``rows`` by name (see ``_COUNT``), shape (tickers,), 0 for the others."""
        query = _COUNT.format(bars=bars, doubtful=_DOUBTFUL)
        found = read_columns(self.connection, query, self._values(rows), _COUNT_CODES)
        row = self.places.rows(found.pop("symbol_id"))
        counts = {name: np.zeros(self.places.size, np.int64) for name in found}
        for name, values in found.items():
            counts[name][row] = values
        return counts

    def _doubtful(self, bars: str, rows: Int64) -> tuple[Int64, Int64]:
        """The provisional and the thin slots of ``rows``."""
        if not len(rows):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        query = _LIST.format(bars=bars, doubtful=_DOUBTFUL)
        found = read_columns(self.connection, query, self._values(rows), _LIST_CODES)
        ordinal = self.grid.ordinals_of(whole_seconds_of(found["stamp"]))
        slot = self.places.rows(found["symbol_id"]) * self.grid.size + ordinal
        final = found["is_final"].astype(bool)
        few = found["covered"] <= SUSPECT_SHARE * (self.grid.ends - self.grid.starts)[ordinal]
        return slot[~final], slot[final & few]

    def _absent(self, rows: Int64) -> Int64:
        """The slots of ``rows`` that have no bar in any spelling."""
        if not len(rows):
            return np.zeros(0, np.int64)
        found = read_columns(self.connection, _ABSENT, self._values(rows), _ABSENT_CODES)
        ordinal = self.grid.ordinals_of(whole_seconds_of(found["stamp"]))
        return self.places.rows(found["symbol_id"]) * self.grid.size + ordinal

    def _values(self, rows: Int64) -> dict[str, Any]:
        starts, lengths = self._stamps(slice(self.begin, self.end)), self.grid.ends - self.grid.starts
        short = lengths < self.grid.interval.seconds
        return {
            "ids": self.places.array(rows),
            "starts": starts,
            "first": starts[0],
            "last": starts[-1],
            "spellings": list(self.grid.interval.spellings),
            "spelling": self.grid.interval.name,
            "half": int(SUSPECT_SHARE * self.grid.interval.seconds),  # whole seconds, as ``covered`` is
            "short": self._stamps(short),
            "half_of_short": int(SUSPECT_SHARE * lengths[short].max(initial=0)),
        }

    def _stamps(self, chosen: Any) -> Sequence[datetime]:
        return [datetime.fromtimestamp(at, UTC) for at in self.grid.starts[chosen].tolist()]
