"""Builds a coverage for tests from stored slots and past requests; ``classify_slots`` decides the states."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState, classify_slots, count_states
from backfill_assets_tests.unit.gap_builders import (
    RULES,
    Entry,
    Slot,
    build_evidence,
    build_history,
    build_open_slots,
)


def build_classified_coverage(
    tickers: Sequence[str],
    grid: SlotGrid,
    now: datetime,
    slots: Sequence[Slot] = (),
    entries: Sequence[Entry] = (),
    **known: Any,
) -> Coverage:
    """The coverage of ``tickers`` at ``now``; their symbol_ids count from 1.

    Every slot that is not in ``slots`` has a final bar. ``entries`` are the past requests, ``known`` are attributes of
    ``AbsenceEvidence``.
    """
    open_slots, history = build_open_slots(slots), build_history(entries)
    evidence = build_evidence(len(tickers), grid, **known)
    states = classify_slots(open_slots, history, evidence, grid, RULES, now)
    expected = np.full(len(tickers), grid.size, np.int64)
    counts = count_states(open_slots, states, expected, np.zeros(len(tickers), np.int64))
    absent = {(row, ordinal) for row, ordinal, stored in slots if stored == SlotState.MISSING}
    stored_starts = [
        [start for ordinal, start in enumerate(grid.starts.tolist()) if (row, ordinal) not in absent]
        for row in range(len(tickers))
    ]
    return Coverage(
        symbols=tuple(Symbol(key, Ticker(name), is_active=True) for key, name in enumerate(tickers, 1)),
        grid=grid,
        now=now,
        expected=expected,
        counts=counts,
        missing=counts[:, SlotState.MISSING],
        first_bar_at=np.array([min(starts, default=-1) for starts in stored_starts], np.int64),
        last_bar_at=np.array([max(starts, default=-1) for starts in stored_starts], np.int64),
        open_slots=open_slots,
        slot_states=states,
        request_history=history,
        absence_evidence=evidence,
        duplicates=0,
        askable_at=tuple(RULES.compute_askable_at(session) for session in grid.sessions),
        overdue_at=tuple(RULES.compute_overdue_at(session) for session in grid.sessions),
    )
