"""Waiting for a permit: one query of the budget, then a sleep without an open transaction."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import psycopg
import pytest

from backfill_assets.backfill.fetch import shared_rate_limiter
from backfill_assets.backfill.fetch.concurrency import AdaptiveConcurrencyLimit
from backfill_assets.backfill.fetch.shared_rate_limiter import SharedRateLimiter
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.rate_limiter_protocol import RequestRecord
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, PermitGrant, QuotaLimits, fingerprint_token
from backfill_assets_tests.conftest import NOW

LIMITS = QuotaLimits(
    requests_per_window=2, share=1.0, window_seconds=3.0, timeout_seconds=30, daily_calls=1000, reserve=0.0
)
SUCCESSFUL_REQUEST = RequestRecord(
    endpoint="intraday",
    purpose=Purpose.GAP,
    ticker="AAPL.US",
    started_at=NOW,
    seconds=0.0,
    status=200,
    calls=5,
    rows=0,
    body_bytes=2,
    error=None,
    rate_limit=None,
    rate_remaining=None,
    retry_after=None,
)


class RecordingBudget(Budget):
    """Records every grant."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, "token", LIMITS)
        self.grants: list[PermitGrant] = []

    def take_permits(self, wanted: int, calls_each: int, now: datetime) -> PermitGrant:
        grant = super().take_permits(wanted, calls_each, now)
        self.grants.append(grant)
        return grant


def count_open_transactions(url: str) -> int:
    """Count other connections to this database that are idle in a transaction."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
        )
        return len(rows.fetchall())


def test_waiting_requests_query_once_and_hold_no_transaction_open(database: Database, database_url: str) -> None:
    budget = RecordingBudget(database)

    async def scenario() -> int:
        async with SharedRateLimiter(budget, database, AdaptiveConcurrencyLimit(16, 16), lambda: NOW) as rate_limiter:
            for _ in range(2):
                await rate_limiter.release(await rate_limiter.acquire(5, Purpose.GAP), SUCCESSFUL_REQUEST)
            waiting = [asyncio.create_task(rate_limiter.acquire(5, Purpose.GAP)) for _ in range(2)]
            while budget.grants[-1].permits:
                await asyncio.sleep(0.001)
            open_count = 1
            while open_count and not any(task.done() for task in waiting):  # finished requests may still be recorded
                open_count = await asyncio.to_thread(count_open_transactions, database_url)
            for task in waiting:
                await rate_limiter.release(await task, SUCCESSFUL_REQUEST)
            return open_count

    assert asyncio.run(scenario()) == 0
    denied = [grant for grant in budget.grants if not grant.permits]
    assert 1 <= len(denied) <= 3  # not every millisecond: one wait for both, and a short one for the second
    assert denied[0].wait_seconds > 0


def test_unused_permits_are_returned(database: Database) -> None:
    """Two requests wait; both permits arrive after one request was cancelled."""
    budget = RecordingBudget(database)

    async def scenario() -> None:
        async with SharedRateLimiter(budget, database, AdaptiveConcurrencyLimit(16, 16), lambda: NOW) as rate_limiter:
            used, cancelled = (asyncio.create_task(rate_limiter.acquire(5, Purpose.GAP)) for _ in range(2))
            await asyncio.sleep(0)
            cancelled.cancel()
            await rate_limiter.release(await used, SUCCESSFUL_REQUEST)

    asyncio.run(scenario())
    status = budget.read_status(NOW)
    assert (status.calls_spent_today, status.requests_in_window) == (5, 1)


def test_ended_requests_are_recorded_together_and_a_refusal_at_once(
    monkeypatch: pytest.MonkeyPatch, database: Database, database_url: str
) -> None:
    """Other processes must pause after a refusal; what else has ended can wait."""
    monkeypatch.setattr(shared_rate_limiter, "GATHER_SECONDS", 3600.0)
    budget = RecordingBudget(database)
    refused = replace(SUCCESSFUL_REQUEST, status=429, calls=0, error="RateLimited", retry_after=60.0)

    def count_transactions() -> list[int]:
        with psycopg.connect(database_url) as connection:
            query = "SELECT count(*) FROM backfill.requests GROUP BY xmin::text::bigint ORDER BY xmin::text::bigint"
            return [row[0] for row in connection.execute(query)]

    async def scenario() -> None:
        async with SharedRateLimiter(budget, database, AdaptiveConcurrencyLimit(16, 16), lambda: NOW) as rate_limiter:
            permits = [await rate_limiter.acquire(5, Purpose.GAP) for _ in range(2)]
            await rate_limiter.release(permits[0], SUCCESSFUL_REQUEST)
            await rate_limiter.release(permits[1], refused)
            while not await asyncio.to_thread(count_transactions):
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert count_transactions() == [2]
    assert budget.read_status(NOW).paused_until is not None


class GenerousBudget(RecordingBudget):
    """Takes one permit more than was asked for, so that one is left over."""

    def take_permits(self, wanted: int, calls_each: int, now: datetime) -> PermitGrant:
        return super().take_permits(wanted + 1, calls_each, now)


def test_permits_that_were_not_used_before_midnight_are_returned_to_the_day_they_were_taken_from(
    database: Database,
) -> None:
    budget, tomorrow = GenerousBudget(database), NOW + timedelta(days=1)
    clock = [NOW]

    async def scenario() -> None:
        concurrency = AdaptiveConcurrencyLimit(16, 16)
        async with SharedRateLimiter(budget, database, concurrency, lambda: clock[-1]) as rate_limiter:
            permit = await rate_limiter.acquire(5, Purpose.GAP)
            clock.append(tomorrow)
            await rate_limiter.release(permit, SUCCESSFUL_REQUEST)

    with database.transaction() as connection:  # what another process spends on the new day
        connection.execute(
            "INSERT INTO backfill.ledger (token, day, calls) VALUES (%s, %s, 40)",
            [fingerprint_token("token"), tomorrow.date()],
        )
    asyncio.run(scenario())
    assert [budget.read_status(now).calls_spent_today for now in (NOW, tomorrow)] == [5, 40]
