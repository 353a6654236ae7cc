"""Builds a coverage for tests: every slot is present except those given."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np

from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.evidence import AbsenceEvidence
from backfill_assets.market.gaps.slot_states import OpenSlots, SlotState, SlotStates
from backfill_assets_tests.unit.gap_builders import build_history

NOW = datetime(2026, 6, 3, 14, 0, tzinfo=UTC)


def build_coverage(
    symbols: str, grid: SlotGrid, states: Mapping[tuple[str, range], SlotState], evidence: AbsenceEvidence | None = None
) -> Coverage:
    """``symbols`` are separated by spaces; ``states`` maps (symbol, ordinals of the grid) to the state of the slots."""
    names = symbols.split()
    evidence = evidence or AbsenceEvidence.create_empty(len(names), len(grid.sessions))
    cells = [(names.index(symbol), ordinal, state) for (symbol, slots), state in states.items() for ordinal in slots]
    row, ordinal, state = (np.array([cell[part] for cell in cells], np.int64) for part in range(3))
    begins = grid.session_offsets[np.minimum(evidence.first_session, len(grid.sessions))]
    ends = grid.session_offsets[np.clip(evidence.last_session + 1, 0, len(grid.sessions))]
    counts = np.zeros((len(names), len(SlotState)), np.int64)
    np.add.at(counts, (row, state), 1)
    counts[:, SlotState.PRESENT] = (ends - begins) - counts.sum(axis=1)
    absent = {(r, o) for r, o, s in cells if s >= SlotState.PENDING}
    stored_starts = [
        [grid.starts[o] for o in range(begins[r], ends[r]) if (r, o) not in absent] for r in range(len(names))
    ]
    zeros = np.zeros(len(row))
    return Coverage(
        symbols=tuple(Symbol(key, Ticker(name), True) for key, name in enumerate(names, 1)),
        grid=grid,
        now=NOW,
        expected=ends - begins,
        counts=counts,
        missing=counts[:, SlotState.MISSING],
        first_bar_at=np.array([min(stamps, default=-1) for stamps in stored_starts], np.int64),
        last_bar_at=np.array([max(stamps, default=-1) for stamps in stored_starts], np.int64),
        open_slots=OpenSlots(row, ordinal, state.astype(np.int8)),
        slot_states=SlotStates(
            state.astype(np.int8), zeros.astype(bool), zeros.astype(bool), zeros, zeros.astype(bool)
        ),
        request_history=build_history([]),
        absence_evidence=evidence,
        duplicates=0,
        askable_at=tuple(s.regular_close + timedelta(hours=3) for s in grid.sessions),
        overdue_at=tuple(s.regular_close + timedelta(hours=16) for s in grid.sessions),
    )
