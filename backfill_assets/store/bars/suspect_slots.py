"""Which final bars of a window may be wrong, as far as rejects, evidence and doubts say so.

``gap_queries`` finds those that are built from few source rows, and puts all together.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Int8, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.equal_runs import sort_distinct
from backfill_assets.market.gaps.retry_schedule import Recheck
from backfill_assets.store.bars.rejects import select_current
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.postgres.connection import Connection

_OPEN, _STANDS, _FROM_AUDIT, _DECIDED = 1, 2, 3, 4  # how far a doubt about a bar is
# A running total may be in a bar of all its rows: its prices count. Any other rejected row is absent from its bar.
_SELECT_SLOTS_WITH_REJECTS = """
SELECT r.symbol_id, extract(epoch FROM m.timestamp)::bigint,
       CASE WHEN r.reason IN ('volume_running_total', 'volume_cumulative') THEN 0
            ELSE m.source_rows * CASE m.source_interval WHEN '1m' THEN 60 ELSE 300 END END,
       extract(epoch FROM min(r.timestamp))::bigint
FROM (SELECT * FROM backfill.rejects WHERE {is_current}) r
JOIN market_data m ON m.symbol_id = r.symbol_id AND m.interval_type = ANY (%(spellings)s) AND m.is_final
     AND m.timestamp > r.timestamp - make_interval(secs => %(seconds)s) AND m.timestamp <= r.timestamp
     AND m.source_interval = r.source_interval AND r.last_seen >= m.fetched_at
WHERE r.timestamp BETWEEN %(first)s AND %(last)s + make_interval(secs => %(seconds)s)
GROUP BY 1, 2, 3
"""
# A row of no shares may stand for a slot in which nothing traded. One without volume is current only if it is a trade.
_SELECT_REJECTED_TRADES = """
SELECT DISTINCT symbol_id, extract(epoch FROM timestamp)::bigint FROM backfill.rejects
WHERE {is_current} AND (volume > 0 OR volume IS NULL AND reason <> 'volume_cumulative')
  AND timestamp BETWEEN %(first)s AND %(last)s + make_interval(secs => %(seconds)s)
"""
_SELECT_CUT_SLOTS = """
SELECT m.symbol_id, extract(epoch FROM m.timestamp)::bigint, extract(epoch FROM e.data_until)::bigint
FROM backfill.session_evidence e
JOIN market_data m ON m.symbol_id = e.symbol_id AND m.interval_type = ANY (%(spellings)s) AND m.is_final
     AND m.timestamp > e.data_until - make_interval(secs => %(seconds)s) AND m.timestamp < e.data_until
     AND m.source_interval = e.source_interval
WHERE e.ends_before_close AND e.interval_type = %(interval)s
  AND e.session_day BETWEEN %(first_day)s AND %(last_day)s
"""
# Of several doubts about a bar, the one that is asked about most often counts. Bars of other programs stay theirs.
_SELECT_DOUBTED_SLOTS = f"""
SELECT m.symbol_id, extract(epoch FROM m.timestamp)::bigint,
       min(CASE WHEN d.outcome = 'decided' THEN {_DECIDED} WHEN d.from_audit THEN {_FROM_AUDIT}
                WHEN d.outcome = 'stands' THEN {_STANDS} ELSE {_OPEN} END)
FROM backfill.doubts d
JOIN market_data m ON m.symbol_id = d.symbol_id AND m.interval_type = ANY (%(spellings)s) AND m.is_final
     AND m.timestamp BETWEEN d.first_slot AND d.last_slot AND m.source IS NOT NULL
WHERE d.marks_bar AND d.interval_type = %(interval)s AND d.session_day BETWEEN %(first_day)s AND %(last_day)s
GROUP BY m.symbol_id, m.timestamp
"""  # noqa: S608 - only constants are inserted


@dataclass(frozen=True, eq=False)
class SuspectSlots:
    """Slots whose final bar may be wrong, as slot keys of a grid, ascending (see ``SlotGrid.get_slot_keys``).

    Attributes:
        cut: the rows of the session end within the slot, before the close.
        rejected: the bar is built around a rejected row.
        rejected_trades: a rejected row shows a trade; with a bar or without one.
        doubted: a doubt marks the bar, which is this program's.
        doubt_stage: how far that doubt is, for ``choose_recheck``.
    """

    cut: Int64
    rejected: Int64
    rejected_trades: Int64
    doubted: Int64
    doubt_stage: Int64


def read_suspect_slots(connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid) -> SuspectSlots:
    """Look up what is known of the window's bars; the planner must be set to nested loops."""
    cut = _find_cut_slots(connection, symbol_index, grid)
    rejected = _find_slots_with_rejects(connection, symbol_index, grid)
    rejected_trades = _find_rejected_trades(connection, symbol_index, grid)
    return SuspectSlots(cut, rejected, rejected_trades, *_find_doubted_slots(connection, symbol_index, grid))


def choose_recheck(stage: Int64, is_otherwise_suspect: Bools) -> Int8:
    """A ``Recheck`` for each doubted slot: what a person decided holds, other reasons count unless a doubt is open."""
    by_stage = np.array([Recheck.BY_COUNT, Recheck.DAILY, Recheck.WEEKLY, Recheck.NEVER, Recheck.NEVER], np.int8)
    is_by_count = is_otherwise_suspect & ((stage == _STANDS) | (stage == _FROM_AUDIT))
    recheck: Int8 = np.where(is_by_count, np.int8(Recheck.BY_COUNT), by_stage[stage])
    return recheck


def _find_slots_with_rejects(connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid) -> Int64:
    """Slots whose bar was built around a rejected row, ascending; not those with all rows that they can have."""
    found = _query_slots(connection, _SELECT_SLOTS_WITH_REJECTS, symbol_index, grid, columns=4)
    key, (covered, first_row) = _build_slot_keys(found, symbol_index, grid)
    _, ordinal = grid.split_slot_keys(key)
    is_within = first_row < grid.ends[ordinal]  # a slot that is short may end before the row
    return sort_distinct(key[is_within & (covered < (grid.ends - grid.starts)[ordinal])])


def _find_rejected_trades(connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid) -> Int64:
    """Slots with a rejected row that has shares, with a bar or without, ascending."""
    found = _query_slots(connection, _SELECT_REJECTED_TRADES, symbol_index, grid, columns=2)
    ordinals = np.searchsorted(grid.starts, found[:, 1], side="right") - 1
    is_inside = (ordinals >= 0) & (found[:, 1] < grid.ends[ordinals]) if len(found) else np.zeros(0, bool)
    found[:, 1] = grid.starts[ordinals] if len(found) else 0
    return sort_distinct(_build_slot_keys(found[is_inside], symbol_index, grid)[0])


def _find_cut_slots(connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid) -> Int64:
    """Slots within which the rows of their session end, although they should go on (docs/states.md)."""
    found = _query_slots(connection, _SELECT_CUT_SLOTS, symbol_index, grid, columns=3)
    key, (data_until,) = _build_slot_keys(found, symbol_index, grid)
    _, ordinal = grid.split_slot_keys(key)
    is_within: Bools = data_until < grid.ends[ordinal]
    return np.asarray(key[is_within], np.int64)


def _find_doubted_slots(connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid) -> tuple[Int64, Int64]:
    """Slots whose final bar a doubt marks, ascending, and how far the doubt is."""
    found = _query_slots(connection, _SELECT_DOUBTED_SLOTS, symbol_index, grid, columns=3)
    key, (stage,) = _build_slot_keys(found, symbol_index, grid)
    key, first = np.unique(key, return_index=True)
    return key, stage[first]


def _query_slots(
    connection: Connection, query: str, symbol_index: SymbolIndex, grid: SlotGrid, *, columns: int
) -> Int64:
    """What ``query`` returns about the window, shape (rows, columns): symbol_id, stamp of the slot, and more."""
    if not grid.size or not symbol_index.size:
        return np.zeros((0, columns), np.int64)
    values = {
        "first": grid.first_start,
        "last": grid.last_start,
        "first_day": grid.sessions[0].day,
        "last_day": grid.sessions[-1].day,
        "interval": grid.interval.name,
        "spellings": list(grid.interval.spellings),
        "seconds": grid.interval.seconds,
    }
    statement = query.format(is_current=select_current(grid.sessions[0].market)).encode()
    return np.array(connection.execute(statement, values).fetchall(), np.int64).reshape(-1, columns)


def _build_slot_keys(found: Int64, symbol_index: SymbolIndex, grid: SlotGrid) -> tuple[Int64, Int64]:
    """The keys of found slots of the grid and its symbols, and the other columns of what was found."""
    ordinals, rows = grid.find_ordinals(found[:, 1]), symbol_index.find_rows(found[:, 0])
    is_known = (ordinals >= 0) & (rows >= 0)
    return grid.get_slot_keys(rows, ordinals)[is_known], found[is_known, 2:].T
