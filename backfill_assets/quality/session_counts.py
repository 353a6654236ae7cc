"""What each ticker's session comes to: the figures of one partition, and whether it is settled."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.gaps.slot_states import State
from backfill_assets.store.coverage import Coverage

Int64 = NDArray[np.int64]
ABSENT = (State.PENDING, State.MISSING, State.NO_TRADE, State.VENDOR_GAP)
UNSETTLED = (State.PENDING, State.MISSING, State.VENDOR_GAP, State.PROVISIONAL)


@dataclass(frozen=True, eq=False)
class SessionFigures:
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


def session_figures(coverage: Coverage) -> SessionFigures:
    """Add up a coverage by ticker and session."""
    sessions = np.arange(len(coverage.grid.sessions))
    listed = (sessions >= coverage.facts.first_day[:, None]) & (sessions <= coverage.facts.last_day[:, None])
    expected = np.where(listed, np.diff(coverage.grid.first_of), 0)
    return SessionFigures(
        expected=expected,
        bars=expected - _count(coverage, ABSENT),
        no_trade=_count(coverage, (State.NO_TRADE,)),
        unsettled=_count(coverage, UNSETTLED),
    )


def _count(coverage: Coverage, states: tuple[State, ...]) -> Int64:
    counts = np.zeros((len(coverage.symbols), len(coverage.grid.sessions)), np.int64)
    chosen = np.isin(coverage.classified.state, states)
    at = (coverage.slots.row[chosen], coverage.grid.session_of[coverage.slots.ordinal[chosen]])
    np.add.at(counts, at, 1)
    return counts
