"""Runs during an outage of PostgreSQL, and through a connection pooler.

The outage lasts 2 s by default, and 20 s in ``make soak`` (``--outage 20``).
"""

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.joined_snapshot import join_snapshot
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import make_monday_tuesday_job, read_stored_bars
from backfill_assets_tests.embedded_server import (
    release_embedded_server,
    restart_embedded_server,
    stop_embedded_server,
)
from backfill_assets_tests.integration.forwarding_proxy import run_blocking_proxy
from backfill_assets_tests.integration.test_backfill_engine import (
    MONDAY,
    TUESDAY,
    build_expected_bars,
    ignore_progress,
    list_sandbox_symbols,
)
from backfill_assets_tests.waiting import LONGEST_SECONDS, wait_until

MakeUser = Callable[..., User]
StartSandbox = Callable[..., Sandbox]
TICKERS = 120
RUN = "run --quiet --format json --start 2026-06-01 --end 2026-06-02"
RATE_SETTINGS = {"EODHD_REQUESTS_PER_MINUTE": "100000", "BACKFILL_IN_FLIGHT_START": "8", "BACKFILL_IN_FLIGHT_MAX": "8"}


def fetch_stored_tickers(url: str) -> set[str]:
    """Tickers with stored bars."""
    query = "SELECT s.symbol FROM market_data JOIN market_symbols s USING (symbol_id) GROUP BY 1"
    with psycopg.connect(url) as connection:
        return {f"{symbol}.US" for (symbol,) in connection.execute(query)}


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server for one test, which may stop it."""

    url: str
    home: Path

    def stop(self) -> None:
        stop_embedded_server(self.home)

    def start(self) -> None:
        restart_embedded_server(self.home)


@pytest.fixture
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="backfill-outage-", ignore_cleanup_errors=True) as folder:
        url = start_embedded_database(Path(folder), "bars")
        yield Server(url, Path(folder))
        release_embedded_server(Path(folder))


@dataclass(frozen=True)
class InterruptedRun:
    """A run whose PostgreSQL was stopped when at most a third of its tickers had responses."""

    user: User
    sandbox: Sandbox
    run: "subprocess.Popen[str]"


@pytest.fixture
def interrupt_run(
    server: Server, make_user: MakeUser, start_sandbox: StartSandbox
) -> Iterator[Callable[..., InterruptedRun]]:
    proxies = ExitStack()

    def start(**environment: str) -> InterruptedRun:
        sandbox = start_sandbox(symbols=TICKERS, latency_ms=(20, 60), per_minute=1_000_000)
        user = make_user(sandbox, DATABASE_URL=server.url)
        assert user.run_cli(["symbols", "add", *list_sandbox_symbols(TICKERS)]).code == 0
        url, held_back = proxies.enter_context(run_blocking_proxy(sandbox.base_url, TICKERS // 3))
        run = user.start_cli(RUN, **RATE_SETTINGS, **environment, EODHD_BASE_URL=url)
        wait_until(lambda: fetch_stored_tickers(server.url) != set() or run.poll() is not None, "a stored bar")
        assert run.poll() is None
        server.stop()
        held_back.release()
        return InterruptedRun(user, sandbox, run)

    with proxies:
        yield start


@pytest.mark.long
def test_run_waits_until_the_database_is_back(
    interrupt_run: Callable[..., InterruptedRun], server: Server, request: pytest.FixtureRequest
) -> None:
    interrupted = interrupt_run()
    time.sleep(float(request.config.getoption("--outage")))
    server.start()
    out, err = interrupted.run.communicate(timeout=LONGEST_SECONDS)
    assert interrupted.run.returncode == 0, out + err
    assert set(interrupted.sandbox.stats()["per_ticker"].values()) == {1}  # fetched bars are not requested again
    database = Database(server.url)
    for symbol in list_sandbox_symbols(TICKERS)[::20]:
        assert read_stored_bars(database, symbol) == build_expected_bars(interrupted.sandbox, symbol, MONDAY, TUESDAY)
    with database.transaction() as connection:
        assert connection.execute("SELECT DISTINCT outcome FROM backfill.runs").fetchall() == [("finished",)]
        assert connection.execute("SELECT count(*) FROM market_data").fetchall() == [(TICKERS * 26,)]
    database.close()


@pytest.mark.long
def test_long_database_outage_ends_the_run_and_the_next_run_continues(
    interrupt_run: Callable[..., InterruptedRun], server: Server
) -> None:
    interrupted = interrupt_run(BACKFILL_DATABASE_PATIENCE_SECONDS="1")
    out, err = interrupted.run.communicate(timeout=LONGEST_SECONDS)
    assert interrupted.run.returncode == 5, out + err
    line = err.splitlines()[-1]  # earlier lines report missed heartbeats
    assert line.startswith("error: database 'bars'")
    assert "no connection within 1 s" in line
    server.start()
    stored_tickers = fetch_stored_tickers(server.url)
    assert 0 < len(stored_tickers) < TICKERS
    assert interrupted.user.run_cli(RUN, **RATE_SETTINGS).code == 0
    requests = interrupted.sandbox.stats()["per_ticker"]
    assert {requests[ticker] for ticker in stored_tickers} == {1}
    assert len(requests) == TICKERS


def test_two_engines_share_a_pooler_in_transaction_mode(
    pooler_url: str, start_sandbox: StartSandbox, settings: Settings
) -> None:
    """Two engines with six connections each share three server connections, migrations included."""
    sandbox = start_sandbox(symbols=80, latency_ms=(5, 20), per_minute=1_000_000)
    databases = [Database(pooler_url), Database(pooler_url)]
    with ThreadPoolExecutor(2) as pool:
        applied = list(pool.map(migrate, databases))
    assert sorted(map(bool, applied)) == [False, True]
    with databases[0].transaction() as connection:
        add_symbols(connection, parse_tickers(list_sandbox_symbols(80)))
    engine_settings = settings.model_copy(update={"base_url": sandbox.base_url, "requests_per_minute": 100_000})
    engines = [Engine(database, engine_settings) for database in databases]
    with ThreadPoolExecutor(2) as pool:
        results = list(
            pool.map(lambda engine: run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress), engines)
        )
    assert sum(len(r.outcomes) for r in results) == 80
    assert set(sandbox.stats()["per_ticker"].values()) == {1}
    for symbol in list_sandbox_symbols(80)[::10]:
        assert read_stored_bars(databases[0], symbol) == build_expected_bars(sandbox, symbol, MONDAY, TUESDAY)
    for database in databases:
        database.close()


def test_a_read_does_not_wait_for_a_pooler_that_has_no_second_connection(pooler_url: str) -> None:
    database = Database(pooler_url)
    migrate(database)
    others = [psycopg.connect(pooler_url, prepare_threshold=None) for _ in range(2)]
    for other in others:  # with the read, all three connections that the pooler has
        other.execute("SELECT 1")
    with database.snapshot() as connection:
        with join_snapshot(database, connection, patience_seconds=0.1) as second:
            assert second is None
        assert connection.execute("SELECT count(*) FROM market_data").fetchall() == [(0,)]
    for other in others:
        other.close()
    with (
        database.snapshot() as connection,
        join_snapshot(database, connection, patience_seconds=60) as second,
    ):
        assert second is not None
        assert second.execute("SHOW transaction_isolation").fetchall() == [("repeatable read",)]
    database.close()
