"""The budget of live sampling: calls of its own per UTC day, through the same rate window as everything else.

Its calls are part of the token's day. What it has not spent yet is kept from the backfill, and the
collector's reserve from both (``0004_live.sql``); the rate window and pauses are ``budget``'s.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, PermitSettlement, QuotaLimits


class LiveBudget(Budget):
    """A ``Budget`` that charges live sampling, with ``daily_calls`` a UTC day at most.

    Never more than half of the day's calls that are ours, so that a small plan has some left for backfilling.
    """

    purpose: ClassVar = "live sampling"
    _TAKE_PERMITS: ClassVar = "SELECT * FROM backfill.take_live_permits(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"

    def __init__(self, database: Database, token: str, limits: QuotaLimits, daily_calls: int) -> None:
        super().__init__(database, token, limits)
        self._daily_calls = daily_calls

    def register_daily_budget(self, now: datetime) -> int:
        """Make the budget known to every process that uses the token; returns the calls left of it today."""
        limits = self._limits
        with self._database.transaction() as connection:
            row = connection.execute(
                "INSERT INTO backfill.budget AS b (token, live_daily_calls, live_declared_on) VALUES (%(token)s, %(calls)s, %(day)s)"
                " ON CONFLICT (token) DO UPDATE SET live_daily_calls = EXCLUDED.live_daily_calls,"
                " live_declared_on = EXCLUDED.live_declared_on"
                " RETURNING backfill.live_calls_left(b, %(day)s, %(daily)s, %(reserve)s, %(extra)s)",
                {
                    "token": self._token,
                    "calls": self._daily_calls,
                    "day": now.astimezone(UTC).date(),
                    "daily": limits.daily_calls,
                    "reserve": limits.reserve,
                    "extra": limits.spend_extra,
                },
            ).fetchone()
        return max(0, int(row[0])) if row else 0

    def read_spent_calls(self, now: datetime) -> int:
        """The calls that live sampling spent today."""
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT live_calls FROM backfill.ledger WHERE token = %s AND day = %s",
                [self._token, now.astimezone(UTC).date()],
            ).fetchone()
        return int(row[0]) if row else 0

    def settle_permits(self, settlement: PermitSettlement, now: datetime) -> None:
        """As ``Budget.settle``; calls given back are the live budget's again."""
        super().settle_permits(settlement, now)
        self._refund_calls(settlement.refund, now)

    def return_permits(self, permits: Sequence[int], calls_each: int, now: datetime) -> None:
        """As ``Budget.give_back``."""
        super().return_permits(permits, calls_each, now)
        self._refund_calls(calls_each * len(permits), now)

    def _refund_calls(self, calls: int, now: datetime) -> None:
        if not calls:
            return
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE backfill.ledger SET live_calls = live_calls - %s WHERE token = %s AND day = %s",
                [calls, self._token, now.astimezone(UTC).date()],
            )
