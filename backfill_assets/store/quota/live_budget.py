"""The budget of live sampling: calls of its own per UTC day, in the same rate window as all other requests.

Its calls are part of the token's day. What it has not spent yet is reserved and not available to the backfill; the
collector's reserve is available to neither. The rate window and pauses are in ``budget``.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, PermitSettlement, QuotaLimits

_TAKE_LIVE_PERMITS = """
SELECT permit_ids, wait_seconds, calls_affordable FROM backfill.take_live_permits(
    %(token)s, %(wanted)s, %(calls_each)s, %(day)s, %(limit)s, %(share)s, %(window)s, %(timeout)s,
    %(daily_calls)s, %(reserve)s, %(spend_extra)s)
"""
_DECLARE_DAILY_CALLS = """
INSERT INTO backfill.budget AS b (token, live_daily_calls, live_declared_on)
VALUES (%(token)s, %(live_daily_calls)s, %(day)s)
ON CONFLICT (token) DO UPDATE SET
    live_daily_calls = EXCLUDED.live_daily_calls, live_declared_on = EXCLUDED.live_declared_on
RETURNING backfill.live_calls_left(b, %(day)s, %(daily_calls)s, %(reserve)s, %(spend_extra)s)
"""
_SELECT_SPENT_CALLS = "SELECT live_calls FROM backfill.ledger WHERE token = %(token)s AND day = %(day)s"
_REFUND_CALLS = """
UPDATE backfill.ledger SET live_calls = live_calls - %(calls)s WHERE token = %(token)s AND day = %(day)s
"""


class LiveBudget(Budget):
    """A ``Budget`` that charges live sampling, with at most ``daily_calls`` a UTC day.

    It never gets more than half of the day's calls, so that a small plan has some left for the backfill.
    """

    purpose: ClassVar = "live sampling"
    _take_query: ClassVar = _TAKE_LIVE_PERMITS

    def __init__(self, database: Database, token: str, limits: QuotaLimits, daily_calls: int) -> None:
        super().__init__(database, token, limits)
        self._daily_calls = daily_calls

    def register_daily_budget(self, now: datetime) -> int:
        """Declare the budget to every process that uses the token; returns the calls left of it today."""
        values = {**self._build_parameters(now), "live_daily_calls": self._daily_calls}
        with self._database.transaction() as connection:
            row = connection.execute(_DECLARE_DAILY_CALLS, values).fetchone()
        return max(0, int(row[0])) if row else 0

    def read_spent_calls(self, now: datetime) -> int:
        """The calls that live sampling spent today."""
        with self._database.transaction() as connection:
            row = connection.execute(_SELECT_SPENT_CALLS, self._build_parameters(now)).fetchone()
        return int(row[0]) if row else 0

    def settle_permits(self, settlement: PermitSettlement, now: datetime) -> None:
        """As ``Budget.settle_permits``; refunded calls go back to the live budget."""
        super().settle_permits(settlement, now)
        self._refund_calls(settlement.refund, now)

    def return_permits(self, permits: Sequence[int], calls_each: int, now: datetime) -> None:
        """As ``Budget.return_permits``; the calls go back to the live budget."""
        super().return_permits(permits, calls_each, now)
        self._refund_calls(calls_each * len(permits), now)

    def _refund_calls(self, calls: int, now: datetime) -> None:
        if not calls:
            return
        with self._database.transaction() as connection:
            connection.execute(_REFUND_CALLS, {**self._build_parameters(now), "calls": calls})
