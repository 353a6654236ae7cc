"""Several processes or programs with one token, and a vendor with many faults."""

import subprocess
import threading
import time
from collections.abc import Callable

import httpx
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.sandbox.config import Faults
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.acceptance.conftest import User
from backfill_assets_tests.conftest import make_monday_tuesday_job, read_stored_bars
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
WINDOW = 3.0
LIMIT = 300
RATE_SETTINGS = {
    "EODHD_REQUESTS_PER_MINUTE": str(LIMIT),
    "BACKFILL_MINUTE_SHARE": "1",
    "BACKFILL_RATE_WINDOW_SECONDS": str(WINDOW),
    "BACKFILL_REQUEST_TIMEOUT_SECONDS": "600",  # the maximum: a request that times out is sent twice
}


def count_stored_bars(database: Database) -> int:
    with database.transaction() as connection:
        return int(connection.execute("SELECT count(*) FROM market_data").fetchall()[0][0])


def fetch_failed_attempts(database: Database) -> list[tuple[object, ...]]:
    """Failed attempts in the request log of all runs."""
    query = "SELECT ticker, status, error, seconds FROM backfill.requests WHERE error IS NOT NULL"
    with database.transaction() as connection:
        return connection.execute(query).fetchall()


def start_four_runs(user: User, symbols: list[str]) -> list["subprocess.Popen[str]"]:
    quarter = len(symbols) // 4
    parts = [symbols[at : at + quarter] for at in range(0, len(symbols), quarter)]
    return [user.start_cli(f"run --quiet --format json --symbols {','.join(part)}", **RATE_SETTINGS) for part in parts]


@pytest.fixture
def thousand_symbols(make_user: MakeUser, start_sandbox: StartSandbox) -> tuple[User, Sandbox, list[str]]:
    sandbox = start_sandbox(symbols=1000, per_minute=LIMIT, window_seconds=WINDOW, latency_ms=(20, 60))
    user = make_user(sandbox)
    symbols = list_sandbox_symbols(1000)
    user.run_cli(f"symbols add {' '.join(symbols)}")
    return user, sandbox, symbols


@pytest.mark.long
def test_four_processes_share_one_rate_limit(
    thousand_symbols: tuple[User, Sandbox, list[str]], database: Database
) -> None:
    user, sandbox, symbols = thousand_symbols
    runs = start_four_runs(user, symbols)
    errors = [run.communicate(timeout=LONGEST_SECONDS)[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, errors
    stats = sandbox.stats()
    assert stats["most_in_window"] <= LIMIT
    assert fetch_failed_attempts(database) == []  # without retries each ticker costs one request
    assert "429" not in stats["by_status"]
    assert set(stats["per_ticker"].values()) == {1}
    assert count_stored_bars(database) == 1000 * 26


@pytest.mark.long
def test_permits_of_a_killed_process_expire(
    thousand_symbols: tuple[User, Sandbox, list[str]], database: Database
) -> None:
    user, sandbox, symbols = thousand_symbols
    runs = start_four_runs(user, symbols)
    wait_until(
        lambda: count_stored_bars(database) >= 300 * 26 or runs[0].poll() is not None, "300 tickers to be stored"
    )
    runs[0].kill()
    for run in runs:
        run.communicate(timeout=LONGEST_SECONDS)
    assert [run.returncode for run in runs[1:]] == [0] * 3
    stats = sandbox.stats()
    assert (stats["most_in_window"] <= LIMIT, "429" in stats["by_status"]) == (True, False)
    assert fetch_failed_attempts(database) == []
    assert set(stats["per_ticker"].values()) == {1}
    second_run = user.run_cli("run --quiet --format json", **RATE_SETTINGS)
    assert second_run.code == 0
    assert count_stored_bars(database) == 1000 * 26
    request_counts = sandbox.stats()["per_ticker"]
    # only requests in flight of the killed process are repeated
    assert sum(request_counts.values()) - len(request_counts) <= 48


@pytest.mark.long
def test_run_leaves_room_for_another_program_on_the_same_token(
    make_user: MakeUser, start_sandbox: StartSandbox
) -> None:
    """A limit of 1,000 requests a minute, 300 of another program and 48 in flight, scaled to 3 seconds."""
    limit, window, other_requests = 120, 3.0, 36
    sandbox = start_sandbox(symbols=160, per_minute=limit, window_seconds=window, latency_ms=(10, 30))
    limits = {"EODHD_REQUESTS_PER_MINUTE": str(limit), "BACKFILL_MINUTE_SHARE": "0.8", "BACKFILL_IN_FLIGHT_MAX": "6"}
    user = make_user(sandbox, **{**RATE_SETTINGS, **limits})
    user.run_cli(f"symbols add {' '.join(list_sandbox_symbols(160))}")
    stop, at_full_rate, statuses = threading.Event(), threading.Event(), []

    def send_other_requests() -> None:
        url = f"{sandbox.base_url}/eod/AAPL.US?api_token=secret-token-0815&fmt=json&from=2026-06-01"
        response_times: list[float] = []
        pause = 0.0
        with httpx.Client(timeout=LONGEST_SECONDS) as client:
            while not stop.wait(pause):
                statuses.append(client.get(url).status_code)
                response_times.append(time.monotonic())
                pause = window / other_requests
                if len(statuses) >= other_requests:  # at most this many arrive in a window, even on a slow machine
                    pause = max(pause, response_times[-other_requests] + window - time.monotonic())
                    at_full_rate.set()

    thread = threading.Thread(target=send_other_requests)
    thread.start()
    try:
        assert at_full_rate.wait(LONGEST_SECONDS)
        result = user.run_cli("run --quiet --format json")
    finally:
        stop.set()
        thread.join()
    assert result.code == 0
    assert result.json["rate_limited"] == 0
    assert set(statuses) == {200}
    assert len(statuses) >= other_requests
    assert sandbox.stats()["most_in_window"] <= limit  # of both programs


@pytest.mark.long
def test_run_completes_despite_many_vendor_faults(
    make_engine: Callable[..., Engine], start_sandbox: StartSandbox
) -> None:
    faults = Faults(status_502=0.20, cut_body=0.05, html_200=0.05, timeout=0.02)
    sandbox = start_sandbox(symbols=600, faults=faults, per_minute=10_000, seed=3)
    symbols = list_sandbox_symbols(600)
    retry_settings = {"request_timeout_seconds": 20.0, "backoff_seconds": (0.01, 0.1), "attempts": 8}
    engine = make_engine(sandbox, tuple(symbols), requests_per_minute=10_000, **retry_settings)
    result = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert result.after.missing == 0
    assert not result.errors
    # 68 % of requests succeed, so a ticker needs at least 1.47 on average; with this seed it is 1.471.
    requests, faulty = sandbox.stats()["by_endpoint"]["intraday"], sum(sandbox.stats()["by_fault"].values())
    assert requests <= 600 + faulty
    assert requests <= 1.5 * 600
    for symbol in symbols[::20]:
        assert read_stored_bars(engine.database, symbol) == build_expected_bars(sandbox, symbol, MONDAY, TUESDAY)


def test_run_stops_early_when_the_vendor_is_down(
    make_engine: Callable[..., Engine], start_sandbox: StartSandbox
) -> None:
    sandbox = start_sandbox(symbols=100, faults=Faults(down=True))
    engine = make_engine(sandbox, tuple(list_sandbox_symbols(100)), backoff_seconds=(0.0, 0.0), attempts=2)
    result = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert result.exit_code == 4
    assert result.stored == 0
    assert sandbox.stats()["by_endpoint"]["intraday"] < 150
