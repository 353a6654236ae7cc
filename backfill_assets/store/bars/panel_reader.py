"""Reads stored bars as panels, in which the rules of plausibility read them (``market.plausibility.session_panel``).

Bars of other programs are read like our own. Provisional bars are left out: their final ones are still to come. So are
bars that do not begin with a slot of the grid, such as those of extended hours.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.plausibility.session_panel import PANEL_VALUES, SessionPanel, list_starts
from backfill_assets.store.bars.stored_values import select_volume
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.postgres.array_reader import read_columns, to_whole_unix_seconds
from backfill_assets.store.postgres.connection import Connection

MAX_BARS = 250_000  # of a chunk: some 100 MB here, and 30 MB in the server

# The pages of one symbol are adjacent, and a chunk is a small part of the table.
_FORCE_INDEX_SCANS = "SET LOCAL enable_seqscan = off; SET LOCAL jit = off; SET LOCAL random_page_cost = 1.1"
_FEEDS, _EXTERNAL = 4, 3  # codes in the queries below, in order of precedence among equally many bars
_NO_FEED = -1  # no bar, or one that was taken from the other feed on purpose
_SELECT_TAKEN = """
SELECT symbol_id, timestamp AS stamp, CASE source_interval WHEN '5m' THEN 0 WHEN '1m' THEN 1 ELSE 2 END AS feed
FROM backfill.other_feed_bars
WHERE symbol_id = ANY (%(ids)s::int[]) AND interval_type = %(interval)s AND NOT volume_comparable
  AND timestamp >= %(first)s AND timestamp <= %(last)s
"""
_SELECT_BARS = f"""
SELECT d.symbol_id, d.timestamp AS stamp, coalesce(d.open_price::float8, 'NaN') AS open,
       coalesce(d.high_price::float8, 'NaN') AS high, coalesce(d.low_price::float8, 'NaN') AS low,
       coalesce(d.close_price::float8, 'NaN') AS close, coalesce(({select_volume("d")})::float8, 'NaN') AS volume,
       CASE WHEN d.source IS NULL THEN 3 WHEN d.source_interval = '5m' THEN 0 WHEN d.source_interval = '1m' THEN 1
            ELSE 2 END AS feed, d.interval_type = %(spelling)s AS is_main_spelling
FROM market_data d
WHERE d.symbol_id = ANY (%(ids)s::int[]) AND d.interval_type = ANY (%(spellings)s)
  AND d.timestamp >= %(first)s AND d.timestamp <= %(last)s AND d.is_final IS NOT FALSE
"""  # noqa: S608 - only constants are inserted
_COLUMN_TYPES = {
    "symbol_id": ">i4",
    "stamp": ">i8",
    **dict.fromkeys(PANEL_VALUES, ">f8"),
    "feed": ">i4",
    "is_main_spelling": ">i1",
}
_TAKEN_TYPES = {name: _COLUMN_TYPES[name] for name in ("symbol_id", "stamp", "feed")}


@dataclass(frozen=True, eq=False)
class StoredPanel:
    """Stored bars of some symbols; shape of all arrays (lines, columns).

    Attributes:
        panel: the bars. Volumes that are not comparable with the session's others and with the day's are NaN: those of
            bars taken from the vendor's other feed on purpose (``other_feed_bars``), and, where the rest of a session
            is of several feeds, those of all but the most frequent one.
        is_external: where the bar is another program's.
    """

    panel: SessionPanel
    is_external: Bools


def split_symbols(symbol_ids: Collection[int], grid: SlotGrid) -> Iterator[Int64]:
    """Symbols in chunks, ascending, whose bars of the whole grid fit into the memory of one ``read_panel``."""
    size = max(1, MAX_BARS // max(1, grid.size))
    ordered = np.array(sorted(symbol_ids), np.int64)
    for begin in range(0, len(ordered), size):
        yield ordered[begin : begin + size]


def read_panel(connection: Connection, symbol_ids: Collection[int] | Int64, grid: SlotGrid) -> StoredPanel:
    """The stored bars of some symbols over a grid, with a line for each session that has a bar.

    Of two bars of one slot, under two spellings of the interval, ours counts, then the one under the usual spelling.
    Changes planner settings of the transaction.

    Args:
        connection: with a transaction open.
        symbol_ids: the symbols; their bars must fit into memory (see ``split_symbols``).
        grid: the slots; its interval is that of the bars.
    """
    index = SymbolIndex(np.unique(np.array(list(symbol_ids), np.int64)))
    found = _read_bars(connection, index, grid) if grid.size and index.size else _create_none()
    ordinal = grid.find_ordinals(to_whole_unix_seconds(found.pop("stamp")))
    bars = {name: values[ordinal >= 0] for name, values in found.items()}
    ordinal = ordinal[ordinal >= 0]
    session = grid.session_index[ordinal]
    key = index.get_rows(bars["symbol_id"]) * len(grid.sessions) + session if index.size else session
    has_line = np.zeros(index.size * len(grid.sessions), bool)
    has_line[key] = True
    line = (np.cumsum(has_line) - 1)[key]
    row, of_line = np.divmod(np.flatnonzero(has_line), max(1, len(grid.sessions)))
    columns = int(grid.session_sizes.max(initial=0))
    layout = _Layout(
        line * columns + ordinal - grid.session_offsets[session],
        (len(of_line), columns),
        (bars["feed"] != _EXTERNAL) * 2 + bars["is_main_spelling"],
    )
    cells = {name: layout.lay_out(bars[name], np.nan) for name in PANEL_VALUES}
    feed = layout.lay_out(np.where(bars["is_taken"], _NO_FEED, bars["feed"]), _NO_FEED)
    cells["volume"][layout.lay_out(bars["is_taken"], False) | _find_other_feeds(feed)] = np.nan
    panel = SessionPanel(
        symbol_id=index.symbol_ids[row],
        session=of_line,
        opens=grid.session_opens[of_line],
        sizes=grid.session_sizes[of_line],
        seconds=grid.interval.seconds,
        days=grid.session_days[of_line],
        starts=list_starts(grid, of_line),
        market=grid.sessions[0].market if grid.sessions else US,
        **cells,
    )
    return StoredPanel(panel, feed == _EXTERNAL)


@dataclass(frozen=True, eq=False)
class _Layout:
    """Where bars lie in the cells of a panel; of two bars in one cell, the one of higher ``rank`` counts."""

    place: Int64
    shape: tuple[int, int]
    rank: NDArray[Any]

    def lay_out(self, values: NDArray[Any], absent: float | bool) -> NDArray[Any]:
        """The values of the bars as cells, and ``absent`` where there is no bar."""
        cells = np.full(self.shape[0] * self.shape[1], absent, values.dtype)
        for rank in np.unique(self.rank):
            has_rank = self.rank == rank
            cells[self.place[has_rank]] = values[has_rank]
        return cells.reshape(self.shape)


def _read_bars(connection: Connection, index: SymbolIndex, grid: SlotGrid) -> dict[str, NDArray[Any]]:
    connection.execute(_FORCE_INDEX_SCANS)
    values = {
        "ids": index.format_array(np.arange(index.size)),
        "spellings": list(grid.interval.spellings),
        "spelling": grid.interval.spellings[0],
        "interval": grid.interval.name,
        "first": grid.first_start,
        "last": grid.last_start,
    }
    bars = read_columns(connection, _SELECT_BARS, values, _COLUMN_TYPES)
    taken = read_columns(connection, _SELECT_TAKEN, values, _TAKEN_TYPES)
    return bars | {"is_taken": _find_taken(bars, taken, index)}


def _create_none() -> dict[str, NDArray[Any]]:
    return {**{name: np.zeros(0, code[1:]) for name, code in _COLUMN_TYPES.items()}, "is_taken": np.zeros(0, bool)}


def _find_taken(bars: dict[str, NDArray[Any]], taken: dict[str, NDArray[Any]], index: SymbolIndex) -> Bools:
    """Which bars were taken from the other feed and are still of it, shape (bars,)."""
    if not len(taken["stamp"]):
        return np.zeros(len(bars["stamp"]), bool)
    stamps = np.unique(taken["stamp"])

    def identify(found: dict[str, NDArray[Any]]) -> Int64:
        place = np.minimum(np.searchsorted(stamps, found["stamp"]), len(stamps) - 1)
        key: Int64 = (index.get_rows(found["symbol_id"]) * len(stamps) + place) * _FEEDS + found["feed"]
        return np.where(stamps[place] == found["stamp"], key, -1)

    is_taken: Bools = np.isin(identify(bars), identify(taken))
    return is_taken


def _find_other_feeds(feed: Int64) -> Bools:
    """Cells whose bar is of another feed than most of its line; ``feed`` is ``_NO_FEED`` where no bar is."""
    counts: Floats = np.stack([(feed == code).sum(axis=1) for code in range(_FEEDS)], axis=1)
    is_other: Bools = (feed >= 0) & (feed != counts.argmax(axis=1)[:, None])
    return is_other
