"""What each ticker's session comes to: the figures of one partition, and whether it is settled."""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import ABSENT_STATES, UNSETTLED_STATES, SlotState


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
    expected = np.where(coverage.absence_evidence.is_listed, coverage.grid.session_sizes, 0)
    return SessionCounts(
        expected=expected,
        bars=expected - coverage.count_by_session(coverage.has_state(*ABSENT_STATES)),
        no_trade=coverage.count_by_session(coverage.has_state(SlotState.NO_TRADE)),
        unsettled=coverage.count_by_session(coverage.has_state(*UNSETTLED_STATES)),
    )
