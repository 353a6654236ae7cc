"""Slot counts by symbol and session: the figures of each partition, and whether it is settled."""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import ABSENT_STATES, UNSETTLED_STATES, SlotState


@dataclass(frozen=True, eq=False)
class SessionCounts:
    """Slots by symbol and session of a coverage; every array has the shape (symbols, sessions).

    Attributes:
        expected: slots while the symbol was listed.
        bars: slots with a bar of any kind.
        no_trade: slots in which nothing traded.
        unsettled: slots that are pending, missing, provisional or a vendor gap; a session with 0 of them is settled.
        is_complete: whether the partition is green: its session is settled, and not one after a ticker ended.
    """

    expected: Int64
    bars: Int64
    no_trade: Int64
    unsettled: Int64
    is_complete: Bools


def count_by_session(coverage: Coverage) -> SessionCounts:
    """Count the slots of a coverage by symbol and session."""
    expected = np.where(coverage.absence_evidence.is_listed, coverage.grid.session_sizes, 0)
    unsettled = coverage.count_by_session(coverage.has_state(*UNSETTLED_STATES))
    is_active = np.array([symbol.is_active for symbol in coverage.symbols], bool)
    return SessionCounts(
        expected=expected,
        bars=expected - coverage.count_by_session(coverage.has_state(*ABSENT_STATES)),
        no_trade=coverage.count_by_session(coverage.has_state(SlotState.NO_TRADE)),
        unsettled=unsettled,
        is_complete=(unsettled == 0) & (is_active[:, None] | (expected > 0)),
    )
