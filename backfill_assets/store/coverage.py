"""What the store holds of a window, slot by slot, and what is known about the rest.

``store.bars.stored_slots`` reads bars, ``store.evidence.evidence_reader`` reads what explains absence, and
``market.gaps.slot_states`` decides what it all means.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.evidence import AbsenceEvidence, RequestHistory
from backfill_assets.market.gaps.slot_states import GapRules, OpenSlots, SlotState, SlotStates, classify_slots
from backfill_assets.store.bars.external_bars import ExternalBars, read_external_bars
from backfill_assets.store.bars.stored_slots import StoredSlots, read_stored_slots
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.evidence.evidence_reader import read_evidence
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import Symbol

Int64 = NDArray[np.int64]

_SELECT_SUSPECT_SLOTS = """
SELECT DISTINCT r.symbol_id, extract(epoch FROM m.timestamp)::bigint
FROM backfill.rejects r
JOIN market_data m ON m.symbol_id = r.symbol_id AND m.interval_type = ANY (%(spellings)s) AND m.is_final
     AND m.timestamp <= r.timestamp AND r.timestamp < m.timestamp + make_interval(secs => %(seconds)s)
     AND m.source_interval = r.source_interval AND r.last_seen >= m.fetched_at
WHERE r.reason = 'volume_cumulative' AND r.timestamp BETWEEN %(first)s AND %(last)s + make_interval(secs => %(seconds)s)
"""


@dataclass(frozen=True, eq=False)
class Coverage:
    """The state of every slot of a window for every ticker of a universe, at ``now``.

    Attributes:
        symbols: the universe; positions in it are the ``row`` of everything else.
        grid: the slots of the window.
        expected: slots within each ticker's listing life, shape (symbols,).
        counts: expected slots per ticker and ``State``, shape (symbols, states).
        missing: ``estimated_missing_bars`` per ticker: missing, and provisional ones overdue.
        first: epoch seconds of each ticker's first bar in the window, −1 without one.
        last: epoch seconds of each ticker's newest bar in the window, −1 without one.
        slots: the expected slots without a trusted final bar.
        classified: what each of those is.
        asked: what was asked of the window and came: for tickers with ``slots`` all of it, else of the newest sessions.
        facts: what else is known of it; ``known``, ``skips`` and ``traded`` only of tickers with ``slots``.
        duplicates: slots that both spellings of the interval hold.
        askable_at: from when a request may bring each session's bars.
        overdue_at: from when their absence counts at the latest.
        theirs: bars that somebody else wrote, if they were looked for.
    """

    symbols: tuple[Symbol, ...]
    grid: SlotGrid
    now: datetime
    expected: Int64
    counts: Int64
    missing: Int64
    first_bar_at: Int64
    last_bar_at: Int64
    open_slots: OpenSlots
    slot_states: SlotStates
    request_history: RequestHistory
    absence_evidence: AbsenceEvidence
    duplicates: int
    askable_at: tuple[datetime, ...]
    overdue_at: tuple[datetime, ...]
    external_bars: ExternalBars = field(default_factory=ExternalBars.create_empty)

    def count_slots(self, state: SlotState) -> int:
        """How many slots of all tickers are in ``state``."""
        return int(self.counts[:, state].sum())

    def find_newest_missing(self) -> Int64:
        """Epoch seconds of each ticker's newest missing slot, −1 without one."""
        newest = np.full(len(self.symbols), -1, np.int64)
        is_missing = self.slot_states.state == SlotState.MISSING
        np.maximum.at(newest, self.open_slots.row[is_missing], self.grid.starts[self.open_slots.ordinal[is_missing]])
        return newest

    def find_newest_overdue(self) -> int:
        """Epoch seconds of the newest slot whose absence counts for everybody, −1 without one."""
        overdue_starts = self.grid.starts[
            np.array([at <= self.now for at in self.overdue_at], bool)[self.grid.session_index]
        ]
        return int(overdue_starts[-1]) if len(overdue_starts) else -1


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
    counts = _count_states(stored, slots, slot_states, expected)
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
        askable_at=tuple(s.regular_close + rules.askable_after for s in grid.sessions),
        overdue_at=tuple(s.regular_close + rules.overdue_after for s in grid.sessions),
        external_bars=read_external_bars(connection, symbols, grid) if list_external else ExternalBars.create_empty(),
    )


def _find_suspect_slots(connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid) -> Int64:
    """Slots (row × slots of the grid + ordinal) whose newest source rows held a session-cumulative volume."""
    if not grid.size or not symbol_index.size:
        return np.zeros(0, np.int64)
    values = {
        "first": datetime.fromtimestamp(int(grid.starts[0]), UTC),
        "last": datetime.fromtimestamp(int(grid.starts[-1]), UTC),
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


def _count_states(stored: StoredSlots, slots: OpenSlots, slot_states: SlotStates, expected: Int64) -> Int64:
    counts = np.zeros((len(expected), len(SlotState)), np.int64)
    np.add.at(counts, (slots.row, slot_states.state), 1)
    counts[:, SlotState.PRESENT] = 0  # the rest, below
    counts[:, SlotState.UNVERIFIED] = np.minimum(stored.unverified, expected - counts.sum(axis=1))
    counts[:, SlotState.PRESENT] = expected - counts.sum(axis=1)
    return counts
