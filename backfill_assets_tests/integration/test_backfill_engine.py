"""Backfill runs from window to result, on real PostgreSQL and a sandbox over real HTTP."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.planner import Strategy
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import Settings
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.sandbox.config import Publication, SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.sandbox.world.simulation import World
from backfill_assets.store.bars.bar_writer import delete_bars
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests import external_tables
from backfill_assets_tests.conftest import NOW, make_job, make_monday_tuesday_job, read_stored_bars

MONDAY, TUESDAY = date(2026, 6, 1), date(2026, 6, 2)
MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]


def build_expected_bars(
    sandbox: Sandbox, symbol: str, *days: date, interval: str = "30m", source: str = "5m"
) -> list[Any]:
    """Build the bars that must be stored according to the simulated world of the sandbox."""
    rows = []
    for day in days:
        (session,) = list_sessions(US, day, day)
        bars = sandbox.world.true_bars(symbol, session, INTERVALS[interval], source)
        rows += [
            (
                int(bar["timestamp"]),
                *(pytest.approx(float(bar[price]), abs=2e-6) for price in ("open", "high", "low", "close")),
                int(bar["volume"]),
            )
            for bar in bars.to_dict("records")
        ]
    return rows


def list_sandbox_symbols(count: int) -> list[str]:
    """List the symbols of a sandbox with ``count`` symbols."""
    return list(World(SandboxConfig(symbols=count)).symbols)


def ignore_progress(_: object) -> None:
    """Progress listener that does nothing."""


def test_two_missing_sessions_are_filled_with_the_expected_bars(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL", "MSFT", "BRK-B"))
    result = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    for symbol in ("AAPL", "MSFT", "BRK-B"):
        assert read_stored_bars(engine.database, symbol) == build_expected_bars(sandbox, symbol, MONDAY, TUESDAY)
    assert (result.before.missing, result.after.missing) == (78, 0)
    assert (result.planned, result.stored, result.absent) == (78, 78, {})
    assert result.written.inserted == 78
    assert result.calls == 15
    assert sandbox.stats()["by_endpoint"]["intraday"] == 3
    assert result.exit_code == 0


def test_second_run_sends_no_request(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL", "MSFT"))
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    before = sandbox.stats()["requests"]
    again = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert (again.requests, again.calls, sandbox.stats()["requests"]) == (0, 0, before)


def test_single_missing_slot_is_filled_and_nothing_else_is_written(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, ("AAPL", "MSFT"))
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    complete = read_stored_bars(engine.database, "AAPL")
    delete_bars_at(engine.database, "AAPL", 5)
    result = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert (result.before.missing, result.after.missing, result.calls) == (1, 0, 5)
    assert result.written.inserted == 1
    assert result.written.updated == result.written.revised == 0
    assert read_stored_bars(engine.database, "AAPL") == complete


def delete_bars_at(database: Database, symbol: str, *positions: int) -> None:
    """Delete bars by their position in the stored history."""
    stored = read_stored_bars(database, symbol)
    with database.transaction() as connection:
        (key,) = (s.symbol_id for s in list_symbols(connection, "US") if s.ticker.symbol == symbol)
        for position in positions:
            stamp = datetime.fromtimestamp(stored[position][0], UTC)
            assert delete_bars(connection, key, INTERVALS["30m"], [stamp]) == 1


def test_slot_not_returned_is_not_requested_again_within_an_hour(
    make_engine: MakeEngine, start_sandbox: StartSandbox, settings: Settings
) -> None:
    sandbox = start_sandbox(publication=Publication(never_published=frozenset({("AAPL", TUESDAY)})))
    engine = make_engine(sandbox, ("AAPL", "MSFT"))
    first = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert first.absent == {"not available from the vendor (missing)": 13}
    assert first.exit_code == 3
    second = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert (second.requests, second.deferred) == (0, 1)
    later = Engine(engine.database, engine.settings.model_copy(update={"as_of": NOW + timedelta(minutes=61)}))
    assert run_backfill(later, make_monday_tuesday_job(later), ignore_progress).calls == 5 + 5  # and the other feed


def test_request_times_in_the_future_do_not_block_retries(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(publication=Publication(never_published=frozenset({("AAPL", TUESDAY)})))
    engine = make_engine(sandbox)
    future_engine = Engine(engine.database, engine.settings.model_copy(update={"as_of": NOW + timedelta(days=365)}))
    run_backfill(future_engine, make_monday_tuesday_job(future_engine), ignore_progress)
    assert run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress).calls == 5 + 5  # and the other feed
    with engine.database.transaction() as connection:
        since = connection.execute(
            "SELECT no_new_data_since FROM backfill.session_evidence WHERE session_day = %s", [TUESDAY]
        ).fetchall()
    assert since == [(NOW,)]


def test_force_requests_everything(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(publication=Publication(never_published=frozenset({("AAPL", TUESDAY)})))
    engine = make_engine(sandbox, ("AAPL", "MSFT"))
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    forced = run_backfill(engine, make_monday_tuesday_job(engine, force=True), ignore_progress)
    assert sandbox.stats()["by_endpoint"]["intraday"] == 2 + 2 + 1  # and the other feed
    assert (forced.written.unchanged, forced.written.inserted) == (13 + 26, 0)


def test_pending_slots_do_not_count_as_missing(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    engine = make_engine(start_sandbox())
    coverage = engine.measure(make_job(engine))
    assert [s.day for s in coverage.grid.sessions] == [MONDAY, TUESDAY, date(2026, 6, 3)]
    result = run_backfill(engine, make_job(engine), ignore_progress)
    assert (result.after.missing, result.after.pending, result.exit_code) == (0, 13, 0)


def test_incremental_requests_only_after_the_newest_bar(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    engine = make_engine(start_sandbox())
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    delete_bars_at(engine.database, "AAPL", 3)
    assert (
        run_backfill(engine, make_monday_tuesday_job(engine, strategy=Strategy.INCREMENTAL), ignore_progress).calls == 0
    )
    delete_bars_at(engine.database, "AAPL", -1)
    result = run_backfill(engine, make_monday_tuesday_job(engine, strategy=Strategy.INCREMENTAL), ignore_progress)
    assert (result.calls, len(read_stored_bars(engine.database, "AAPL"))) == (5, 26)


def test_bars_before_the_window_are_re_read_but_never_inserted(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    engine = make_engine(start_sandbox())
    result = run_backfill(engine, make_job(engine, start=TUESDAY, end=TUESDAY), ignore_progress)
    assert len(read_stored_bars(engine.database, "AAPL")) == 13
    assert (result.written.inserted, result.written.outside) == (13, 26)


def test_revision_in_the_overlap_is_stored_with_the_old_values(
    make_engine: MakeEngine, start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox)
    run_backfill(engine, make_job(engine, start=MONDAY, end=MONDAY), ignore_progress)
    with engine.database.transaction() as connection:
        connection.execute("UPDATE market_data SET volume = volume + 7, fetched_at = fetched_at - interval '1 day'")
    result = run_backfill(engine, make_job(engine, start=TUESDAY, end=TUESDAY), ignore_progress)
    assert result.written.revised == 13
    assert read_stored_bars(engine.database, "AAPL") == build_expected_bars(sandbox, "AAPL", MONDAY, TUESDAY)
    with engine.database.transaction() as connection:
        stored = connection.execute("SELECT count(*), min(interval_type) FROM backfill.revisions").fetchone()
    assert stored == (13, "30m")


@pytest.mark.parametrize(("interval", "source"), [("1m", "1m"), ("5m", "5m"), ("15m", "5m"), ("1h", "5m")])
def test_other_intervals_are_built_from_their_source(
    make_engine: MakeEngine, start_sandbox: StartSandbox, interval: str, source: str
) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox)
    result = run_backfill(engine, make_job(engine, interval=interval, start=MONDAY, end=MONDAY), ignore_progress)
    expected = build_expected_bars(sandbox, "AAPL", MONDAY, interval=interval, source=source)
    assert read_stored_bars(engine.database, "AAPL", interval) == expected
    assert result.after.missing == 0


@pytest.mark.parametrize(
    ("day", "bars"),
    [(date(2025, 11, 28), 7), (date(2026, 3, 6), 13), (date(2026, 3, 9), 13), (date(2025, 11, 3), 13)],
    ids=["early close", "before summer time", "after summer time", "after winter time"],
)
def test_early_closes_and_clock_changes_have_all_bars(
    make_engine: MakeEngine, start_sandbox: StartSandbox, day: date, bars: int
) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox)
    result = run_backfill(engine, make_job(engine, start=day, end=day), ignore_progress)
    assert len(read_stored_bars(engine.database, "AAPL")) == bars == result.stored
    assert read_stored_bars(engine.database, "AAPL") == build_expected_bars(sandbox, "AAPL", day)


def test_external_bars_are_not_changed(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    engine = make_engine(start_sandbox())
    with engine.database.transaction() as connection:
        connection.execute(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
            " close_price, volume) SELECT symbol_id, '30m', '2026-06-01 13:30+00', 1, 2, 1, 2, 3 FROM market_symbols"
        )
    result = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert read_stored_bars(engine.database, "AAPL")[0] == (1780320600, 1, 2, 1, 2, 3)
    assert (result.written.inserted, result.written.protected) == (25, 1)


def test_run_fills_externally_created_tables(
    create_database: Callable[..., str], start_sandbox: StartSandbox, settings: Settings
) -> None:
    url = create_database(None)
    external_tables.create_external_tables(url)
    database = Database(url)
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol, company_name) VALUES ('AAPL', 'Apple'), ('MSFT', 'M')")
        connection.execute(
            "INSERT INTO market_data (symbol_id, timestamp, open_price, high_price, low_price, close_price, volume)"
            " VALUES (1, '2026-06-01 13:30+00', 1, 2, 1, 2, 3), (1, '2026-05-01 13:30+00', 1, 2, 1, 2, 3)"
        )
    migrate(database)
    sandbox = start_sandbox()
    engine = Engine(database, settings.model_copy(update={"base_url": sandbox.base_url}))
    result = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert (result.before.missing, result.after.missing) == (51, 0)
    assert read_stored_bars(database, "MSFT", "30min") == build_expected_bars(sandbox, "MSFT", MONDAY, TUESDAY)
    assert read_stored_bars(database, "AAPL", "30min")[2:] == build_expected_bars(sandbox, "AAPL", MONDAY, TUESDAY)[1:]
    assert read_stored_bars(database, "AAPL", "30m") == []
    assert run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress).requests == 0
    database.close()


def test_concurrent_runs_never_request_the_same_ticker(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(latency_ms=(30, 60))
    engine = make_engine(sandbox, ("AAPL", "MSFT", "AMZN", "TSLA", "VTI", "NVDA"))
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run_backfill, engine, make_monday_tuesday_job(engine), ignore_progress) for _ in range(2)]
        results = [run.result() for run in runs]
    assert set(sandbox.stats()["per_ticker"].values()) == {1}
    assert sum(len(r.outcomes) for r in results) == 6
    assert engine.measure(make_monday_tuesday_job(engine)).missing.sum() == 0


def test_result_counts_requested_slots_only(make_engine: MakeEngine, start_sandbox: StartSandbox) -> None:
    engine = make_engine(start_sandbox())
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    delete_bars_at(engine.database, "AAPL", 3, -1)
    result = run_backfill(engine, make_monday_tuesday_job(engine, strategy=Strategy.INCREMENTAL), ignore_progress)
    assert (result.planned, result.stored, result.absent) == (1, 1, {})


@pytest.mark.parametrize(("set_days", "requests"), [({}, 1), ({"max_span_days": 120}, 2)])
def test_half_a_year_is_one_request_unless_shorter_ones_are_set(
    make_engine: MakeEngine, start_sandbox: StartSandbox, set_days: dict[str, int], requests: int
) -> None:
    sandbox = start_sandbox()
    engine = make_engine(sandbox, **set_days)
    half_year = make_job(engine, start=date(2025, 12, 1), end=TUESDAY)
    plan = engine.plan(half_year, engine.measure(half_year))
    result = run_backfill(engine, half_year, ignore_progress)
    assert (len(plan.requests), plan.lower_bound) == (requests, 5)
    listing = 1 if requests > 1 else 0  # since when it is listed, before it is requested more than once
    assert result.calls == plan.calls + listing == sandbox.stats()["calls"]
    assert result.after.missing == 0


def test_lost_database_ends_the_run_with_database_unavailable(
    create_database: Callable[..., str], start_sandbox: StartSandbox, settings: Settings
) -> None:
    sandbox = start_sandbox(latency_ms=(50, 100), symbols=60)
    url = create_database()
    database = Database(url, max_wait_seconds=1)
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(list_sandbox_symbols(60)))
    engine = Engine(database, settings.model_copy(update={"base_url": sandbox.base_url, "in_flight_max": 4}))

    def drop_connections(_: object) -> None:
        with psycopg.connect(
            str(settings.database_url and settings.database_url.get_secret_value()), autocommit=True
        ) as admin:
            name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

    with pytest.raises(DatabaseUnavailable):
        run_backfill(engine, make_monday_tuesday_job(engine), drop_connections)
    database.close()
