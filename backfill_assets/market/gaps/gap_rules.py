"""The rules by which an absent bar becomes a gap: from when it is requested, counts as missing, and is explained.

The one definition of when a session is askable and overdue. ``slot_states`` applies the rules.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from backfill_assets.market.arrays import Floats
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.retry_schedule import RetrySchedule


@dataclass(frozen=True, slots=True)
class GapRules:
    """Thresholds for absent bars.

    Attributes:
        askable_after: until a request may return bars, from a session's regular close, or from a slot's end where the
            market's profile counts from there.
        overdue_after: from then until an absent bar counts as missing.
        overdue_after_half: from when half of the universe was seen published until an absent bar counts as missing.
        thin_min_sessions: how many published sessions of a symbol must be known before it may be called thin.
        thin_min_share: the share of them that lacked a slot, from which on the symbol is thin.
        usual_min_share: the share of the other published sessions of a thin symbol that lacked the same slot, from
            which on its absence is usual.
        retry_schedule: when to request again.
        ask_every: from one request for a symbol to the next, of a market that counts from the end of each slot.
        probe_every: the same of its probe (``ask_times``).
    """

    askable_after: timedelta
    overdue_after: timedelta
    overdue_after_half: timedelta = timedelta(hours=6)
    thin_min_sessions: int = 5
    thin_min_share: float = 0.3
    usual_min_share: float = 0.1
    retry_schedule: RetrySchedule = field(default_factory=RetrySchedule)
    ask_every: timedelta = timedelta(hours=6)
    probe_every: timedelta = timedelta(minutes=30)

    def compute_askable_at(self, session: Session) -> datetime:
        """From when a request may return bars of ``session``. An early close does not bring that forward.

        Of a market that counts from the end of each slot: bars of the session's beginning.
        """
        return (session.open if session.market.is_around_the_clock else session.regular_close) + self.askable_after

    def compute_overdue_at(self, session: Session) -> datetime:
        """From when absent bars of ``session`` count as missing at the latest. An early close does not change that.

        Of a market that counts from the end of each slot: all of them, the last one included.
        """
        return session.regular_close + self.overdue_after

    def compute_slot_askable_at(self, grid: SlotGrid) -> Floats:
        """From when a request may return each slot's bar: epoch seconds (UTC), shape (slots,)."""
        return _find_starting_points(grid) + self.askable_after.total_seconds()

    def compute_slot_overdue_at(self, grid: SlotGrid) -> Floats:
        """From when an absent bar of each slot counts as missing at the latest: epoch seconds (UTC), shape (slots,)."""
        return _find_starting_points(grid) + self.overdue_after.total_seconds()


def _find_starting_points(grid: SlotGrid) -> Floats:
    """The moments that the times of each slot count from: its end, or its session's regular close; shape (slots,)."""
    if grid.is_around_the_clock:
        return grid.ends.astype(float)
    closes = np.array([session.regular_close.timestamp() for session in grid.sessions], float)
    return closes[grid.session_index]
