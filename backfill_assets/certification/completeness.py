"""Which symbols a session lacks something of: the part of a certificate that the states of slots decide.

A slot is complete if a final bar is there, or if its absence or its improbable values are explained: no trade, a vendor
gap, a doubt that stands or that a person decided, few source rows that the vendor has repeated on its whole schedule.
While a doubt is open, nothing explains its bars. Pure; ``store.coverage`` measures the states.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.explained_slots import find_explained_slots
from backfill_assets.quality.state_counts import count_states_by_session
from backfill_assets.store.evidence.doubts import SlotRange

INCOMPLETE_STATES = (SlotState.PENDING, SlotState.MISSING, SlotState.PROVISIONAL)


@dataclass(frozen=True, eq=False)
class Completeness:
    """What each session has of each symbol; rows are positions in ``Coverage.symbols``.

    Attributes:
        counts: expected slots by state, shape (symbols, sessions, states).
        unexplained: suspect slots that nothing explains, shape (symbols, sessions).
        is_unserved: symbols that the vendor does not serve: nobody waits for their bars; shape (symbols,).
    """

    counts: Int64
    unexplained: Int64
    is_unserved: Bools

    @property
    def is_listed(self) -> Bools:
        """Whether slots are expected of each symbol, shape (symbols, sessions)."""
        listed: Bools = self.counts.sum(axis=2) > 0
        return listed

    @property
    def is_incomplete(self) -> Bools:
        """Whether a slot is neither there nor explained, shape (symbols, sessions)."""
        absent = self.counts[:, :, list(INCOMPLETE_STATES)].sum(axis=2)
        incomplete: Bools = (absent + self.unexplained > 0) & ~self.is_unserved[:, None]
        return incomplete


def judge_completeness(coverage: Coverage, open_doubts: Sequence[SlotRange], rules: GapRules) -> Completeness:
    """Find what each session lacks.

    Args:
        coverage: with its ``external_bars`` read.
        open_doubts: the slots that open doubts mark, of any symbol.
        rules: those that the coverage was measured by.
    """
    is_unexplained = coverage.has_state(SlotState.SUSPECT) & ~find_explained_slots(coverage, open_doubts, rules)
    return Completeness(
        counts=count_states_by_session(coverage),
        unexplained=coverage.count_by_session(is_unexplained),
        is_unserved=coverage.absence_evidence.is_unserved,
    )
