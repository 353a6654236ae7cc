"""What the store holds of a window, slot by slot, and what is known about the rest.

``store.bars.stored_slots`` reads bars, ``store.evidence.evidence_reader`` reads what explains absence, and
``market.gaps.slot_states`` decides what it all means.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.gaps.coverage import Coverage, ExternalBars
from backfill_assets.market.gaps.evidence import AbsenceEvidence
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.slot_states import OpenSlots, SlotState, classify_slots, count_states
from backfill_assets.store.bars.external_bars import read_external_bars
from backfill_assets.store.bars.stored_slots import read_stored_slots
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.evidence.evidence_reader import read_evidence
from backfill_assets.store.postgres.connection import Connection

_SELECT_SUSPECT_SLOTS = """
SELECT DISTINCT r.symbol_id, extract(epoch FROM m.timestamp)::bigint
FROM backfill.rejects r
JOIN market_data m ON m.symbol_id = r.symbol_id AND m.interval_type = ANY (%(spellings)s) AND m.is_final
     AND m.timestamp <= r.timestamp AND r.timestamp < m.timestamp + make_interval(secs => %(seconds)s)
     AND m.source_interval = r.source_interval AND r.last_seen >= m.fetched_at
WHERE r.reason = 'volume_cumulative' AND r.timestamp BETWEEN %(first)s AND %(last)s + make_interval(secs => %(seconds)s)
"""


def measure_coverage(
    connection: Connection,
    symbols: Sequence[Symbol],
    grid: SlotGrid,
    source: Interval,
    rules: GapRules,
    now: datetime,
    *,
    list_external: bool = False,
) -> Coverage:
    """Compare what is stored for ``symbols`` with ``grid``, and explain the difference as of ``now``.

    ``list_theirs`` also says which bars somebody else wrote; otherwise they are only counted.
    """
    symbol_index = SymbolIndex.from_symbols(symbols)
    stored = read_stored_slots(connection, symbol_index, grid)
    suspect = np.union1d(stored.sparse, _find_suspect_slots(connection, symbol_index, grid))
    unfinished = [stored.absent, stored.provisional, suspect]
    unfinished_rows = np.unique(np.concatenate(unfinished) // max(1, grid.size))
    request_history, absence_evidence = read_evidence(connection, symbol_index, grid, source, unfinished_rows)
    begins, ends = _get_listing_bounds(absence_evidence, grid)
    slots = _build_open_slots(unfinished, grid, begins, ends)
    slot_states = classify_slots(slots, request_history, absence_evidence, grid, rules, now)
    expected = np.maximum(ends - begins, 0)
    counts = count_states(slots, slot_states, expected, stored.unverified)
    overdue_provisional = slot_states.overdue & (slot_states.state == SlotState.PROVISIONAL)
    first, last = _find_first_and_last_bars(stored.absent, len(symbols), grid)
    return Coverage(
        symbols=tuple(symbols),
        grid=grid,
        now=now,
        expected=expected,
        counts=counts,
        missing=counts[:, SlotState.MISSING] + np.bincount(slots.row[overdue_provisional], minlength=len(symbols)),
        first_bar_at=first,
        last_bar_at=last,
        open_slots=slots,
        slot_states=slot_states,
        request_history=request_history,
        absence_evidence=absence_evidence,
        duplicates=stored.duplicates,
        askable_at=tuple(rules.compute_askable_at(s) for s in grid.sessions),
        overdue_at=tuple(rules.compute_overdue_at(s) for s in grid.sessions),
        external_bars=read_external_bars(connection, symbols, grid) if list_external else ExternalBars.create_empty(),
    )


def _find_suspect_slots(connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid) -> Int64:
    """Slots (row × slots of the grid + ordinal) whose newest source rows held a session-cumulative volume."""
    if not grid.size or not symbol_index.size:
        return np.zeros(0, np.int64)
    values = {
        "first": grid.first_start,
        "last": grid.last_start,
        "spellings": list(grid.interval.spellings),
        "seconds": grid.interval.seconds,
    }
    matches = connection.execute(_SELECT_SUSPECT_SLOTS, values).fetchall()
    ordinals = grid.find_ordinals(np.array([stamp for _, stamp in matches], np.int64))
    rows = symbol_index.find_rows(np.array([key for key, _ in matches], np.int64))
    return (rows * grid.size + ordinals)[(ordinals >= 0) & (rows >= 0)]


def _get_listing_bounds(absence_evidence: AbsenceEvidence, grid: SlotGrid) -> tuple[Int64, Int64]:
    """The ordinals between which each ticker's slots are expected, half-open."""
    sessions = len(grid.sessions)
    begins = grid.session_offsets[np.minimum(absence_evidence.first_session, sessions)]
    ends = grid.session_offsets[np.clip(absence_evidence.last_session + 1, 0, sessions)]
    return begins, ends


def _build_open_slots(unfinished: Sequence[Int64], grid: SlotGrid, begins: Int64, ends: Int64) -> OpenSlots:
    """Absent, provisional and suspect slots, where the ticker was listed."""
    kinds = [SlotState.MISSING, SlotState.PROVISIONAL, SlotState.SUSPECT]
    slot = np.concatenate(unfinished)
    kind = np.repeat(kinds, [len(slots) for slots in unfinished]).astype(np.int8)
    row, ordinal = np.divmod(slot, max(1, grid.size))
    expected = (ordinal >= begins[row]) & (ordinal < ends[row])
    return OpenSlots(row[expected], ordinal[expected], kind[expected])


def _find_first_and_last_bars(absent: Int64, symbol_count: int, grid: SlotGrid) -> tuple[Int64, Int64]:
    """Epoch seconds of each ticker's first and of its newest bar, −1 without one; ``absent`` ascends."""
    row, ordinal = np.divmod(absent, max(1, grid.size))
    begins = np.searchsorted(row, np.arange(symbol_count))
    absent_count = np.bincount(row, minlength=symbol_count)
    leading_absent = np.bincount(row[ordinal == np.arange(len(absent)) - begins[row]], minlength=symbol_count)
    is_trailing = grid.size - ordinal == (begins + absent_count)[row] - np.arange(len(absent))
    trailing_absent = np.bincount(row[is_trailing], minlength=symbol_count)
    starts = np.r_[grid.starts, -1]
    first = np.where(absent_count < grid.size, starts[np.minimum(leading_absent, grid.size)], -1)
    last = np.where(absent_count < grid.size, starts[grid.size - 1 - trailing_absent], -1)
    return first, last
