"""Coverages as tests write them down: every slot is present except those named."""

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


def coverage_of(
    symbols: str, grid: SlotGrid, states: Mapping[tuple[str, range], SlotState], facts: AbsenceEvidence | None = None
) -> Coverage:
    """``symbols`` with spaces between; ``states`` maps (symbol, ordinals of the grid) to what those are."""
    names = symbols.split()
    facts = facts or AbsenceEvidence.create_empty(len(names), len(grid.sessions))
    cells = [(names.index(symbol), ordinal, state) for (symbol, slots), state in states.items() for ordinal in slots]
    row, ordinal, state = (np.array([cell[part] for cell in cells], np.int64) for part in range(3))
    begins = grid.session_offsets[np.minimum(facts.first_session, len(grid.sessions))]
    ends = grid.session_offsets[np.clip(facts.last_session + 1, 0, len(grid.sessions))]
    counts = np.zeros((len(names), len(SlotState)), np.int64)
    np.add.at(counts, (row, state), 1)
    counts[:, SlotState.PRESENT] = (ends - begins) - counts.sum(axis=1)
    absent = {(r, o) for r, o, s in cells if s >= SlotState.PENDING}
    held = [[grid.starts[o] for o in range(begins[r], ends[r]) if (r, o) not in absent] for r in range(len(names))]
    none = np.zeros(len(row))
    return Coverage(
        symbols=tuple(Symbol(key, Ticker(name), True) for key, name in enumerate(names, 1)),
        grid=grid,
        now=NOW,
        expected=ends - begins,
        counts=counts,
        missing=counts[:, SlotState.MISSING],
        first_bar_at=np.array([min(stamps, default=-1) for stamps in held], np.int64),
        last_bar_at=np.array([max(stamps, default=-1) for stamps in held], np.int64),
        open_slots=OpenSlots(row, ordinal, state.astype(np.int8)),
        slot_states=SlotStates(state.astype(np.int8), none.astype(bool), none.astype(bool), none, none.astype(bool)),
        request_history=build_history([]),
        absence_evidence=facts,
        duplicates=0,
        askable_at=tuple(s.regular_close + timedelta(hours=3) for s in grid.sessions),
        overdue_at=tuple(s.regular_close + timedelta(hours=16) for s in grid.sessions),
    )
