"""Several processes on one token, another program on the same token, and a vendor with many faults."""

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
from backfill_assets_tests.conftest import bars_in, monday_and_tuesday
from backfill_assets_tests.integration.test_backfill_engine import (
    MONDAY,
    TUESDAY,
    build_expected_bars,
    ignore_progress,
    list_sandbox_symbols,
)
from backfill_assets_tests.waiting import LONGEST_SECONDS, wait_until

UserOf = Callable[..., User]
Sandboxed = Callable[..., Sandbox]
WINDOW = 3.0
LIMIT = 300
PACE = {
    "EODHD_REQUESTS_PER_MINUTE": str(LIMIT),
    "BACKFILL_MINUTE_SHARE": "1",
    "BACKFILL_RATE_WINDOW_SECONDS": str(WINDOW),
    "BACKFILL_REQUEST_TIMEOUT_SECONDS": "600",  # the longest there is: a request that times out is sent twice
}


def stored(database: Database) -> int:
    with database.transaction() as connection:
        return int(connection.execute("SELECT count(*) FROM market_data").fetchall()[0][0])


def failed_attempts(database: Database) -> list[tuple[object, ...]]:
    """What every run's log of requests says about attempts that failed."""
    query = "SELECT ticker, status, error, seconds FROM backfill.requests WHERE error IS NOT NULL"
    with database.transaction() as connection:
        return connection.execute(query).fetchall()


def four_at_once(user: User, symbols: list[str]) -> list["subprocess.Popen[str]"]:
    quarter = len(symbols) // 4
    parts = [symbols[at : at + quarter] for at in range(0, len(symbols), quarter)]
    return [user.starts(f"run --quiet --format json --symbols {','.join(part)}", **PACE) for part in parts]


@pytest.fixture
def crowd(user_of: UserOf, sandboxed: Sandboxed) -> tuple[User, Sandbox, list[str]]:
    sandbox = sandboxed(symbols=1000, per_minute=LIMIT, window_seconds=WINDOW, latency_ms=(20, 60))
    user = user_of(sandbox)
    symbols = list_sandbox_symbols(1000)
    user.types(f"symbols add {' '.join(symbols)}")
    return user, sandbox, symbols


def test_four_processes_keep_one_rate_limit(crowd: tuple[User, Sandbox, list[str]], database: Database) -> None:
    user, sandbox, symbols = crowd
    runs = four_at_once(user, symbols)
    errors = [run.communicate(timeout=LONGEST_SECONDS)[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, errors
    seen = sandbox.stats()
    assert seen["most_in_window"] <= LIMIT
    assert failed_attempts(database) == []  # none is repeated, so each ticker costs one request
    assert "429" not in seen["by_status"]
    assert set(seen["per_ticker"].values()) == {1}
    assert stored(database) == 1000 * 26


@pytest.mark.long
def test_permits_of_a_killed_process_expire(crowd: tuple[User, Sandbox, list[str]], database: Database) -> None:
    user, sandbox, symbols = crowd
    runs = four_at_once(user, symbols)
    wait_until(lambda: stored(database) >= 300 * 26 or runs[0].poll() is not None, "300 tickers to be stored")
    runs[0].kill()
    for run in runs:
        run.communicate(timeout=LONGEST_SECONDS)
    assert [run.returncode for run in runs[1:]] == [0] * 3
    seen = sandbox.stats()
    assert (seen["most_in_window"] <= LIMIT, "429" in seen["by_status"]) == (True, False)
    assert failed_attempts(database) == []
    assert set(seen["per_ticker"].values()) == {1}
    rest = user.types("run --quiet --format json", **PACE)
    assert rest.code == 0
    assert stored(database) == 1000 * 26
    again = sandbox.stats()["per_ticker"]
    assert sum(again.values()) - len(again) <= 48  # only what the dead one had in flight is asked twice


@pytest.mark.long
def test_run_leaves_room_for_another_program_on_the_same_token(user_of: UserOf, sandboxed: Sandboxed) -> None:
    """A minute with 1,000 requests allowed, 300 of them another program's and 48 in flight, scaled to 3 seconds."""
    limit, window, theirs = 120, 3.0, 36
    sandbox = sandboxed(symbols=160, per_minute=limit, window_seconds=window, latency_ms=(10, 30))
    scaled = {"EODHD_REQUESTS_PER_MINUTE": str(limit), "BACKFILL_MINUTE_SHARE": "0.8", "BACKFILL_IN_FLIGHT_MAX": "6"}
    user = user_of(sandbox, **{**PACE, **scaled})
    user.types(f"symbols add {' '.join(list_sandbox_symbols(160))}")
    stop, at_work, statuses = threading.Event(), threading.Event(), []

    def stranger() -> None:
        url = f"{sandbox.base_url}/eod/AAPL.US?api_token=secret-token-0815&fmt=json&from=2026-06-01"
        answered_at: list[float] = []
        pause = 0.0
        with httpx.Client(timeout=LONGEST_SECONDS) as client:
            while not stop.wait(pause):
                statuses.append(client.get(url).status_code)
                answered_at.append(time.monotonic())
                pause = window / theirs
                if len(statuses) >= theirs:  # never more than its part arrives in a window, however slow the machine
                    pause = max(pause, answered_at[-theirs] + window - time.monotonic())
                    at_work.set()

    thread = threading.Thread(target=stranger)
    thread.start()
    try:
        assert at_work.wait(LONGEST_SECONDS)
        said = user.types("run --quiet --format json")
    finally:
        stop.set()
        thread.join()
    assert said.code == 0
    assert said.json["rate_limited"] == 0
    assert set(statuses) == {200}
    assert len(statuses) >= theirs
    assert sandbox.stats()["most_in_window"] <= limit  # both together


@pytest.mark.long
def test_run_completes_in_spite_of_many_vendor_faults(engine_on: Callable[..., Engine], sandboxed: Sandboxed) -> None:
    faults = Faults(status_502=0.20, cut_body=0.05, html_200=0.05, timeout=0.02)
    sandbox = sandboxed(symbols=600, faults=faults, per_minute=10_000, seed=3)
    symbols = list_sandbox_symbols(600)
    patient = {"request_timeout_seconds": 20.0, "backoff_seconds": (0.01, 0.1), "attempts": 8}
    engine = engine_on(sandbox, tuple(symbols), requests_per_minute=10_000, **patient)
    result = run_backfill(engine, monday_and_tuesday(engine), ignore_progress)
    assert result.after.missing == 0
    assert not result.errors
    # One request in 0.68 succeeds, so 1.47 a ticker is the floor; this seed draws 1.471, and none is wasted.
    asked, struck = sandbox.stats()["by_endpoint"]["intraday"], sum(sandbox.stats()["by_fault"].values())
    assert asked <= 600 + struck
    assert asked <= 1.5 * 600
    for symbol in symbols[::20]:
        assert bars_in(engine.database, symbol) == build_expected_bars(sandbox, symbol, MONDAY, TUESDAY)


def test_run_stops_soon_when_the_vendor_is_down(engine_on: Callable[..., Engine], sandboxed: Sandboxed) -> None:
    sandbox = sandboxed(symbols=100, faults=Faults(down=True))
    engine = engine_on(sandbox, tuple(list_sandbox_symbols(100)), backoff_seconds=(0.0, 0.0), attempts=2)
    result = run_backfill(engine, monday_and_tuesday(engine), ignore_progress)
    assert result.exit_code == 4
    assert result.stored == 0
    assert sandbox.stats()["by_endpoint"]["intraday"] < 150
