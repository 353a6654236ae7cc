"""The budget of a token: rate window, daily calls, other programs and several processes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import (
    Budget,
    PermitSettlement,
    QuotaLimits,
    QuotaRefusal,
    compute_quota_reset,
    fingerprint_token,
)
from backfill_assets_tests.conftest import NOW

LIMITS = QuotaLimits(
    requests_per_window=10, share=1.0, window_seconds=60, timeout_seconds=30, daily_calls=1000, reserve=0.1
)


@pytest.fixture
def create_budget(database: Database) -> Callable[..., Budget]:
    def create(account: str = "one", **changed: Any) -> Budget:
        return Budget(database, account, replace(LIMITS, **changed))

    return create


def move_window_back(database: Database, seconds: float) -> None:
    """Move all entries of the rate window back in time."""
    with database.transaction() as connection:
        connection.execute("UPDATE backfill.permits SET expires_at = expires_at - make_interval(secs => %s)", [seconds])
        connection.execute(
            "UPDATE backfill.budget SET paused_until = paused_until - make_interval(secs => %(s)s),"
            " external_seen_at = external_seen_at - make_interval(secs => %(s)s)",
            {"s": seconds},
        )


def test_take_permits_never_exceeds_the_rate_window(create_budget: Callable[..., Budget], database: Database) -> None:
    budget = create_budget()
    first = budget.take_permits(7, 5, NOW)
    second = budget.take_permits(7, 5, NOW)
    assert (len(first.permits), len(second.permits)) == (7, 3)
    assert budget.take_permits(1, 5, NOW).permits == ()
    budget.settle_permits(PermitSettlement(first.permits), NOW)
    assert budget.take_permits(1, 5, NOW).permits == ()  # a completed request still counts in the window of the vendor
    move_window_back(database, 59)
    assert budget.take_permits(1, 5, NOW).permits == ()
    move_window_back(database, 2)
    assert len(budget.take_permits(9, 5, NOW).permits) == 7


def test_the_wait_ends_when_the_first_permit_expires(create_budget: Callable[..., Budget], database: Database) -> None:
    budget = create_budget()
    budget.settle_permits(PermitSettlement(budget.take_permits(10, 5, NOW).permits), NOW)
    move_window_back(database, 20)
    assert 39 < budget.take_permits(1, 5, NOW).wait_seconds <= 40


def test_permits_of_a_dead_process_expire(create_budget: Callable[..., Budget], database: Database) -> None:
    budget = create_budget()
    budget.take_permits(10, 5, NOW)
    move_window_back(database, 89)
    assert budget.take_permits(1, 5, NOW).permits == ()
    move_window_back(database, 2)
    assert len(budget.take_permits(10, 5, NOW).permits) == 10


def test_the_configured_share_limits_the_window(create_budget: Callable[..., Budget]) -> None:
    assert len(create_budget(share=0.8).take_permits(100, 5, NOW).permits) == 8


def test_external_requests_in_the_headers_lower_the_ceiling(
    create_budget: Callable[..., Budget], database: Database
) -> None:
    budget = create_budget(requests_per_window=1000, share=0.8)
    permits = budget.take_permits(100, 5, NOW).permits
    budget.settle_permits(PermitSettlement(permits, rate_limit=1000, rate_remaining=600), NOW)
    status = budget.read_status(NOW)
    assert status.external_requests == 300  # 400 used, 100 of them by this program
    assert status.requests_ceiling == 950 - 330
    move_window_back(database, 121)
    assert budget.read_status(NOW).requests_ceiling == 800


def test_a_pause_applies_to_every_budget_of_the_token(create_budget: Callable[..., Budget], database: Database) -> None:
    budget, other_budget = create_budget(), create_budget()
    budget.settle_permits(PermitSettlement(budget.take_permits(1, 5, NOW).permits, refund=5, pause_seconds=12), NOW)
    denied = other_budget.take_permits(1, 5, NOW)
    assert (denied.permits, 11 < denied.wait_seconds <= 12) == ((), True)
    move_window_back(database, 13)
    assert len(other_budget.take_permits(1, 5, NOW).permits) == 1


def test_the_daily_reserve_is_never_spent(create_budget: Callable[..., Budget]) -> None:
    budget = create_budget(daily_calls=50, requests_per_window=100)
    assert len(budget.take_permits(20, 5, NOW).permits) == 9
    exhausted = budget.take_permits(1, 5, NOW)
    assert (exhausted.permits, exhausted.calls_left) == ((), 0)
    assert len(budget.take_permits(1, 0, NOW).permits) == 1  # free endpoints still work
    assert len(budget.take_permits(20, 5, NOW + timedelta(days=1)).permits) == 9


def test_calls_of_free_requests_are_refunded(create_budget: Callable[..., Budget]) -> None:
    budget = create_budget(daily_calls=50)
    permits = budget.take_permits(9, 5, NOW).permits
    budget.settle_permits(PermitSettlement(permits[:4], refund=20), NOW)
    budget.return_permits(permits[4:6], 5, NOW.date())
    assert budget.read_status(NOW).calls_left_today == 30
    assert budget.read_status(NOW).requests_in_window == 7


def test_the_call_count_of_the_vendor_limits_the_day(create_budget: Callable[..., Budget]) -> None:
    budget = create_budget(requests_per_window=1000)
    budget.take_permits(4, 5, NOW)
    budget.record_account(NOW.date(), 820, 1000, 500, NOW)
    assert budget.read_status(NOW).calls_left_today == 80
    budget.take_permits(2, 5, NOW)
    assert budget.read_status(NOW).calls_left_today == 70  # calls spent since then are subtracted
    assert create_budget(spend_extra=True).read_status(NOW).calls_left_today == 570


def test_an_account_date_of_yesterday_counts_no_spent_calls(create_budget: Callable[..., Budget]) -> None:
    budget = create_budget()
    budget.record_account(NOW.date() - timedelta(days=1), 990, 1000, 0, NOW)
    assert budget.read_status(NOW).calls_left_today == 900


def test_a_refusal_of_the_vendor_uses_up_the_day_until_the_account_shows_more(
    create_budget: Callable[..., Budget],
) -> None:
    budget, other_host = create_budget(), create_budget(daily_calls=2000)
    budget.record_account(NOW.date(), 20, 1000, 5, NOW)
    budget.record_refusal("the vendor's words", NOW)
    budget.record_refusal("other words", NOW + timedelta(minutes=1))
    assert other_host.read_refusal(NOW) == QuotaRefusal(NOW, "the vendor's words")
    assert (other_host.read_status(NOW).calls_left_today, other_host.take_permits(1, 5, NOW).permits) == (0, ())
    assert len(budget.take_permits(1, 0, NOW).permits) == 1  # the account is free
    assert budget.read_status(NOW + timedelta(days=1)).calls_left_today == 900
    budget.record_account(NOW.date(), 20, 1000, 4, NOW)  # fewer purchased calls are no reason to ask again
    assert create_budget(spend_extra=True).read_status(NOW).calls_left_today == 0
    budget.record_account(NOW.date(), 20, 3000, 4, NOW)
    assert budget.read_status(NOW).calls_left_today == 2680
    budget.record_refusal("again", NOW + timedelta(hours=1))
    assert (budget.read_status(NOW).calls_left_today, budget.read_status(NOW).refusal) == (
        0,
        QuotaRefusal(NOW + timedelta(hours=1), "again"),
    )


def test_each_token_has_its_own_budget_and_only_its_fingerprint_is_stored(
    create_budget: Callable[..., Budget], database_url: str
) -> None:
    create_budget("alice-token").take_permits(10, 5, NOW)
    assert len(create_budget("bob-token").take_permits(10, 5, NOW).permits) == 10
    with psycopg.connect(database_url) as connection:
        names = {row[0] for row in connection.execute("SELECT token FROM backfill.budget")}
    assert names == {fingerprint_token("alice-token"), fingerprint_token("bob-token")}


def test_the_day_ends_at_midnight_utc() -> None:
    assert compute_quota_reset(datetime(2026, 6, 3, 23, 59, tzinfo=UTC)) == datetime(2026, 6, 4, tzinfo=UTC)
    assert compute_quota_reset(NOW).date() == date(2026, 6, 4)
