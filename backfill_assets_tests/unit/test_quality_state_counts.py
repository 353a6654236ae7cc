"""How many slots of each symbol and session are in which state, external bars told apart."""

from dataclasses import replace
from datetime import date

import numpy as np

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.coverage import ExternalBars
from backfill_assets.market.gaps.evidence import AbsenceEvidence
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.state_counts import count_states_by_session
from backfill_assets_tests.unit.coverage_builders import build_coverage

GRID = build_slot_grid(list_sessions(US, date(2026, 6, 1), date(2026, 6, 3)), INTERVALS["30m"])
STATES = {
    ("AAPL", range(2)): SlotState.MISSING,
    ("AAPL", range(13, 16)): SlotState.SUSPECT,
    ("MSFT", range(25, 27)): SlotState.PENDING,
}


def describe(counts: np.ndarray, row: int, session: int) -> dict[str, int]:
    return {state.name: int(counts[row, session, state]) for state in SlotState if counts[row, session, state]}


def test_external_bars_are_unverified_unless_they_have_another_state() -> None:
    coverage = build_coverage("AAPL MSFT", GRID, STATES)
    keys = np.array([2, 3, 14, 39 + 0], np.int64)  # one of a suspect bar
    counts = count_states_by_session(replace(coverage, external_bars=ExternalBars(keys, np.zeros(4, np.int64))))
    assert describe(counts, 0, 0) == {"PRESENT": 9, "UNVERIFIED": 2, "MISSING": 2}
    assert describe(counts, 0, 1) == {"PRESENT": 10, "SUSPECT": 3}
    assert describe(counts, 1, 0) == {"PRESENT": 12, "UNVERIFIED": 1}
    assert describe(counts, 1, 1) == {"PRESENT": 12, "PENDING": 1}
    assert describe(counts, 1, 2) == {"PRESENT": 12, "PENDING": 1}
    assert (counts.sum(axis=2) == 13).all()


def test_nothing_is_expected_outside_of_a_listing() -> None:
    evidence = AbsenceEvidence.create_empty(2, 3)
    evidence = replace(evidence, first_session=np.array([1, 0]), last_session=np.array([3, 1]))
    states = {("AAPL", range(13, 15)): SlotState.NO_TRADE}
    coverage = build_coverage("AAPL MSFT", GRID, states, evidence)
    external = ExternalBars(np.array([0, 39 + 27], np.int64), np.zeros(2, np.int64))  # both outside
    counts = count_states_by_session(replace(coverage, external_bars=external))
    assert counts.sum(axis=2).tolist() == [[0, 13, 13], [13, 13, 0]]
    assert counts[:, :, SlotState.UNVERIFIED].sum() == 0
    assert describe(counts, 0, 1) == {"PRESENT": 11, "NO_TRADE": 2}


def test_only_slots_of_a_range_count() -> None:
    coverage = build_coverage("AAPL MSFT", GRID, STATES)
    counts = count_states_by_session(coverage, 1, 15)
    assert counts.sum(axis=2).tolist() == [[12, 2, 0], [12, 2, 0]]
    assert describe(counts, 0, 0) == {"PRESENT": 11, "MISSING": 1}
    assert describe(counts, 0, 1) == {"SUSPECT": 2}
    assert count_states_by_session(coverage, 5, 5).sum() == 0
    empty = build_slot_grid((), INTERVALS["30m"])
    assert count_states_by_session(build_coverage("AAPL", empty, {("AAPL", range(0)): SlotState.MISSING})).size == 0
