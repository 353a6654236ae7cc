"""Which symbols are thin: so rarely traded that an absent slot is usual for them (docs/decisions/0007). Pure."""

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.gaps.evidence import AbsenceEvidence, RequestHistory, look_up
from backfill_assets.market.gaps.gap_rules import GapRules


def is_thin(row: Int64, entry: Int64, history: RequestHistory, evidence: AbsenceEvidence, rules: GapRules) -> Bools:
    """Whether the symbol of each slot often skips slots, according to its other published sessions.

    Args:
        row: the symbol of each slot, shape (slots,).
        entry: the entry of its symbol and session in ``history``, or ``NO_ENTRY``; same shape.
        history: past requests.
        evidence: counts published and incomplete sessions.
        rules: from when a symbol is thin.
    """
    is_incomplete = np.zeros(len(history.row), bool)
    is_incomplete[history.not_returned_entry] = True
    # The session at hand must not explain itself: leave it out of the last 20.
    is_published = look_up(history.published, entry, default=False)
    is_published_incomplete = look_up(history.published & is_incomplete, entry, default=False)
    other_sessions = evidence.published_sessions[row] - is_published
    incomplete_sessions = evidence.incomplete_sessions[row] - is_published_incomplete
    thin: Bools = (other_sessions >= rules.thin_min_sessions) & (
        incomplete_sessions >= rules.thin_min_share * other_sessions
    )
    return thin
