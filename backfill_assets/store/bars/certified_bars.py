"""Reads the stored bars that certificates are about, and by which a look recognizes that bars were written.

Only bars that begin with a slot of the grid: those of extended hours are no part of a session. Of two bars of one slot,
under two spellings of the interval, this program's counts, then the one under the usual spelling.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.bars.canonical_rows import BarValues
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.store.bars.stored_values import select_volume
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.postgres.array_reader import read_columns, to_whole_unix_seconds
from backfill_assets.store.postgres.connection import Connection

_NO_WRITE = "-infinity"  # of another program's bar
# The pages of one symbol are adjacent, and a session is a small part of them.
_FORCE_INDEX_SCANS = "SET LOCAL enable_seqscan = off; SET LOCAL jit = off; SET LOCAL random_page_cost = 1.1"
_ALLOW_SEQUENTIAL_SCANS = "SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL jit = off"
_SELECT_BARS = f"""
SELECT d.symbol_id, d.timestamp AS stamp, coalesce(d.open_price::float8, 'NaN') AS open,
       coalesce(d.high_price::float8, 'NaN') AS high, coalesce(d.low_price::float8, 'NaN') AS low,
       coalesce(d.close_price::float8, 'NaN') AS close, coalesce(({select_volume("d")})::float8, 'NaN') AS volume,
       CASE WHEN d.source IS NULL THEN '{_NO_WRITE}' ELSE coalesce(d.fetched_at, '{_NO_WRITE}') END AS written,
       d.interval_type = %(spelling)s AS is_main_spelling
FROM market_data d
WHERE d.symbol_id = ANY (%(ids)s::int[]) AND d.interval_type = ANY (%(spellings)s)
  AND d.timestamp >= %(first)s AND d.timestamp <= %(last)s AND d.is_final IS NOT FALSE
"""  # noqa: S608 - a constant is inserted
_VALUES = ("open", "high", "low", "close", "volume")
_COLUMN_TYPES = {
    **{"symbol_id": ">i4", "stamp": ">i8"},
    **dict.fromkeys(_VALUES, ">f8"),
    **{"written": ">i8", "is_main_spelling": ">i1"},
}
# One pass over the window. Every write of this program changes fetched_at, a foreign one of its bars clears it, and of
# foreign bars the values tell.
_SELECT_SEEN = """
SELECT s.day, count(*) || ' ' || count(d.fetched_at) || ' ' || coalesce(extract(epoch FROM max(d.fetched_at)), 0)
       || ' ' || coalesce(bit_xor(hashtextextended(concat_ws(',', d.symbol_id, d.timestamp, d.open_price, d.high_price,
           d.low_price, d.close_price, d.volume, d.volume_known), 0)) FILTER (WHERE d.fetched_at IS NULL), 0)
FROM market_data d
JOIN unnest(%(days)s::date[], %(opens)s::timestamptz[], %(ends)s::timestamptz[]) AS s (day, opened, ended)
  ON d.timestamp >= s.opened AND d.timestamp < s.ended
WHERE d.symbol_id = ANY (%(ids)s::int[]) AND d.interval_type = ANY (%(spellings)s)
  AND d.timestamp >= %(first)s AND d.timestamp < %(end)s
GROUP BY s.day
"""


@dataclass(frozen=True, eq=False)
class StoredBars:
    """Stored final bars, by ticker and time.

    Attributes:
        symbol_ids: of the symbols, in the order of ``values.tickers``, shape (symbols,).
        values: the bars.
        writes: a hash of when this program wrote each bar, 0 for another program's; shape (bars,).
    """

    symbol_ids: Int64
    values: BarValues
    writes: NDArray[np.uint32]

    @property
    def bar_counts(self) -> Int64:
        """How many bars each symbol has, shape (symbols,)."""
        return np.bincount(self.values.ticker, minlength=len(self.symbol_ids))

    def select(self, chosen: Bools) -> "StoredBars":
        """Some of the bars, of the same symbols; ``chosen`` has the shape (bars,)."""
        arrays = {name: getattr(self.values, name)[chosen] for name in ("ticker", "start", *_VALUES)}
        return replace(self, values=replace(self.values, **arrays), writes=self.writes[chosen])


def read_certified_sessions(connection: Connection, tickers: Mapping[int, str], grid: SlotGrid) -> StoredBars:
    """The final bars of symbols in the slots of a grid. Changes planner settings of the transaction.

    Args:
        connection: with a transaction open.
        tickers: symbol_id → ticker; the symbols.
        grid: the slots; its interval is that of the bars.
    """
    ordered = sorted(tickers.items(), key=lambda item: item[1].encode())
    index = SymbolIndex(np.array([key for key, _ in ordered], np.int64))
    names = tuple(name for _, name in ordered)
    found = _read(connection, index, grid) if grid.size and index.size else _create_none()
    start = to_whole_unix_seconds(found["stamp"])
    is_in_slot = grid.find_ordinals(start) >= 0
    found, start = {name: values[is_in_slot] for name, values in found.items()}, start[is_in_slot]
    ticker = index.get_rows(found["symbol_id"]) if index.size else found["symbol_id"].astype(np.int64)
    is_own = found["written"] != np.iinfo(np.int64).min
    # The bar that counts comes first of its slot.
    order = np.lexsort((found["is_main_spelling"] == 0, ~is_own, start, ticker))
    ticker, start = ticker[order], start[order]
    is_first = np.r_[True, (np.diff(ticker) != 0) | (np.diff(start) != 0)][: len(order)]
    order, ticker, start = order[is_first], ticker[is_first], start[is_first]
    values = BarValues(ticker, names, start, **{name: found[name][order] for name in _VALUES})
    return StoredBars(index.symbol_ids, values, hash_writes(found["written"][order]))


def read_bars_seen(connection: Connection, symbol_ids: Collection[int], grid: SlotGrid) -> dict[date, str]:
    """For each session of a grid, a text that changes when this program writes a bar of the symbols, or another does.

    A bar that another program changes with the triggers disabled does not change it.
    """
    nothing = dict.fromkeys((session.day for session in grid.sessions), "")
    if not grid.size or not symbol_ids:
        return nothing
    connection.execute(_ALLOW_SEQUENTIAL_SCANS)
    values = {
        "ids": "{" + ",".join(map(str, sorted(symbol_ids))) + "}",
        "days": list(nothing),
        "opens": [session.rows_from for session in grid.sessions],
        "ends": [session.close for session in grid.sessions],
        "spellings": list(grid.interval.spellings),
        "first": grid.sessions[0].rows_from,
        "end": grid.sessions[-1].close,
    }
    return nothing | dict(connection.execute(_SELECT_SEEN, values).fetchall())


def hash_writes(written: NDArray[Any]) -> NDArray[np.uint32]:
    """A number of 32 bits for each time of a write (microseconds), 0 for none; equal times have equal numbers."""
    is_none = written == np.iinfo(np.int64).min
    # Fibonacci hashing: the upper bits of a product with 2^64 / golden ratio depend on all bits.
    mixed = (written.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    hashed = np.maximum(mixed, np.uint64(1)).astype(np.uint32)
    return np.where(is_none, np.uint32(0), hashed).astype(np.uint32)


def _read(connection: Connection, index: SymbolIndex, grid: SlotGrid) -> dict[str, NDArray[Any]]:
    connection.execute(_FORCE_INDEX_SCANS)
    values = {
        "ids": index.format_array(np.arange(index.size)),
        "spellings": list(grid.interval.spellings),
        "spelling": grid.interval.spellings[0],
        "first": grid.first_start,
        "last": grid.last_start,
    }
    return read_columns(connection, _SELECT_BARS, values, _COLUMN_TYPES)


def _create_none() -> dict[str, NDArray[Any]]:
    return {name: np.zeros(0, code[1:]) for name, code in _COLUMN_TYPES.items()}
