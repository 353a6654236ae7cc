"""Measure a window's coverage: which slots have a bar, and the state of those without a trusted one.

``store.bars.gap_queries`` reads bars, ``store.evidence.evidence_reader`` reads what explains absence, and
``market.gaps.slot_states`` decides the states. The result, ``Coverage``, is in ``market.gaps.coverage``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.evidence import AbsenceEvidence, RequestHistory
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.slot_states import OpenSlots, SlotState, SlotStates, classify_slots, count_states
from backfill_assets.store.bars.gap_queries import read_stored_slots
from backfill_assets.store.bars.stored_slots import StoredSlots
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.evidence.evidence_reader import read_evidence
from backfill_assets.store.evidence.probe import find_probe
from backfill_assets.store.evidence.publication_reader import read_habits
from backfill_assets.store.postgres.connection import Connection


def measure_coverage(
    connection: Connection,
    symbols: Sequence[Symbol],
    grid: SlotGrid,
    source: Interval,
    rules: GapRules,
    now: datetime,
    stored: StoredSlots | None = None,
    lives: Mapping[int, tuple[int, int]] | None = None,
    *,
    only_states: bool = False,
    trust_census: bool = True,
) -> Coverage:
    """Compare what is stored for ``symbols`` with ``grid``, and explain the difference as of ``now``.

    External bars are counted, not listed: ``external_bars`` of the result is empty.

    Args:
        connection: with a transaction open; settings of the transaction's query planner change.
        symbols: the universe, in any order.
        grid: the slots of the window.
        source: the vendor interval that the bars are built from, to which the evidence refers.
        rules: from when absent bars are requested and count.
        now: the moment to measure for, an aware datetime.
        stored: what is stored there, if the caller knows it already (``store.bars.read_slots``); None: look.
        lives: the first and the last session of symbols, by row, in which they are looked at, whatever is their newest
            listing; others have the listing that is known.
        only_states: whether only states and counts are looked at. Then ``published_sessions``, ``incomplete_sessions``
            and ``slot_baseline`` of the evidence are those of the symbols whose states depend on them, and nothing is
            learned of publication.
        trust_census: whether bars need no look where the census proves them. It does not see what avoids the triggers
            (docs/decisions/0087).
    """
    symbol_index = SymbolIndex.from_symbols(symbols)
    if stored is None:
        stored = read_stored_slots(connection, symbol_index, grid, trust_census=trust_census)
    slots = _build_open_slots(stored, grid)
    request_history, absence_evidence = read_evidence(
        connection, symbol_index, grid, source, slots, rules, now, only_states=only_states
    )
    request_history = _set_probe(connection, request_history, symbol_index, grid, source, now)
    absence_evidence = _set_lives(absence_evidence, lives or {})
    if not only_states:
        habits = read_habits(connection, symbol_index, grid, source, slots, request_history, rules, now)
        absence_evidence = replace(absence_evidence, habits=habits)
    begins, ends = _get_listing_bounds(absence_evidence, grid)
    slots = _select_expected_slots(slots, begins, ends)
    slot_states = classify_slots(slots, request_history, absence_evidence, grid, rules, now)
    expected = np.maximum(ends - begins, 0)
    counts = count_states(slots, slot_states, expected, stored.external)
    first, last = _find_first_and_last_bars(stored.absent, len(symbols), grid)
    return Coverage(
        symbols=tuple(symbols),
        grid=grid,
        now=now,
        expected=expected,
        counts=counts,
        missing=_count_missing(counts, slots, slot_states),
        first_bar_at=first,
        last_bar_at=last,
        open_slots=slots,
        slot_states=slot_states,
        request_history=request_history,
        absence_evidence=absence_evidence,
        duplicates=stored.duplicates,
        askable_at=tuple(rules.compute_askable_at(s) for s in grid.sessions),
        overdue_at=tuple(rules.compute_overdue_at(s) for s in grid.sessions),
        slot_askable_at=rules.compute_slot_askable_at(grid),
        slot_overdue_at=rules.compute_slot_overdue_at(grid),
    )


def _set_probe(
    connection: Connection,
    history: RequestHistory,
    symbol_index: SymbolIndex,
    grid: SlotGrid,
    source: Interval,
    now: datetime,
) -> RequestHistory:
    """The history with the symbol that is requested every half hour, of a market around the clock."""
    if not grid.is_around_the_clock or not symbol_index.size:
        return history
    probe = find_probe(connection, grid.sessions[0].exchange, grid.interval, source, now)
    row = -1 if probe is None else int(symbol_index.find_rows(np.array([probe]))[0])
    return replace(history, probe_row=row if row >= 0 else None)


def _set_lives(evidence: AbsenceEvidence, lives: Mapping[int, tuple[int, int]]) -> AbsenceEvidence:
    first, last = evidence.first_session.copy(), evidence.last_session.copy()
    for row, (begin, end) in lives.items():
        first[row], last[row] = begin, end
    return replace(evidence, first_session=first, last_session=last)


def _count_missing(counts: Int64, slots: OpenSlots, slot_states: SlotStates) -> Int64:
    """``estimated_missing_bars`` of each symbol: missing slots, and provisional bars whose final one is overdue."""
    is_overdue_provisional = slot_states.overdue & (slot_states.state == SlotState.PROVISIONAL)
    overdue_provisional = np.bincount(slots.row[is_overdue_provisional], minlength=len(counts))
    missing: Int64 = counts[:, SlotState.MISSING] + overdue_provisional
    return missing


def _get_listing_bounds(absence_evidence: AbsenceEvidence, grid: SlotGrid) -> tuple[Int64, Int64]:
    """The first ordinal expected of each symbol, and the one after the last; shape (symbols,) each."""
    session_count = len(grid.sessions)
    begins = grid.session_offsets[np.minimum(absence_evidence.first_session, session_count)]
    ends = grid.session_offsets[np.clip(absence_evidence.last_session + 1, 0, session_count)]
    return begins, ends


def _build_open_slots(stored: StoredSlots, grid: SlotGrid) -> OpenSlots:
    """Absent, provisional and suspect slots, in this order."""
    states = [SlotState.MISSING, SlotState.PROVISIONAL, SlotState.SUSPECT]
    keys = [stored.absent, stored.provisional, stored.suspect]
    key = np.concatenate(keys)
    stored_state = np.repeat(states, [len(some) for some in keys]).astype(np.int8)
    is_unexcused = np.isin(key, stored.rejected) | np.isin(key, stored.doubted)
    is_unexcused &= stored_state != SlotState.PROVISIONAL
    recheck = np.zeros(len(key), np.int8)
    is_doubted = stored_state == SlotState.SUSPECT
    is_doubted &= np.isin(key, stored.doubted)
    recheck[is_doubted] = stored.recheck[np.searchsorted(stored.doubted, key[is_doubted])]
    return OpenSlots(*grid.split_slot_keys(key), stored_state, is_unexcused, recheck)


def _select_expected_slots(slots: OpenSlots, begins: Int64, ends: Int64) -> OpenSlots:
    """The slots within each symbol's listing life."""
    expected = (slots.ordinal >= begins[slots.row]) & (slots.ordinal < ends[slots.row])
    return OpenSlots(
        slots.row[expected],
        slots.ordinal[expected],
        slots.stored_state[expected],
        None if slots.is_unexcused is None else slots.is_unexcused[expected],
        None if slots.recheck is None else slots.recheck[expected],
    )


def _find_first_and_last_bars(absent: Int64, symbol_count: int, grid: SlotGrid) -> tuple[Int64, Int64]:
    """Epoch seconds of each symbol's first and last bar, −1 without one; shape (symbols,) each.

    ``absent`` are slot keys, ascending. Absent slots at the start of the grid have the ordinals 0, 1, 2 …; those at its
    end have the last ones. Counting both shows where the bars begin and end.
    """
    row, ordinal = grid.split_slot_keys(absent)
    begins = np.searchsorted(row, np.arange(symbol_count))  # where each symbol's absent slots begin
    absent_count = np.bincount(row, minlength=symbol_count)
    leading_absent = np.bincount(row[ordinal == np.arange(len(absent)) - begins[row]], minlength=symbol_count)
    is_trailing = grid.size - ordinal == (begins + absent_count)[row] - np.arange(len(absent))
    trailing_absent = np.bincount(row[is_trailing], minlength=symbol_count)
    starts = np.r_[grid.starts, -1]
    first = np.where(absent_count < grid.size, starts[np.minimum(leading_absent, grid.size)], -1)
    last = np.where(absent_count < grid.size, starts[grid.size - 1 - trailing_absent], -1)
    return first, last
