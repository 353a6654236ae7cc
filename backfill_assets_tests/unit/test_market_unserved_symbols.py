"""Slots of a symbol that the vendor does not serve: never missing, and requested weekly."""

from datetime import datetime, timedelta

import numpy as np
import pytest

from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets_tests.unit.gap_builders import Entry, classify
from backfill_assets_tests.unit.market_builders import build_grid, parse_new_york

DAY = "2026-06-01"
ASKED = parse_new_york("2026-06-01 20:00")
ENTRY = Entry(requested_at=int(ASKED.timestamp()), not_returned=range(13))
UNSERVED = {"unserved_asked_at": [ASKED.timestamp(), np.nan]}


@pytest.mark.parametrize(
    ("now", "state", "due"),
    [
        (parse_new_york("2026-06-01 20:30"), SlotState.PENDING, False),
        (parse_new_york("2026-06-02 08:00"), SlotState.VENDOR_GAP, False),
        (ASKED + timedelta(days=7, seconds=-1), SlotState.VENDOR_GAP, False),
        (ASKED + timedelta(days=7), SlotState.VENDOR_GAP, True),
    ],
)
def test_slot_is_no_alarm_and_requested_a_week_after_the_newest_request(
    now: datetime, state: SlotState, due: bool
) -> None:
    found = classify([(0, 5, SlotState.MISSING)], [ENTRY], now, build_grid(DAY), **UNSERVED)
    assert (SlotState(int(found.state[0])), bool(found.due[0]), bool(found.overdue[0])) == (state, due, False)


def test_newer_session_that_was_never_requested_waits_for_the_week() -> None:
    grid = build_grid(DAY, "2026-06-02")
    found = classify([(0, 18, SlotState.MISSING)], [ENTRY], ASKED + timedelta(days=2), grid, **UNSERVED)
    assert (int(found.state[0]), bool(found.due[0])) == (SlotState.VENDOR_GAP, False)


def test_overdue_provisional_bar_does_not_count_as_missing() -> None:
    now = ASKED + timedelta(days=1)
    found = classify([(0, 5, SlotState.PROVISIONAL)], [ENTRY], now, build_grid(DAY), **UNSERVED)
    assert (int(found.state[0]), bool(found.overdue[0])) == (SlotState.PROVISIONAL, False)


def test_other_symbols_stay_missing() -> None:
    now = ASKED + timedelta(days=1)
    found = classify([(1, 5, SlotState.MISSING)], [], now, build_grid(DAY), **UNSERVED)
    assert (int(found.state[0]), bool(found.due[0])) == (SlotState.MISSING, True)


@pytest.mark.parametrize("asked_at", [-np.inf, (ASKED + timedelta(days=90)).timestamp()])
def test_symbol_without_a_past_request_is_requested_at_once(asked_at: float) -> None:
    now = ASKED + timedelta(days=1)
    slots = [(0, 5, SlotState.MISSING)]
    found = classify(slots, [ENTRY], now, build_grid(DAY), unserved_asked_at=[asked_at, np.nan])
    assert found.due.tolist() == [True]
