"""What each ticker's session comes to: the figures of one partition, and whether it is settled."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.store.coverage import Coverage

Int64 = NDArray[np.int64]
ABSENT_STATES = (SlotState.PENDING, SlotState.MISSING, SlotState.NO_TRADE, SlotState.VENDOR_GAP)
UNSETTLED_STATES = (SlotState.PENDING, SlotState.MISSING, SlotState.VENDOR_GAP, SlotState.PROVISIONAL)


@dataclass(frozen=True, eq=False)
class SessionCounts:
    """Slots per ticker and session of a coverage; every array has the shape (symbols, sessions).

    Attributes:
        expected: within the ticker's listing life.
        bars: that hold a bar of any kind.
        no_trade: that need none.
        unsettled: that lack a final bar without an explanation; 0 makes the session settled.
    """

    expected: Int64
    bars: Int64
    no_trade: Int64
    unsettled: Int64


def count_by_session(coverage: Coverage) -> SessionCounts:
    """Add up a coverage by ticker and session."""
    sessions = np.arange(len(coverage.grid.sessions))
    is_listed = (sessions >= coverage.absence_evidence.first_session[:, None]) & (
        sessions <= coverage.absence_evidence.last_session[:, None]
    )
    expected = np.where(is_listed, np.diff(coverage.grid.session_offsets), 0)
    return SessionCounts(
        expected=expected,
        bars=expected - _count_slots(coverage, ABSENT_STATES),
        no_trade=_count_slots(coverage, (SlotState.NO_TRADE,)),
        unsettled=_count_slots(coverage, UNSETTLED_STATES),
    )


def _count_slots(coverage: Coverage, states: tuple[SlotState, ...]) -> Int64:
    counts = np.zeros((len(coverage.symbols), len(coverage.grid.sessions)), np.int64)
    is_selected = np.isin(coverage.slot_states.state, states)
    index = (
        coverage.open_slots.row[is_selected],
        coverage.grid.session_index[coverage.open_slots.ordinal[is_selected]],
    )
    np.add.at(counts, index, 1)
    return counts
