"""A round of live collection: when it is due, which symbols it samples, its calls, its failures."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from backfill_assets.live.collector import collect_round, collect_until_close
from backfill_assets.live.result import LiveRound
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.vendor_errors import TokenRefused
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, QuotaLimits
from backfill_assets.store.quota.live_budget import LiveBudget
from backfill_assets_tests.conftest import read_stored_bars
from backfill_assets_tests.integration.forwarding_proxy import CLOSE_CONNECTION, MAINTENANCE_PAGE, run_proxy
from backfill_assets_tests.integration.test_backfill_engine import list_sandbox_symbols
from backfill_assets_tests.moving_clock import MovingClock, iter_times, parse_utc

Clock = Callable[..., MovingClock]
MORNING = "2026-06-02 14:00"  # 10:00 in New York


def read_samples(database: Database) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        return connection.execute(
            "SELECT symbol, vendor_timestamp, sampled_at, volume FROM backfill.live_samples"
            " JOIN market_symbols USING (symbol_id) ORDER BY symbol, vendor_timestamp"
        ).fetchall()


def write_external_bars(database: Database, symbol: str, *starts: str) -> None:
    """Write bars like another collector, without provenance."""
    with database.transaction() as connection:
        for start in starts:
            connection.execute(
                "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
                " close_price, volume) SELECT symbol_id, '30m', %s, 5, 6, 4, 5.5, 77 FROM market_symbols"
                " WHERE symbol = %s",
                [parse_utc(start), symbol],
            )


def test_live_collection_is_off_by_default(make_live_clock: Clock) -> None:
    clock = make_live_clock(live={"live": False})
    assert clock.collect(parse_utc(MORNING)).kind == "off"
    assert clock.sandbox.stats()["requests"] == 0


@pytest.mark.parametrize(
    ("now", "next_at"),
    [
        ("2026-06-02 13:44", "2026-06-02 13:45"),
        ("2026-06-02 20:40", "2026-06-03 13:45"),
        ("2026-06-06 15:00", "2026-06-08 13:45"),
        ("2026-06-19 15:00", "2026-06-22 13:45"),
    ],
    ids=["before the first round", "after the close", "Saturday", "holiday"],
)
def test_no_request_outside_sampling_hours(make_live_clock: Clock, now: str, next_at: str) -> None:
    clock = make_live_clock()
    result = clock.collect(parse_utc(now))
    assert (result.kind, result.next_at) == ("closed", parse_utc(next_at))
    assert clock.sandbox.stats()["requests"] == 0


def test_round_stores_samples_with_the_vendors_timestamps(make_live_clock: Clock) -> None:
    clock = make_live_clock(("AAPL", "MSFT"))
    result = clock.collect(parse_utc(MORNING))
    assert (result.kind, result.method, result.calls, result.readings.fresh) == ("sampled", "tickers", 2, 2)
    assert result.calls_left == 10_000
    assert result.next_at == parse_utc("2026-06-02 14:05")
    stored = read_samples(clock.engine.database)
    assert [row[0] for row in stored] == ["AAPL", "MSFT"]
    for _, vendor_timestamp, sampled_at, volume in stored:
        assert sampled_at == parse_utc(MORNING)
        assert timedelta(minutes=15) <= sampled_at - vendor_timestamp <= timedelta(minutes=17)
        assert volume > 0
    assert result.delay_seconds is not None
    assert 900 <= result.delay_seconds <= (result.longest_delay_seconds or 0) <= 1020


def test_round_is_collected_by_one_of_several_processes(make_live_clock: Clock) -> None:
    clock = make_live_clock()
    engine = clock.move_to(parse_utc(MORNING))
    with ThreadPoolExecutor(4) as pool:
        kinds = [result.kind for result in pool.map(lambda _: collect_round(engine), range(4))]
    assert sorted(kinds) == ["not due", "not due", "not due", "sampled"]
    assert clock.collect(parse_utc("2026-06-02 14:04")).kind == "not due"
    assert clock.collect(parse_utc("2026-06-02 14:05")).kind == "sampled"
    assert clock.calls == 2


def test_quotes_of_yesterday_and_repeated_quotes_make_no_bars(make_live_clock: Clock) -> None:
    clock = make_live_clock(("AAPL", "MSFT"))
    early = clock.collect(parse_utc("2026-06-02 13:45"))
    assert (early.readings.fresh + early.readings.other_session, early.written.inserted) == (2, 0)
    clock.collect(parse_utc("2026-06-02 20:20"))
    clock.collect(parse_utc("2026-06-02 20:25"))
    before = read_samples(clock.engine.database)
    clock.sandbox.move_clock(parse_utc("2026-06-02 20:25"))  # the clock of the vendor stands still
    engine = clock.engine.settings.model_copy(update={"as_of": parse_utc("2026-06-02 20:30")})
    repeated = collect_round(type(clock.engine)(clock.engine.database, engine))
    assert (repeated.readings.repeated, repeated.readings.fresh) == (2, 0)
    assert read_samples(clock.engine.database) == before


def test_externally_written_symbol_is_not_sampled(make_live_clock: Clock) -> None:
    clock = make_live_clock(("AAPL", "MSFT"))
    database = clock.engine.database
    write_external_bars(database, "AAPL", "2026-06-01 19:30")
    # the other collector wrote until the end of the last session
    assert clock.collect(parse_utc("2026-06-02 13:55")).external_tickers == 1
    write_external_bars(database, "AAPL", "2026-06-02 13:30")
    result = clock.collect(parse_utc("2026-06-02 14:30"))
    assert (result.tickers, result.external_tickers, result.calls) == (1, 1, 1)
    for now in iter_times(parse_utc("2026-06-02 14:35"), parse_utc("2026-06-02 15:40"), 5):
        clock.collect(now)
    assert read_stored_bars(database, "AAPL")[-1][1:] == (5, 6, 4, 5.5, 77)
    assert {row[0] for row in read_samples(database) if row[1] < parse_utc("2026-06-02 14:44")} == {"MSFT"}
    coverage = clock.measure(parse_utc("2026-06-02 15:40"))
    assert coverage.count_slots(SlotState.UNVERIFIED) == 1


def test_symbol_no_longer_written_externally_is_sampled(make_live_clock: Clock) -> None:
    clock = make_live_clock()
    write_external_bars(clock.engine.database, "AAPL", "2026-06-02 13:30")
    assert clock.collect(parse_utc("2026-06-02 14:55")).kind == "no symbols"
    # the external 10:30 bar would be written by now
    for now in iter_times(parse_utc("2026-06-02 15:00"), parse_utc("2026-06-02 16:00"), 5):
        clock.collect(now)
    stored = [
        datetime.fromtimestamp(row[0], parse_utc(MORNING).tzinfo)
        for row in read_stored_bars(clock.engine.database, "AAPL")
    ]
    assert stored == [parse_utc("2026-06-02 13:30"), parse_utc("2026-06-02 15:00")]


@pytest.mark.no_cover
def test_live_budget_is_never_exceeded(make_live_clock: Clock) -> None:
    clock = make_live_clock(("AAPL", "MSFT", "AMZN"), live={"live_budget": 100})
    results = [
        clock.collect(now) for now in iter_times(parse_utc("2026-06-02 13:45"), parse_utc("2026-06-02 20:30"), 5)
    ]
    assert clock.calls <= 100
    assert results[0].seconds_between == 900  # 29 rounds of 3 calls; every 10 minutes would be 42
    assert len(read_stored_bars(clock.engine.database, "MSFT")) == 13


def test_no_round_without_calls(make_live_clock: Clock) -> None:
    clock = make_live_clock(("AAPL", "MSFT"), live={"live_budget": 1})
    result = clock.collect(parse_utc("2026-06-02 14:15"))
    assert (result.kind, result.calls_left, clock.calls) == ("out of calls", 1, 0)
    assert "more than the 1 calls left" in str(result)


def test_calls_spent_live_do_not_reduce_the_backfill_budget(make_live_clock: Clock) -> None:
    clock = make_live_clock(("AAPL", "MSFT"))
    engine = clock.move_to(parse_utc(MORNING))
    before = engine.create_budget().read_status(parse_utc(MORNING)).calls_left_today
    clock.collect(parse_utc(MORNING))
    after = engine.create_budget().read_status(parse_utc(MORNING))
    assert before - after.calls_left_today == 10_000  # reserved for live sampling, spent or not
    assert after.calls_spent_today == engine.create_live_budget().read_spent_calls(parse_utc(MORNING)) == 2


def test_refused_token_is_reported_and_recorded(make_live_clock: Clock) -> None:
    clock = make_live_clock(tokens=frozenset({"another"}))
    result = clock.collect(parse_utc(MORNING))
    assert result.kind == "failed"
    assert isinstance(result.error, TokenRefused)
    assert result.exit_code == 4
    with clock.engine.database.transaction() as connection:
        assert connection.execute("SELECT error, finished FROM backfill.live_rounds").fetchall() == [
            (str(result.error), True)
        ]


@pytest.mark.no_cover
def test_small_account_is_not_exhausted(make_live_clock: Clock) -> None:
    clock = make_live_clock(daily=100)
    clock.run(parse_utc("2026-06-02 13:50"))  # the account is read: 100 calls a day
    results = [
        clock.collect(now) for now in iter_times(parse_utc("2026-06-02 14:00"), parse_utc("2026-06-02 20:30"), 5)
    ]
    assert clock.sandbox.stats()["calls_by_endpoint"]["real-time"] <= 45  # half of the share of this program
    assert all(result.error is None for result in results)


@pytest.mark.no_cover
def test_unreachable_vendor_loses_one_round_only(make_live_clock: Clock) -> None:
    clock = make_live_clock(live={"attempts": 1, "backoff_seconds": (0.0, 0.0)})
    for now in iter_times(parse_utc("2026-06-02 13:45"), parse_utc("2026-06-02 15:45"), 5):
        clock.sandbox.set_faults(down=now in (parse_utc("2026-06-02 14:25"), parse_utc("2026-06-02 15:15")))
        result = clock.collect(now)
        assert result.kind == ("failed" if result.error else "sampled")
    # one lost sample is inside a slot; the other is at an edge and replaced by a sample within 5 minutes
    assert len(read_stored_bars(clock.engine.database, "AAPL")) == 4
    assert clock.calls == 23


def test_failed_batch_loses_its_own_tickers_only(make_live_clock: Clock) -> None:
    symbols = tuple(list_sandbox_symbols(130))
    clock = make_live_clock(symbols, symbols=130, live={"attempts": 1, "live_budget": 40_000})
    clock.sandbox.set_faults(exchange_quotes=1.0)
    clock.collect(parse_utc("2026-06-02 13:45"))
    clock.sandbox.set_faults(status_500=0.5)
    results = [
        clock.collect(now) for now in iter_times(parse_utc("2026-06-02 13:50"), parse_utc("2026-06-02 14:10"), 5)
    ]
    partial_rounds = [result for result in results if result.kind == "sampled" and result.error]
    assert partial_rounds
    assert {(result.readings.unanswered, result.calls) for result in partial_rounds} <= {
        (100, 30),
        (30, 100),
    }


def connect_through(clock: MovingClock, url: str) -> MovingClock:
    """Connect the engine to the vendor at another address."""
    settings = clock.engine.settings.model_copy(update={"base_url": url})
    return replace(clock, engine=replace(clock.engine, settings=settings))


@pytest.mark.no_cover
def test_unusable_exchange_response_is_paid_once_and_retried_with_backoff(make_live_clock: Clock) -> None:
    """An unusable response also costs 100 calls: 500 tickers get every bar of the day within the budget."""
    symbols, requests = tuple(list_sandbox_symbols(500)), []
    clock = make_live_clock(symbols, symbols=500, live={"backoff_seconds": (0.0, 0.0)})

    def respond_with_page(path: str) -> bytes | None:
        if "ex=" not in path:
            return None
        requests.append(path)
        return MAINTENANCE_PAGE

    with run_proxy(clock.sandbox.base_url, respond_with_page) as url:
        proxied = connect_through(clock, url)
        calls, attempt_times = 0, []
        for now in iter_times(parse_utc("2026-06-02 13:45"), parse_utc("2026-06-02 20:30"), 5):
            result = proxied.collect(now)
            calls += result.calls
            if len(requests) > len(attempt_times):
                attempt_times.append(f"{now:%H:%M}")
    assert len(requests) == len(attempt_times)  # one request per attempt
    # at 20:30 single tickers would exceed the budget
    assert attempt_times == ["13:45", "14:15", "15:15", "17:15", "20:30"]
    assert calls <= 10_000
    database = clock.engine.database
    with database.transaction() as connection:
        bar_counts = connection.execute(
            "SELECT n, count(*) FROM (SELECT count(*) n FROM market_data GROUP BY symbol_id) counts GROUP BY n"
        ).fetchall()
    assert bar_counts == [(13, 500)]


def test_free_failure_of_the_exchange_request_is_retried_at_once(make_live_clock: Clock) -> None:
    symbols, requests = tuple(list_sandbox_symbols(130)), []
    clock = make_live_clock(symbols, symbols=130, live={"backoff_seconds": (0.0, 0.0)})

    def close_first_connections(path: str) -> bytes | None:
        requests.append("ex=" in path)
        return CLOSE_CONNECTION if sum(requests) < 3 and requests[-1] else None

    with run_proxy(clock.sandbox.base_url, close_first_connections) as url:
        result = connect_through(clock, url).collect(parse_utc(MORNING))
    assert (result.method, result.calls, result.readings.fresh, sum(requests)) == ("exchange", 100, 130, 3)


def test_symbols_are_read_one_by_one_where_no_request_gives_the_whole_exchange(
    make_live_clock: Clock, tmp_path: Path
) -> None:
    corrections = tmp_path / "markets.toml"
    corrections.write_text("US.has_exchange_quotes = false\n")
    symbols = tuple(list_sandbox_symbols(130))
    clock = make_live_clock(symbols, symbols=130, live={"markets_file": corrections, "live_budget": 20_000})
    result = clock.collect(parse_utc(MORNING))
    assert (result.kind, result.method, result.calls) == ("sampled", "tickers", 130)


def test_exchange_request_is_retried_if_single_tickers_are_not_affordable(make_live_clock: Clock) -> None:
    symbols = tuple(list_sandbox_symbols(130))
    clock = make_live_clock(symbols, symbols=130, live={"attempts": 1, "live_budget": 120})
    clock.sandbox.set_faults(exchange_quotes=1.0)
    for now in ("14:15", "14:45"):
        assert clock.collect(parse_utc(f"2026-06-02 {now}")).kind == "failed"
    clock.sandbox.set_faults(exchange_quotes=0.0)
    assert clock.collect(parse_utc("2026-06-02 15:15")).method == "exchange"


def test_unreadable_account_does_not_prevent_a_round(make_live_clock: Clock) -> None:
    clock = make_live_clock(live={"attempts": 1})
    with run_proxy(clock.sandbox.base_url, lambda path: CLOSE_CONNECTION if "user" in path else None) as url:
        result = connect_through(clock, url).collect(parse_utc(MORNING))
    assert (result.kind, result.readings.fresh, result.error) == ("sampled", 1, None)


def test_samples_of_last_month_are_deleted(make_live_clock: Clock) -> None:
    clock = make_live_clock()
    clock.collect(parse_utc("2026-04-01 14:00"))
    clock.collect(parse_utc("2026-06-01 14:00"))
    assert len(read_samples(clock.engine.database)) == 2
    clock.collect(parse_utc("2026-06-02 13:45"))
    assert read_samples(clock.engine.database)[0][1] > parse_utc("2026-06-01 00:00")


def test_rounds_continue_until_the_close(make_live_clock: Clock) -> None:
    """The collector starts before the open; the clock moves only while it sleeps."""
    clock = make_live_clock(live={"live_seconds": 1800})
    now = [parse_utc("2026-06-02 11:00")]
    rounds: list[LiveRound] = []

    def sleep(seconds: float) -> None:
        now[0] += timedelta(seconds=seconds)

    last = collect_until_close(lambda: clock.collect(now[0]), lambda: now[0], sleep, rounds.append)
    assert [result.kind for result in rounds] == ["closed", *["sampled"] * 15, "closed"]
    assert last.called_at == parse_utc("2026-06-02 20:15")
    assert len(read_stored_bars(clock.engine.database, "AAPL")) == 13


def test_collect_until_close_does_not_wait_for_the_next_day(make_live_clock: Clock) -> None:
    clock = make_live_clock()
    evening = parse_utc("2026-06-02 21:00")
    result = collect_until_close(lambda: clock.collect(evening), lambda: evening, pytest.fail, lambda _: None)
    assert result.kind == "closed"


def test_collect_until_close_ends_with_a_refused_token(make_live_clock: Clock) -> None:
    clock = make_live_clock(tokens=frozenset({"another"}))
    morning = parse_utc(MORNING)
    result = collect_until_close(lambda: clock.collect(morning), lambda: morning, pytest.fail, lambda _: None)
    assert result.exit_code == 4


def test_no_round_without_a_token(make_live_clock: Clock) -> None:
    clock = make_live_clock(live={"token": None})
    with pytest.raises(TokenRefused):
        clock.collect(parse_utc(MORNING))


def test_token_is_not_in_stored_or_printed_rounds(make_live_clock: Clock) -> None:
    clock = make_live_clock(live={"token": SecretStr("very-secret-token")}, tokens=frozenset({"another"}))
    result = clock.collect(parse_utc(MORNING))
    with clock.engine.database.transaction() as connection:
        rows = connection.execute("SELECT * FROM backfill.live_rounds").fetchall()
    assert "very-secret" not in f"{result!r} {result} {result.as_dict()} {rows}"


@pytest.mark.parametrize(("account", "live_left", "backfill_left"), [(1_000, 450, 450), (100_000, 10_000, 80_000)])
def test_small_plan_is_split_between_live_and_backfill(
    database: Database, account: int, live_left: int, backfill_left: int
) -> None:
    limits = QuotaLimits(
        requests_per_window=10, share=1, window_seconds=60, timeout_seconds=30, daily_calls=account, reserve=0.1
    )
    now = parse_utc(MORNING)
    live, backfill = LiveBudget(database, "t", limits, 10_000), Budget(database, "t", limits)
    assert live.register_daily_budget(now) == live_left
    assert backfill.read_status(now).calls_left_today == backfill_left
