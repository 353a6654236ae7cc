"""What the day's calls are spent for: shares of the purposes, sums by day, and the pause of all spending."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest

from backfill_assets.market.purposes import KEPT_SHARES, Purpose
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, PermitSettlement, QuotaLimits
from backfill_assets.store.quota.calls_by_purpose import CallsByPurpose, read_calls_by_purpose
from backfill_assets.store.quota.live_budget import LiveBudget
from backfill_assets.store.quota.spending_pause import SpendingPause, end_pause, read_pause, start_pause
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.waiting import LONGEST_SECONDS

TOKEN = "one"  # noqa: S105 - made up
LIMITS = QuotaLimits(
    requests_per_window=10_000, share=1.0, window_seconds=60, timeout_seconds=30, daily_calls=1000, reserve=0.1
)
TAKE_PERMITS_AT_0009 = "(%(token)s, 1, 5, %(day)s, 1000, 1.0, 60, 30, 1000, 0.1, false)"


@pytest.fixture
def create_budget(database: Database) -> Callable[..., Budget]:
    def create(purpose: Purpose = Purpose.GAP, token: str = TOKEN, **changed: Any) -> Budget:
        return Budget(database, token, replace(LIMITS, **changed), purpose)

    return create


@pytest.fixture
def pause(database: Database) -> Callable[..., SpendingPause]:
    def start(minutes: float | None = None) -> SpendingPause:
        """Start a pause, by the server's clock; a negative number of minutes is over already."""
        with database.transaction() as connection:
            (now,) = connection.execute("SELECT clock_timestamp()").fetchall()[0]
        until = now + timedelta(minutes=minutes) if minutes is not None else None
        return start_pause(database, until, "ann@host", "invoice")

    return start


def read_calls(database: Database, now: Any = NOW) -> CallsByPurpose:
    with database.transaction() as connection:
        return read_calls_by_purpose(connection, TOKEN, now)


def fetch_value(database: Database, query: str, **values: Any) -> Any:
    with database.transaction() as connection:
        return connection.execute(query.encode(), values).fetchall()[0][0]


def test_every_purpose_has_a_share_and_lower_ones_leave_more() -> None:
    assert set(KEPT_SHARES) == set(Purpose)
    in_order = [KEPT_SHARES[purpose] for purpose in Purpose]
    assert in_order == sorted(in_order)


@pytest.mark.parametrize(
    ("spent", "left"),
    [
        (0, {Purpose.GAP: 900, Purpose.REFERENCE: 900, Purpose.DAILY: 855, Purpose.REVIEW: 765}),
        (760, {Purpose.GAP: 140, Purpose.REFERENCE: 140, Purpose.DAILY: 95, Purpose.REVIEW: 5}),
        (765, {Purpose.GAP: 135, Purpose.REFERENCE: 135, Purpose.DAILY: 90, Purpose.REVIEW: 0}),
        (855, {Purpose.GAP: 45, Purpose.REFERENCE: 45, Purpose.DAILY: 0, Purpose.REVIEW: 0}),
        (900, {Purpose.GAP: 0, Purpose.REFERENCE: 0, Purpose.DAILY: 0, Purpose.REVIEW: 0}),
    ],
)
def test_the_review_stops_first_then_daily_data_then_gaps(
    create_budget: Callable[..., Budget], spent: int, left: dict[Purpose, int]
) -> None:
    """900 of 1,000 calls are this program's: 5 % of them are kept from daily data and 15 % from the review."""
    if spent:
        create_budget().take_permits(spent // 5, 5, NOW)
    for purpose, calls in left.items():
        budget = create_budget(purpose)
        assert budget.read_status(NOW).calls_left_today == calls
        grant = budget.take_permits(1000, 5, NOW)
        assert len(grant.permits) == calls // 5
        budget.return_permits(grant.permits, 5, NOW.date())


def test_a_plan_of_twenty_calls_keeps_no_call_from_daily_data(create_budget: Callable[..., Budget]) -> None:
    assert create_budget(Purpose.DAILY, daily_calls=20).read_status(NOW).calls_left_today == 18
    assert create_budget(Purpose.REVIEW, daily_calls=20).read_status(NOW).calls_left_today == 16


@pytest.mark.parametrize(
    ("limit", "daily_calls", "account_limit", "requests"),
    [
        pytest.param(None, 100_000, None, 100, id="at most 500"),
        pytest.param(None, 40_000, None, 80, id="1 %"),
        pytest.param(None, 400, None, 0, id="less than a request"),
        pytest.param(None, 1000, 20_000, 40, id="1 % of what the vendor says"),
        pytest.param(9, 100_000, None, 1, id="set"),
        pytest.param(0, 100_000, None, 0, id="off"),
    ],
)
def test_the_other_feed_has_calls_of_its_own(
    create_budget: Callable[..., Budget],
    limit: int | None,
    daily_calls: int,
    account_limit: int | None,
    requests: int,
) -> None:
    budget = create_budget(Purpose.CROSS_FEED, cross_feed_calls=limit, daily_calls=daily_calls)
    if account_limit is not None:
        budget.record_account(NOW.date(), 0, account_limit, 0, NOW)
    grants = [budget.take_permits(30, 5, NOW) for _ in range(5)]
    assert sum(len(grant.permits) for grant in grants) == requests
    assert (grants[-1].permits, grants[-1].wait_seconds, grants[-1].is_paused) == ((), 0.0, False)
    assert grants[-1].calls_left < 5
    assert len(budget.take_permits(1, 5, NOW + timedelta(days=1)).permits) == min(requests, 1)


def test_processes_that_ask_at_once_keep_to_the_limit_of_the_other_feed(
    create_budget: Callable[..., Budget], database: Database
) -> None:
    are_ready = Barrier(4)

    def take() -> int:
        budget = create_budget(Purpose.CROSS_FEED, cross_feed_calls=30)
        are_ready.wait(LONGEST_SECONDS)
        return sum(len(budget.take_permits(1, 5, NOW).permits) for _ in range(5))

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(lambda _: take(), range(4))) == 6
    assert read_calls(database).today == {"cross_feed": 30}


def test_live_sampling_spends_its_own_calls_while_gaps_have_none_left(
    create_budget: Callable[..., Budget], database: Database
) -> None:
    live = LiveBudget(database, TOKEN, LIMITS, daily_calls=100)
    assert live.register_daily_budget(NOW) == 100
    assert len(create_budget().take_permits(1000, 5, NOW).permits) == 160
    assert create_budget().take_permits(1, 5, NOW).permits == ()
    assert len(live.take_permits(200, 1, NOW).permits) == 100
    assert (live.read_spent_calls(NOW), read_calls(database).today) == (100, {"gap": 800, "live": 100})


def test_calls_are_counted_by_purpose_when_granted_and_less_what_is_refunded(
    create_budget: Callable[..., Budget], database: Database
) -> None:
    gap, daily = create_budget(), create_budget(Purpose.DAILY)
    gap.settle_permits(PermitSettlement(gap.take_permits(4, 5, NOW).permits, refund=5), NOW)
    gap.return_permits(gap.take_permits(2, 5, NOW).permits, 5, NOW.date())
    daily.take_permits(1, 100, NOW)
    create_budget(Purpose.ACCOUNT).take_permits(3, 0, NOW)
    create_budget(token="another").take_permits(3, 5, NOW)  # noqa: S106 - made up
    assert read_calls(database) == CallsByPurpose({"daily": 100, "gap": 15}, {"daily": 100, "gap": 15})
    assert gap.read_status(NOW).calls_spent_today == 115


def test_calls_of_thirty_days_include_those_without_a_purpose(
    create_budget: Callable[..., Budget], database: Database
) -> None:
    for days_ago in (30, 29, 1, 0):
        create_budget().take_permits(1, 5, NOW - timedelta(days=days_ago))
    with database.transaction() as connection:  # as before the upgrade
        connection.execute("DELETE FROM backfill.ledger_by_purpose WHERE day = %s", [NOW.date() - timedelta(days=29)])
    assert read_calls(database) == CallsByPurpose({"gap": 5}, {"gap": 10, "not recorded": 5})


@pytest.mark.parametrize("purpose", Purpose)
def test_a_pause_grants_nothing_to_any_purpose_or_token(
    create_budget: Callable[..., Budget], pause: Callable[..., SpendingPause], purpose: Purpose
) -> None:
    pause()
    for token in (TOKEN, "another"):
        for calls in (0, 5):
            grant = create_budget(purpose, token).take_permits(1, calls, NOW)
            assert (grant.permits, grant.is_paused) == ((), True)


def test_a_pause_ends_by_itself_or_when_somebody_resumes(
    create_budget: Callable[..., Budget], pause: Callable[..., SpendingPause], database: Database
) -> None:
    budget = create_budget()
    started = pause(minutes=60)
    assert budget.take_permits(1, 5, NOW).is_paused
    with database.transaction() as connection:
        assert read_pause(connection) == started
        assert end_pause(connection) == started
        assert (read_pause(connection), end_pause(connection)) == (None, None)
    assert len(budget.take_permits(1, 5, NOW).permits) == 1
    pause(minutes=-1)
    assert len(budget.take_permits(1, 5, NOW).permits) == 1
    with database.transaction() as connection:
        assert (read_pause(connection), end_pause(connection)) == (None, None)


def test_requests_under_way_can_be_settled_during_a_pause(
    create_budget: Callable[..., Budget], pause: Callable[..., SpendingPause]
) -> None:
    budget = create_budget()
    permits = budget.take_permits(2, 5, NOW).permits
    pause()
    budget.settle_permits(PermitSettlement(permits[:1], refund=5), NOW)
    budget.return_permits(permits[1:], 5, NOW.date())
    assert budget.read_status(NOW).calls_spent_today == 0


def test_nothing_is_granted_after_a_pause_although_others_take_permits(
    create_budget: Callable[..., Budget], pause: Callable[..., SpendingPause], database: Database
) -> None:
    have_permits = Barrier(4)

    def take_until_paused() -> None:
        budget = create_budget(Purpose.GAP, daily_calls=1_000_000, requests_per_window=1_000_000)
        budget.take_permits(1, 5, NOW)
        have_permits.wait(LONGEST_SECONDS)
        while not budget.take_permits(1, 5, NOW).is_paused:
            pass

    with ThreadPoolExecutor(3) as threads:
        takers = [threads.submit(take_until_paused) for _ in range(3)]
        have_permits.wait(LONGEST_SECONDS)
        pause()
        granted = fetch_value(database, "SELECT count(*) FROM backfill.permits")
        for taker in takers:
            taker.result(LONGEST_SECONDS)
    assert fetch_value(database, "SELECT count(*) FROM backfill.permits") == granted >= 3
    assert read_calls(database).today == {"gap": 5 * granted}


@pytest.mark.parametrize(("name", "purpose"), [("take_permits", "gap"), ("take_live_permits", "live")])
def test_the_functions_of_migration_9_keep_the_pause_and_count_a_purpose(
    database: Database, pause: Callable[..., SpendingPause], name: str, purpose: str
) -> None:
    LiveBudget(database, TOKEN, LIMITS, daily_calls=100).register_daily_budget(NOW)
    values = {"token": fetch_value(database, "SELECT token FROM backfill.budget"), "day": NOW.date()}
    query = f"SELECT cardinality(permit_ids) FROM backfill.{name}{TAKE_PERMITS_AT_0009}"
    assert fetch_value(database, query, **values) == 1
    assert read_calls(database).today == {purpose: 5}
    pause()
    assert fetch_value(database, query, **values) == 0
