"""Counts of slots in a coverage, and when its sessions are askable and overdue."""

from dataclasses import replace
from datetime import timedelta

import numpy as np

from backfill_assets.market.gaps.slot_states import ABSENT_STATES, STORED_STATES, SlotState
from backfill_assets_tests.unit.coverage_builders import build_coverage
from backfill_assets_tests.unit.gap_builders import build_evidence
from backfill_assets_tests.unit.market_builders import build_grid

GRID = build_grid("2026-06-01", "2026-06-02")
MISSING, NO_TRADE = SlotState.MISSING, SlotState.NO_TRADE


def test_open_slots_are_counted_by_symbol_and_session() -> None:
    coverage = build_coverage(
        "A B", GRID, {("A", range(2)): MISSING, ("B", range(12, 15)): MISSING, ("B", range(1)): NO_TRADE}
    )
    assert coverage.count_by_session(coverage.has_state(MISSING)).tolist() == [[2, 0], [1, 2]]
    assert coverage.count_by_session(coverage.has_state(MISSING, NO_TRADE)).tolist() == [[2, 0], [2, 2]]


def test_counts_of_no_slots_and_of_no_symbols_have_their_shape() -> None:
    assert build_coverage("A", GRID, {}).count_by_session(np.zeros(0, bool)).tolist() == [[0, 0]]
    empty = build_coverage("", GRID, {})
    assert empty.count_by_session(empty.has_state(MISSING)).shape == (0, 2)


def test_every_state_is_absent_or_stored() -> None:
    assert sorted((*ABSENT_STATES, *STORED_STATES)) == list(SlotState)


def test_sessions_are_askable_and_overdue_from_their_times() -> None:
    coverage = build_coverage("A", GRID, {})
    at_overdue = replace(coverage, now=coverage.overdue_at[0])
    assert (at_overdue.is_session_askable.tolist(), at_overdue.is_session_overdue.tolist()) == (
        [True, False],
        [True, False],
    )
    before = replace(coverage, now=coverage.askable_at[0] - timedelta(seconds=1))
    assert not before.is_session_askable.any()
    assert before.find_newest_overdue() == -1


def test_a_symbol_is_listed_from_its_first_to_its_last_session() -> None:
    evidence = build_evidence(3, GRID, first_session=[0, 1, 0], last_session=[2, 2, 0])
    assert evidence.is_listed.tolist() == [[True, True], [False, True], [True, False]]
