"""Which slots of a window have a bar in the table, and what kind of bar.

Why final bars are suspect for another reason than few source rows is read in ``suspect_slots``;
``market.gaps.slot_states`` interprets the rest. The cost follows the window, not the history: one range of an index per
symbol, or the whole table where the window is most of it. Bars are counted first. Absent slots and doubtful bars are
listed only for symbols whose counts show some. The newest sessions are counted in one statement, but each by itself:
one may be absent for every symbol (not over, not published, just published), and would make the others expensive. Of a
symbol without any bar in a session every slot is absent, and nothing is listed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.equal_runs import sort_distinct
from backfill_assets.market.gaps.expected_months import group_by_month
from backfill_assets.store.bars.proven_months import find_proven_months
from backfill_assets.store.bars.proven_newest import NOT_PROVEN, find_proven_ends
from backfill_assets.store.bars.slot_statements import (
    ABSENT_TYPES,
    COUNT_ALL_BARS,
    COUNT_BEST_SPELLING,
    COUNT_LATER,
    COUNT_NEWEST_BARS,
    COUNT_NEWEST_BARS_AND_LATER,
    COUNT_SINCE,
    COUNT_TYPES,
    LATER_TYPES,
    LIST_ABSENT_SLOTS,
    LIST_BARS,
    LIST_TYPES,
    SELECT_ALL_BARS,
    SELECT_BARS_BY_INDEX,
    SELECT_BEST_SPELLING,
)
from backfill_assets.store.bars.stored_slots import NO_BAR, StoredSlots
from backfill_assets.store.bars.suspect_slots import choose_recheck, read_suspect_slots
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.postgres.array_reader import read_columns, to_postgres_timestamps, to_whole_unix_seconds
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


def read_stored_slots(
    connection: Connection,
    symbol_index: SymbolIndex,
    grid: SlotGrid,
    *,
    find_newest: bool = False,
    trust_census: bool = True,
) -> StoredSlots:
    """Look up every slot of ``grid`` for every symbol. Changes planner settings of the transaction.

    With ``find_newest`` the bars after the grid are looked at, too, for ``newest``: they should be few. Without
    ``trust_census`` the bars are counted although the census proves them.
    """
    bounds = grid.session_offsets[max(0, len(grid.sessions) - NEWEST_SESSIONS) :].tolist()
    connection.execute(_FORCE_INDEX_SCANS)
    ends = np.full(symbol_index.size, NOT_PROVEN)
    if trust_census:
        ends = find_proven_ends(connection, symbol_index, grid, bounds, find_later=find_newest)
    newest = _SlotRange(connection, symbol_index, grid, bounds, newest_ends=ends, find_later=find_newest).read()
    with force_nested_loops(connection):
        reasons = read_suspect_slots(connection, symbol_index, grid)
    connection.execute(_ALLOW_SEQUENTIAL_SCANS)
    if trust_census:
        older, external = _read_older(connection, symbol_index, grid, bounds[0], np.flatnonzero(ends == NOT_PROVEN))
    else:
        older = [_SlotRange(connection, symbol_index, grid, [0, bounds[0]]).read()]
        external = np.zeros(symbol_index.size, np.int64)
    parts = [newest, *older]
    absent = np.sort(np.concatenate([part.absent for part in parts]))
    otherwise_suspect = np.concatenate([*(part.suspect for part in parts), reasons.cut, reasons.rejected])
    return StoredSlots(
        absent=absent,
        provisional=np.concatenate([part.provisional for part in parts]),
        suspect=sort_distinct(otherwise_suspect, reasons.doubted),
        rejected=sort_distinct(reasons.rejected, reasons.rejected_trades[np.isin(reasons.rejected_trades, absent)]),
        doubted=reasons.doubted,
        recheck=choose_recheck(reasons.doubt_stage, np.isin(reasons.doubted, otherwise_suspect)),
        external=np.sum([external, *(part.external for part in parts)], axis=0),
        duplicates=sum(part.duplicates for part in parts),
        newest=newest.newest,
    )


def _read_older(
    connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid, end: int, unproven: Int64
) -> tuple[list[StoredSlots], Int64]:
    """What the table holds before the ordinal ``end``; months that the census proves to be whole are not looked at.

    The month in which ``end`` lies is whole until then but for the rows ``unproven``. Also how many slots of the months
    before have a bar of another program and are not looked at, shape (symbols,).
    """
    offsets = group_by_month(grid).offsets
    month = int(offsets[np.searchsorted(offsets, end, side="right") - 1])
    proven = find_proven_months(connection, symbol_index, grid, end)
    before = [(0, month, None)] if proven is None else proven.iter_ranges()
    external = np.zeros(symbol_index.size, np.int64) if proven is None else proven.count_external()
    parts = [
        _SlotRange(connection, symbol_index, grid, [first, after], rows=rows).read()
        for first, after, rows in (*before, (month, end, unproven))
    ]
    return parts, external


@contextmanager
def force_nested_loops(connection: Connection) -> Iterator[None]:
    """For statements that begin with few rows, as those of ``suspect_slots`` do."""
    connection.execute(_FORCE_NESTED_LOOPS)
    yield
    connection.execute(_ALLOW_ALL_JOINS)


@dataclass(frozen=True, eq=False)
class _BarCounts:
    """How many bars of each kind the symbols have in a range; every array has the shape (symbols,) at its end.

    Attributes:
        parts: slots with a bar in each part of the range, shape (parts, symbols).
        bars: bars, later ones included.
        other: those of another spelling than this program's.
        external: slots of the range with a bar of another program.
        doubtful: bars that are provisional or sparse; later ones included.
        newest: see ``StoredSlots``.
    """

    parts: Int64
    bars: Int64
    other: Int64
    external: Int64
    doubtful: Int64
    newest: Int64 | None

    @property
    def is_mixed(self) -> Bools:
        """Which symbols have bars under several spellings, so maybe two in a slot."""
        mixed: Bools = (self.other > 0) & (self.other < self.bars)
        return mixed


@dataclass(frozen=True, eq=False)
class _SlotRange:
    """The bars of a universe in a range of a grid.

    ``bounds`` are ordinals: where each part of the range begins, which is counted by itself, and the one after the end.
    ``newest_ends``: of the newest sessions, how many parts of each symbol are whole and the rest without a bar
    (``proven_newest``); of the other bars the census may say which have to be read. With ``find_later`` later bars are
    looked at, too. ``rows`` are the symbols that are looked at; None: all.
    """

    connection: Connection
    symbol_index: SymbolIndex
    grid: SlotGrid
    bounds: Sequence[int]
    newest_ends: Int64 | None = None
    find_later: bool = False
    rows: Int64 | None = None

    @property
    def looked_at(self) -> Int64:
        """The rows of the symbols that are looked at."""
        return np.arange(self.symbol_index.size) if self.rows is None else self.rows

    def read(self) -> StoredSlots:
        """What the table holds of the range; rejected rows, early ends and doubts are left out."""
        none = np.zeros(0, np.int64)
        if self.bounds[0] == self.bounds[-1] or not len(self.looked_at):
            external = np.zeros(self.symbol_index.size, np.int64)
            return StoredSlots(none, none, none, none, none, none.astype(np.int8), external, 0)
        if self.newest_ends is None:
            counts = self._count_bars(COUNT_ALL_BARS, self.looked_at)
        else:
            counts = self._count_newest(self.newest_ends)
        # Symbols with bars under both spellings may have two bars in a slot: read the better one.
        mixed_rows = np.flatnonzero(counts.is_mixed)
        single_rows = np.setdiff1d(np.flatnonzero(counts.doubtful), mixed_rows)
        bars_query = SELECT_ALL_BARS if self.newest_ends is None else SELECT_BARS_BY_INDEX
        listed = [self._list_provisional_and_sparse(bars_query, single_rows)]
        duplicates = 0
        if len(mixed_rows):
            best = self._count_bars(COUNT_BEST_SPELLING, mixed_rows)
            duplicates = int((counts.parts - best.parts)[:, mixed_rows].sum())
            counts.parts[:, mixed_rows] = best.parts[:, mixed_rows]
            counts.external[mixed_rows] = best.external[mixed_rows]
            doubtful_rows = mixed_rows[best.doubtful[mixed_rows] > 0]
            listed.append(self._list_provisional_and_sparse(SELECT_BEST_SPELLING, doubtful_rows))
        provisional, sparse = (np.concatenate(both) for both in zip(*listed, strict=True))
        absent = self._list_absent(counts.parts)
        no_recheck, external = none.astype(np.int8), counts.external
        return StoredSlots(absent, provisional, sparse, none, none, no_recheck, external, duplicates, counts.newest)

    def _count_newest(self, ends: Int64) -> _BarCounts:
        """The counts of all symbols; bars are counted of those without an end. One statement, so one snapshot, each."""
        statement = COUNT_NEWEST_BARS_AND_LATER if self.find_later else COUNT_NEWEST_BARS
        counts = self._count_bars(statement, np.flatnonzero(ends == NOT_PROVEN))
        sizes = np.diff(self.bounds)[:, np.newaxis]
        whole_parts = sizes * (ends > np.arange(len(sizes))[:, np.newaxis])
        counts.parts[...] += whole_parts
        counts.bars[...] += whole_parts.sum(axis=0)
        if counts.newest is not None:
            has_bar = ends > 0
            last = np.array(self.bounds)[ends[has_bar]] - 1
            counts.newest[has_bar] = to_postgres_timestamps(self.grid.starts[last])
        return counts

    def _count_bars(self, statement: str, rows: Int64) -> _BarCounts:
        """The counts of ``rows``, 0 for the other symbols."""
        since = {f"since_{begin}": begin for begin in self.bounds[1:-1]}
        more = "".join(COUNT_SINCE.format(name) for name in since) + (COUNT_LATER if self.find_later else "")
        types = COUNT_TYPES | dict.fromkeys(since, ">i4") | (LATER_TYPES if self.find_later else {})
        begins = dict(zip(since, self._to_datetimes(list(since.values())), strict=True))
        parameters = self._build_parameters(rows, self.bounds[0], self.bounds[-1]) | begins
        found = read_columns(self.connection, statement.format(more=more), parameters, types)
        row = self.symbol_index.get_rows(found.pop("symbol_id"))
        counts = {name: np.zeros(self.symbol_index.size, np.int64) for name in (*found, "later")}
        for name, values in found.items():
            counts[name][row] = values
        until = np.array([counts[name] for name in (*since, "later")])
        return _BarCounts(
            parts=np.array([counts[name] for name in ("bars", *since)]) - until,
            bars=counts["bars"],
            other=counts["other"],
            external=counts["external"],
            doubtful=counts["doubtful"],
            newest=np.where(counts["bars"] > 0, counts["newest"], NO_BAR) if self.find_later else None,
        )

    def _list_provisional_and_sparse(self, bars_query: str, rows: Int64) -> tuple[Int64, Int64]:
        """The slots of ``rows`` whose bar is provisional, and those whose final bar has few source rows."""
        if not len(rows):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        query = LIST_BARS.format(bars=bars_query)
        parameters = self._build_parameters(rows, self.bounds[0], self.bounds[-1])
        found = read_columns(self.connection, query, parameters, LIST_TYPES)
        ordinal = self.grid.find_ordinals(to_whole_unix_seconds(found["stamp"]))
        key = self.grid.get_slot_keys(self.symbol_index.get_rows(found["symbol_id"]), ordinal)
        is_final = found["is_final"].astype(bool)
        is_sparse = found["covered"] <= SUSPECT_SHARE * (self.grid.ends - self.grid.starts)[ordinal]
        return key[~is_final], key[is_final & is_sparse]

    def _list_absent(self, counts: Int64) -> Int64:
        """The slots without a bar under any spelling; ``counts`` are the slots with one, shape (parts, symbols)."""
        found = [
            self._list_absent_in(begin, end, of_part)
            for (begin, end), of_part in zip(pairwise(self.bounds), counts, strict=True)
        ]
        return np.concatenate(found)

    def _list_absent_in(self, begin: int, end: int, counts: Int64) -> Int64:
        empty_rows = self.looked_at[counts[self.looked_at] == 0]
        of_empty = self.grid.get_slot_keys(empty_rows[:, np.newaxis], np.arange(begin, end)).ravel()
        rows = np.flatnonzero((counts > 0) & (counts < end - begin))
        if not len(rows):
            return of_empty
        parameters = self._build_parameters(rows, begin, end)
        found = read_columns(self.connection, LIST_ABSENT_SLOTS, parameters, ABSENT_TYPES)
        ordinal = self.grid.find_ordinals(to_whole_unix_seconds(found["stamp"]))
        listed = self.grid.get_slot_keys(self.symbol_index.get_rows(found["symbol_id"]), ordinal)
        return np.concatenate([of_empty, listed])

    def _build_parameters(self, rows: Int64, begin: int, end: int) -> dict[str, Any]:
        starts, lengths = self._to_datetimes(slice(begin, end)), self.grid.ends - self.grid.starts
        short = lengths < self.grid.interval.seconds
        return {
            "ids": self.symbol_index.format_array(rows),
            "starts": starts,
            "first": starts[0],
            "last": starts[-1],
            "first_month": starts[0].date().replace(day=1),
            "spellings": list(self.grid.interval.spellings),
            "spelling": self.grid.interval.name,
            "half": int(SUSPECT_SHARE * self.grid.interval.seconds),  # whole seconds, as ``covered`` is
            "short": self._to_datetimes(short),
            "half_of_short": int(SUSPECT_SHARE * lengths[short].max(initial=0)),
        }

    def _to_datetimes(self, selection: Any) -> Sequence[datetime]:
        return [to_datetime(epoch) for epoch in self.grid.starts[selection].tolist()]
