"""The stored bars of a read: at most one a slot, as columns, all of one state of the database.

Whether a slot may be read as it is, is decided by the caller, who has the coverage; ``ReadSlots`` is derived from the
columns here. How bars get out of the server is in ``bar_stream``; ``bar_factors`` adjusts them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.bars.bar_history import BarHistory, read_bar_history
from backfill_assets.store.bars.bar_stream import (
    HASH_SHIFT,
    IS_MAIN_SPELLING,
    IS_OWN,
    IS_PROVISIONAL,
    NEVER,
    PRICES,
    ROWS_MASK,
    ROWS_SHIFT,
    BarBatch,
    BarQuery,
    read_origin,
    read_volume_type,
    stream_bars,
    stream_side_by_side,
    to_moments,
    to_postgres_moments,
)
from backfill_assets.store.postgres.array_reader import to_whole_unix_seconds
from backfill_assets.store.postgres.connection import Connection

VALUES = (*PRICES, "volume")
MOMENTS = ("first_known", "revised")
NO_ORIGIN = -1  # another program's bar
_FIXED_TYPES: dict[str, Any] = {
    "slot_key": np.int64,
    "origin": np.int16,
    "source_rows": np.int16,
    "is_provisional": bool,
}
_NOT_A_TIME = np.datetime64("NaT", "us")
_SECONDS_OF_ROWS = {"1m": 60}  # what a source row covers; 5m and unknown intervals: 300
_SECONDS_OF_A_ROW = 300


@dataclass(frozen=True, eq=False)
class BarTable:
    """Bars by slot, at most one each; parallel arrays of the shape (bars,), ordered by slot key.

    Attributes:
        slot_key: the key of each bar's slot, whose row is the position in the symbols read.
        values: column → its values: ``open`` to ``close`` in double precision, NaN where another program stored null;
            ``volume`` as int64 with ``NO_VOLUME`` where it is not known, or in double precision with NaN there, if
            the table's column has decimals or it was adjusted since. Only the columns that were asked for.
        origin: position in ``origins``, ``NO_ORIGIN`` for a bar of another program.
        origins: source and source interval of our bars.
        source_rows: how many of the vendor's rows each bar was built from, 0 if unknown.
        is_provisional: whether it is ours and not final.
        first_known: when the store first had the bar (``datetime64[us]``, UTC); NaT for bars of other programs, and if
            neither moment was asked for.
        revised: when the newest revision replaced it; NaT without one, and if neither moment was asked for.
        duplicates: how many slots had a second bar under another spelling of the interval. Ours counts, then the one
            under the usual spelling.
        outside: how many bars of the range begin with no slot, as those of extended hours do; they are left out.
    """

    slot_key: Int64
    values: Mapping[str, NDArray[Any]]
    origin: NDArray[np.int16]
    origins: tuple[tuple[str, str | None], ...]
    source_rows: NDArray[np.int16]
    is_provisional: Bools
    first_known: NDArray[np.datetime64]
    revised: NDArray[np.datetime64]
    duplicates: int = 0
    outside: int = 0

    def __len__(self) -> int:
        return len(self.slot_key)

    @property
    def is_external(self) -> Bools:
        """Whether another program wrote each bar."""
        return np.equal(self.origin, NO_ORIGIN)

    @property
    def covered(self) -> Int64:
        """Seconds that each bar's source rows cover, 0 where that is not known."""
        lengths = [_SECONDS_OF_ROWS.get(interval or "", _SECONDS_OF_A_ROW) for _, interval in self.origins]
        seconds: Int64 = self.source_rows * np.array([*lengths, 0], np.int64)[self.origin]
        return seconds

    def select(self, chosen: Int64 | Bools, slot_key: Int64 | None = None) -> "BarTable":
        """Some of the bars, by position or mask; under other slot keys if given (in the order of ``chosen``)."""
        return BarTable(
            slot_key=self.slot_key[chosen] if slot_key is None else slot_key,
            values={name: values[chosen] for name, values in self.values.items()},
            origin=self.origin[chosen],
            origins=self.origins,
            source_rows=self.source_rows[chosen],
            is_provisional=self.is_provisional[chosen],
            first_known=self.first_known[chosen],
            revised=self.revised[chosen],
            duplicates=self.duplicates,
            outside=self.outside,
        )


def read_bar_table(
    connection: Connection,
    symbols: Sequence[Symbol],
    grid: SlotGrid,
    *,
    known_at: datetime | None = None,
    with_others: bool = False,
    columns: Collection[str] = (*VALUES, *MOMENTS),
    second: Connection | None = None,
) -> BarTable:
    """The stored bars of some symbols and slots, also provisional, suspect and other programs' ones.

    Args:
        connection: with a transaction open, of one snapshot if anything else is read that must agree
            (``Database.snapshot``). Planner settings of the transaction change; it has failed after an error.
        symbols: the symbols, in any order; a row of a slot key is the position here.
        grid: the slots; its interval is that of the bars, in any of its spellings.
        known_at: the moment at which the store held the bars; None: now.
        with_others: with ``known_at``: also the bars of other programs, of which nothing says when they came.
        columns: those of ``VALUES`` and ``MOMENTS`` that are needed. Others are not read.
        second: a connection with the same snapshot, which reads half of the symbols meanwhile (``joined_snapshot``).
    """
    query = BarQuery(
        symbol_ids=[symbol.symbol_id for symbol in symbols],
        interval=grid.interval,
        slots=grid.starts,
        known_at=known_at,
        with_others=with_others,
        values=[name for name in VALUES if name in columns],
        has_moments=not set(MOMENTS).isdisjoint(columns),
    )
    builder = _Builder(query, grid)
    batches = stream_bars(connection, query) if second is None else stream_side_by_side(connection, second, query)
    for batch in batches:
        builder.add(batch)
    return builder.build(connection)


@dataclass(eq=False)
class _Builder:
    """Writes batches into columns that have room for a bar in each slot; what is not written to takes no memory."""

    query: BarQuery
    grid: SlotGrid
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    size: int = 0
    codes: dict[int, int] = field(default_factory=dict)  # hash of an origin -> position in origins
    examples: list[tuple[int, int]] = field(default_factory=list)  # symbol_id and stamp of a bar of each origin
    duplicates: int = 0
    outside: int = 0

    def add(self, batch: BarBatch) -> None:
        """Add the bars that have a slot, one for each slot."""
        starts = to_postgres_moments(self.grid.starts)
        ordinal = np.minimum(np.searchsorted(starts, batch.stamp), len(starts) - 1)
        is_slot = starts[ordinal] == batch.stamp
        key = self.grid.get_slot_keys(batch.row, ordinal)
        if not is_slot.all() or not (np.diff(key) > 0).all():
            chosen = _choose_bars(key, is_slot, batch.tag)
            self.outside += len(key) - int(is_slot.sum())
            self.duplicates += int(is_slot.sum()) - len(chosen)
            key, batch = key[chosen], batch.select(chosen)
        is_own = (batch.tag & IS_OWN).astype(bool)
        columns: dict[str, NDArray[Any]] = {
            "slot_key": key,
            "origin": self._find_origins(batch, is_own),
            "source_rows": (batch.tag >> ROWS_SHIFT & ROWS_MASK).astype(np.int16),
            "is_provisional": (batch.tag & IS_PROVISIONAL).astype(bool),
            **batch.values,
        }
        if batch.written is not None:
            columns["written"] = np.where(is_own, batch.written, NEVER)
        room = len(self.query.symbol_ids) * self.grid.size
        for name, values in columns.items():
            column = self.columns.setdefault(name, np.empty(0 if name in self.columns else room, values.dtype))
            column[self.size : self.size + len(key)] = values
        self.size += len(key)

    def _find_origins(self, batch: BarBatch, is_own: Bools) -> NDArray[np.int16]:
        origin = batch.tag >> HASH_SHIFT
        codes = np.full(len(origin), NO_ORIGIN, np.int16)
        while (is_open := is_own & (codes == NO_ORIGIN)).any():  # once for each origin, of which there are few
            place = int(is_open.argmax())
            found = int(origin[place])
            if found not in self.codes:
                self.codes[found] = len(self.codes)
                self.examples.append((self.query.symbol_ids[int(batch.row[place])], int(batch.stamp[place])))
            codes[is_open & (origin == found)] = self.codes[found]
        return codes

    def build(self, connection: Connection) -> BarTable:
        """The table, with the texts behind the hashes, and the moments at which bars became known."""
        origins = tuple(
            read_origin(connection, self.query, symbol_id, stamp, found)
            for (symbol_id, stamp), found in zip(self.examples, self.codes, strict=True)
        )
        empty: dict[str, Any] = {**_FIXED_TYPES, **dict.fromkeys(self.query.values, np.float64)}
        if "volume" in empty and "volume" not in self.columns:
            empty["volume"] = read_volume_type(connection)
        columns = {
            name: self.columns[name][: self.size] if name in self.columns else np.zeros(0, kind)
            for name, kind in empty.items()
        }
        key = columns.pop("slot_key")
        written = self.columns["written"][: self.size] if "written" in self.columns else None
        history = read_bar_history(connection, self.query) if written is not None else None
        first_known, revised = _date_bars(key, written, history, self.grid)
        fixed = {name: columns.pop(name) for name in _FIXED_TYPES if name in columns}
        return BarTable(
            slot_key=key,
            values=columns,
            origins=origins,
            first_known=first_known,
            revised=revised,
            duplicates=self.duplicates,
            outside=self.outside,
            **fixed,
        )


def _choose_bars(key: Int64, is_slot: Bools, tag: Int64) -> Int64:
    """The positions of one bar for each slot, by slot key: ours first, then the one under the usual spelling."""
    place = np.flatnonzero(is_slot)
    order = place[np.lexsort((-(tag[place] & IS_MAIN_SPELLING), -(tag[place] & IS_OWN), key[place]))]
    is_first = np.diff(key[order], prepend=-1) > 0
    return order[is_first]


def _date_bars(
    key: Int64, written: Int64 | None, history: BarHistory | None, grid: SlotGrid
) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64]]:
    """When each bar was first known, and when its newest revision was."""
    none = np.broadcast_to(_NOT_A_TIME, len(key))
    if written is None or history is None:
        return none, none
    first_known = to_moments(written)
    if not len(history.row) or not len(key):
        return first_known, none
    ordinal = grid.find_ordinals(to_whole_unix_seconds(history.stamp))
    wanted = grid.get_slot_keys(history.row, ordinal)
    place = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
    is_here = (ordinal >= 0) & (key[place] == wanted) & (written[place] != NEVER)
    revised = np.full(len(key), _NOT_A_TIME)
    first_known[place[is_here]] = to_moments(history.first_known[is_here])
    revised[place[is_here]] = to_moments(history.revised[is_here])
    return first_known, revised
