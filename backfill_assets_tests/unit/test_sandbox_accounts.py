"""Parts of the sandbox without HTTP: accounts, clock, request counts, faults, byte cache, configuration."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from backfill_assets.errors import UsageError
from backfill_assets.sandbox.accounts import TokenAccount, open_account
from backfill_assets.sandbox.clock import SandboxClock
from backfill_assets.sandbox.config import Faults, SandboxConfig
from backfill_assets.sandbox.endpoints.intraday_archive import ByteCache
from backfill_assets.sandbox.server.faults import FaultInjector, apply_changes
from backfill_assets.sandbox.server.stats import RequestStats

MONDAY, TUESDAY = date(2026, 6, 1), date(2026, 6, 2)


def make_account(**changes: int) -> TokenAccount:
    values = {"per_minute": 3, "daily_limit": 20, "extra_calls": 0, "spent_yesterday": 0, **changes}
    return open_account(is_free_plan=False, window_seconds=60.0, today=MONDAY, **values)


def test_requests_are_admitted_again_when_the_window_has_moved_on() -> None:
    token_account = make_account()
    assert [token_account.admit(at) for at in (0.0, 10.0, 20.0, 30.0, 59.9)] == [True, True, True, False, False]
    assert token_account.count_remaining(59.9) == 0
    assert token_account.compute_wait(59.5) == 0.5
    assert token_account.admit(60.0)
    assert not token_account.admit(69.9)
    assert token_account.count_remaining(81.0) == 2


def test_purchased_calls_are_spent_after_the_calls_of_the_day() -> None:
    token_account = make_account(extra_calls=7)
    token_account.spend(18, MONDAY)
    assert token_account.can_spend(9, MONDAY)
    assert not token_account.can_spend(10, MONDAY)
    token_account.spend(5, MONDAY)
    assert (token_account.spent, token_account.extra_calls) == (20, 4)
    token_account.spend(3, MONDAY)
    assert (token_account.spent, token_account.extra_calls) == (20, 1)
    assert not token_account.can_spend(5, MONDAY)
    assert token_account.can_spend(20, TUESDAY)


def test_counter_shows_yesterday_until_the_first_billed_call() -> None:
    token_account = make_account(spent_yesterday=17)
    assert (token_account.spent, token_account.spent_on) == (17, date(2026, 5, 31))
    assert token_account.can_spend(20, MONDAY)
    token_account.spend(0, MONDAY)
    assert token_account.spent_on == date(2026, 5, 31)
    token_account.spend(5, MONDAY)
    assert (token_account.spent, token_account.spent_on) == (5, MONDAY)


def test_free_plan_has_twenty_calls_a_day() -> None:
    values = {"per_minute": 3, "daily_limit": 100_000, "extra_calls": 0, "spent_yesterday": 0}
    assert open_account(is_free_plan=True, window_seconds=60.0, today=MONDAY, **values).daily_limit == 20


def test_clock_runs_at_its_rate_and_can_be_moved() -> None:
    real = iter([0.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 9.0])
    start = datetime(2026, 6, 1, 12, tzinfo=UTC)
    clock = SandboxClock(start, 60.0, read_monotonic=lambda: next(real))
    assert clock.now() == start + timedelta(minutes=1)
    clock.move(datetime(2026, 6, 2, 8, tzinfo=timezone(timedelta(hours=-4))))
    assert clock.now() == datetime(2026, 6, 2, 12, tzinfo=UTC)
    assert clock.now().tzinfo is UTC
    clock.set_rate(0.0)
    assert clock.now() == datetime(2026, 6, 2, 12, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="time zone"):
        clock.move(datetime(2026, 6, 2))  # noqa: DTZ001 - the missing time zone is under test
    with pytest.raises(ValueError, match="negative"):
        clock.set_rate(-1.0)


def test_clock_shows_the_real_time_by_default() -> None:
    before = datetime.now(UTC)
    assert before - timedelta(seconds=1) <= SandboxClock().now() <= before + timedelta(minutes=5)


def test_stats_record_the_maximum_in_a_window_and_in_flight() -> None:
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


def test_faults_have_the_configured_frequency_and_are_repeatable() -> None:
    faults = Faults(status_502=0.2, cut_body=0.05, html_200=0.05, timeout=0.02)
    single_draw = [FaultInjector(faults, seed=1).next_fault() for _ in range(1)]
    first, second = FaultInjector(faults, seed=1), FaultInjector(faults, seed=1)
    many = [first.next_fault() for _ in range(10_000)]
    assert many == [second.next_fault() for _ in range(10_000)]
    assert many[:1] == single_draw
    assert 0.18 < many.count("status_502") / 10_000 < 0.22
    assert 0.04 < many.count("cut_body") / 10_000 < 0.06
    assert 0.66 < many.count(None) / 10_000 < 0.70
    assert FaultInjector(Faults(down=True), seed=1).next_fault() == "down"


@pytest.mark.parametrize(
    "invalid", [{"nope": 1.0}, {"down": 1}, {"status_502": True}, {"timeout": -1}, {"trickle": "x"}]
)
def test_invalid_fault_is_refused_by_name(invalid: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(invalid))):
        apply_changes(Faults(), invalid)
    assert apply_changes(Faults(status_502=0.5), {"down": True}) == Faults(status_502=0.5, down=True)


def test_byte_cache_removes_the_least_recently_used_entry() -> None:
    byte_cache = ByteCache(max_bytes=10)
    byte_cache.put("a", b"1234")
    byte_cache.put("b", b"1234")
    assert byte_cache.get("a") == b"1234"
    byte_cache.put("a", b"12345")
    byte_cache.put("c", b"12")
    assert (byte_cache.get("a"), byte_cache.get("b"), byte_cache.get("c")) == (b"12345", None, b"12")


@pytest.mark.parametrize(
    "invalid",
    [
        {"symbols": 0},
        {"symbols": 10_001},
        {"now": datetime(2026, 6, 1)},  # noqa: DTZ001 - the missing time zone is under test
        {"clock_rate": -1.0},
        {"per_minute": 0},
        {"window_seconds": 0.0},
    ],
)
def test_invalid_configuration_is_refused_by_name(invalid: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(invalid))):
        SandboxConfig(**invalid)  # type: ignore[arg-type]
