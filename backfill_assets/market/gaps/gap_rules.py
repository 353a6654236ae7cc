"""The rules by which an absent bar becomes a gap: from when it is requested, counts as missing, and is explained.

The one definition of when a session is askable and overdue. ``slot_states`` applies the rules.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.gaps.retry_schedule import RetrySchedule


@dataclass(frozen=True, slots=True)
class GapRules:
    """Thresholds for absent bars.

    Attributes:
        askable_after: from a session's regular close until a request may return its bars.
        overdue_after: from the regular close until an absent bar counts as missing.
        overdue_after_half: from when half of the universe was seen published until an absent bar counts as missing.
        thin_min_sessions: how many published sessions of a symbol must be known before it may be called thin.
        thin_min_share: the share of them that lacked a slot, from which on the symbol is thin.
        retry_schedule: when to request again.
    """

    askable_after: timedelta
    overdue_after: timedelta
    overdue_after_half: timedelta = timedelta(hours=6)
    thin_min_sessions: int = 5
    thin_min_share: float = 0.3
    retry_schedule: RetrySchedule = field(default_factory=RetrySchedule)

    def compute_askable_at(self, session: Session) -> datetime:
        """From when a request may return bars of ``session``. An early close does not bring that forward."""
        return session.regular_close + self.askable_after

    def compute_overdue_at(self, session: Session) -> datetime:
        """From when absent bars of ``session`` count as missing at the latest. An early close does not change that."""
        return session.regular_close + self.overdue_after
