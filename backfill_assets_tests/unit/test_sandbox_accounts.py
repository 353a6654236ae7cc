"""The small parts with a memory: accounts, clock, counts, faults, shelf, configuration."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from backfill_assets.errors import UsageError
from backfill_assets.sandbox.accounts import TokenAccount, open_account
from backfill_assets.sandbox.clock import SandboxClock
from backfill_assets.sandbox.config import Faults, SandboxConfig
from backfill_assets.sandbox.server.faults import FaultInjector, apply_changes
from backfill_assets.sandbox.server.stats import RequestStats
from backfill_assets.sandbox.wire.encoding import ByteCache

MONDAY, TUESDAY = date(2026, 6, 1), date(2026, 6, 2)


def account(**changes: int) -> TokenAccount:
    terms = {"per_minute": 3, "daily_limit": 20, "extra_calls": 0, "spent_yesterday": 0, **changes}
    return open_account(is_free_plan=False, window_seconds=60.0, today=MONDAY, **terms)


def test_the_window_slides() -> None:
    someone = account()
    assert [someone.admit(at) for at in (0.0, 10.0, 20.0, 30.0, 59.9)] == [True, True, True, False, False]
    assert someone.count_remaining(59.9) == 0
    assert someone.compute_wait(59.5) == 0.5
    assert someone.admit(60.0)
    assert not someone.admit(69.9)
    assert someone.count_remaining(81.0) == 2


def test_the_day_is_spent_and_then_the_extra_calls_drain_silently() -> None:
    someone = account(extra_calls=7)
    someone.spend(18, MONDAY)
    assert someone.can_spend(9, MONDAY)
    assert not someone.can_spend(10, MONDAY)
    someone.spend(5, MONDAY)
    assert (someone.spent, someone.extra_calls) == (20, 4)
    someone.spend(3, MONDAY)
    assert (someone.spent, someone.extra_calls) == (20, 1)
    assert not someone.can_spend(5, MONDAY)
    assert someone.can_spend(20, TUESDAY)


def test_the_counter_stays_on_yesterday_until_the_first_billed_call() -> None:
    someone = account(spent_yesterday=17)
    assert (someone.spent, someone.spent_on) == (17, date(2026, 5, 31))
    assert someone.can_spend(20, MONDAY)
    someone.spend(0, MONDAY)
    assert someone.spent_on == date(2026, 5, 31)
    someone.spend(5, MONDAY)
    assert (someone.spent, someone.spent_on) == (5, MONDAY)


def test_a_free_account_has_twenty_calls() -> None:
    terms = {"per_minute": 3, "daily_limit": 100_000, "extra_calls": 0, "spent_yesterday": 0}
    assert open_account(is_free_plan=True, window_seconds=60.0, today=MONDAY, **terms).daily_limit == 20


def test_the_clock_runs_at_its_rate_and_can_be_moved() -> None:
    real = iter([0.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 9.0])
    start = datetime(2026, 6, 1, 12, tzinfo=UTC)
    clock = SandboxClock(start, 60.0, read_monotonic=lambda: next(real))
    assert clock.now() == start + timedelta(minutes=1)
    clock.move(datetime(2026, 6, 2, 8, tzinfo=timezone(timedelta(hours=-4))))
    assert clock.now() == datetime(2026, 6, 2, 12, tzinfo=UTC)
    assert clock.now().tzinfo is UTC
    clock.set_rate(0.0)
    assert clock.now() == datetime(2026, 6, 2, 12, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="zone"):
        clock.move(datetime(2026, 6, 2))  # noqa: DTZ001 - the mistake under test
    with pytest.raises(ValueError, match="backwards"):
        clock.set_rate(-1.0)


def test_the_clock_is_real_if_nobody_says_otherwise() -> None:
    before = datetime.now(UTC)
    assert before - timedelta(seconds=1) <= SandboxClock().now() <= before + timedelta(minutes=5)


def test_counts_know_the_most_in_any_window_and_in_flight() -> None:
    stats = RequestStats(window_seconds=10.0)
    for at in (0.0, 1.0, 2.0, 11.5, 12.5, 13.0):
        stats.record_start("intraday", "AAPL.US", at)
    for _ in range(4):
        stats.record_end("200")
    stats.record_calls("intraday", 5)
    counts = stats.as_dict()
    assert (counts["most_in_window"], counts["most_in_flight"], counts["in_flight"]) == (3, 6, 2)
    assert counts["per_ticker"] == {"AAPL.US": 6}
    assert (counts["requests"], counts["calls"], counts["by_status"]) == (6, 5, {"200": 4})
    stats.reset()
    assert stats.as_dict()["requests"] == 0
    assert stats.as_dict()["in_flight"] == 2


def test_faults_strike_as_often_as_told_and_the_same_way_every_time() -> None:
    faults = Faults(status_502=0.2, cut_body=0.05, html_200=0.05, timeout=0.02)
    struck = [FaultInjector(faults, seed=1).next_fault() for _ in range(1)]
    first, second = FaultInjector(faults, seed=1), FaultInjector(faults, seed=1)
    many = [first.next_fault() for _ in range(10_000)]
    assert many == [second.next_fault() for _ in range(10_000)]
    assert many[:1] == struck
    assert 0.18 < many.count("status_502") / 10_000 < 0.22
    assert 0.04 < many.count("cut_body") / 10_000 < 0.06
    assert 0.66 < many.count(None) / 10_000 < 0.70
    assert FaultInjector(Faults(down=True), seed=1).next_fault() == "down"


@pytest.mark.parametrize("wrong", [{"nope": 1.0}, {"down": 1}, {"status_502": True}, {"timeout": -1}, {"trickle": "x"}])
def test_a_fault_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        apply_changes(Faults(), wrong)
    assert apply_changes(Faults(status_502=0.5), {"down": True}) == Faults(status_502=0.5, down=True)


def test_the_shelf_forgets_the_least_used() -> None:
    shelf = ByteCache(max_bytes=10)
    shelf.put("a", b"1234")
    shelf.put("b", b"1234")
    assert shelf.get("a") == b"1234"
    shelf.put("a", b"12345")
    shelf.put("c", b"12")
    assert (shelf.get("a"), shelf.get("b"), shelf.get("c")) == (b"12345", None, b"12")


@pytest.mark.parametrize(
    "wrong",
    [
        {"symbols": 0},
        {"symbols": 10_001},
        {"now": datetime(2026, 6, 1)},  # noqa: DTZ001 - the mistake under test
        {"clock_rate": -1.0},
        {"per_minute": 0},
        {"window_seconds": 0.0},
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        SandboxConfig(**wrong)  # type: ignore[arg-type]
