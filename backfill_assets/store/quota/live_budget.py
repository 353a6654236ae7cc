"""The budget of live sampling: calls of its own per UTC day, in the same rate window as all other requests.

Its calls are part of the token's day. What it has not spent yet is reserved and not available to the backfill; the
collector's reserve is available to neither. The rate window and pauses are in ``budget``.
"""

from datetime import datetime

from backfill_assets.market.purposes import Purpose
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, QuotaLimits

_DECLARE_DAILY_CALLS = """
INSERT INTO backfill.budget AS b (token, live_daily_calls, live_declared_on)
VALUES (%(token)s, %(live_daily_calls)s, %(day)s)
ON CONFLICT (token) DO UPDATE SET
    live_daily_calls = EXCLUDED.live_daily_calls, live_declared_on = EXCLUDED.live_declared_on
RETURNING backfill.live_calls_left(b, %(day)s, %(daily_calls)s, %(reserve)s, %(spend_extra)s)
"""
_SELECT_SPENT_CALLS = "SELECT live_calls FROM backfill.ledger WHERE token = %(token)s AND day = %(day)s"


class LiveBudget(Budget):
    """A ``Budget`` that charges live sampling, with at most ``daily_calls`` a UTC day.

    It never gets more than half of the day's calls, so that a small plan has some left for the backfill.
    """

    def __init__(self, database: Database, token: str, limits: QuotaLimits, daily_calls: int) -> None:
        super().__init__(database, token, limits, Purpose.LIVE)
        self._daily_calls = daily_calls

    def register_daily_budget(self, now: datetime) -> int:
        """Declare the budget to every process that uses the token; returns the calls left of it today."""
        values = {**self._build_parameters(now), "live_daily_calls": self._daily_calls}
        ((left,),) = self._database.retry_statement(_DECLARE_DAILY_CALLS, values)
        return max(0, int(left))

    def read_spent_calls(self, now: datetime) -> int:
        """The calls that live sampling spent today."""
        with self._database.transaction() as connection:
            row = connection.execute(_SELECT_SPENT_CALLS, self._build_parameters(now)).fetchone()
        return int(row[0]) if row else 0
