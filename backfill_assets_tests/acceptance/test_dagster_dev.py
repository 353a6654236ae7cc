"""A Dagster deployment with a real database: backfills from the UI, and gaps filled by a sensor."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import build_child_environment
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.bars.bar_writer import delete_bars
from backfill_assets.store.symbols import list_symbols
from backfill_assets_tests.acceptance.dagster_dev import DagsterDev, run_dagster_dev, wait_for
from backfill_assets_tests.conftest import make_job
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress, list_sandbox_symbols

SYMBOLS = 500
DAYS = ("2026-05-29", "2026-06-01", "2026-06-02")
PASSED_STATUSES = {"SUCCEEDED"}


def count_intraday_requests(sandbox: Sandbox) -> int:
    return int(sandbox.stats()["by_endpoint"].get("intraday", 0))


def list_finished_runs(dev: DagsterDev, sensor: bool) -> list[dict[str, Any]]:
    runs = [run for run in dev.list_runs() if ("dagster/sensor_name" in run["tags"]) is sensor]
    return runs if all(run["status"] in {"SUCCESS", "FAILURE"} for run in runs) else []


@pytest.fixture
def deployment(
    make_engine: Callable[..., Engine],
    start_sandbox: Callable[..., Sandbox],
    create_database: Callable[..., str],
    tmp_path: Path,
) -> Any:
    """A deployment with 500 symbols whose sensors are stopped."""
    sandbox = start_sandbox(symbols=SYMBOLS, latency_ms=(20, 60))
    engine = make_engine(
        sandbox,
        tuple(list_sandbox_symbols(SYMBOLS)),
        partition_days=4,
        sensor_seconds=2,
        auto=False,
        dagster_postgres_url=create_database(None),
    )
    with run_dagster_dev(tmp_path / "log", build_child_environment(engine.settings)) as dev:
        yield engine, sandbox, dev


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ui_backfills_partitions_and_the_sensor_fills_gaps(deployment: Any) -> None:
    engine, sandbox, dev = deployment
    symbols = sorted(list_sandbox_symbols(SYMBOLS))

    # ten of twenty symbols are complete: a backfill from the UI sends requests only for the others
    twenty = symbols[:20]
    complete = make_job(engine, start=date(2026, 5, 29), end=date(2026, 6, 2), symbols=twenty[::2])
    run_backfill(engine, complete, ignore_progress)
    assert count_intraday_requests(sandbox) == 10
    dev.start_sensor("symbol_partitions_sensor")
    partitions = [f"{day}|{symbol}.US" for symbol in twenty for day in DAYS]
    wait_for(lambda: dev.count_symbols("bars_30m") == SYMBOLS, "the symbols to be partitions")
    backfill = dev.start_backfill("bars_30m", partitions)
    wait_for(lambda: dev.get_backfill_status(backfill) == "COMPLETED_SUCCESS", "the backfill to end")
    assert {run["status"] for run in list_finished_runs(dev, sensor=False)} == {"SUCCESS"}
    assert dev.count_materialized("bars_30m") == len(partitions)
    assert count_intraday_requests(sandbox) == 20
    assert set(sandbox.stats()["per_ticker"].values()) == {1}

    # the sensor fills the remaining gaps in one run, with one request per ticker
    dev.start_sensor("gap_backfill_sensor")
    wait_for(lambda: dev.count_materialized("bars_30m") == SYMBOLS * len(DAYS), "all partitions to be materialised")
    (run,) = wait_for(lambda: list_finished_runs(dev, sensor=True), "the sensor's run to end")
    assert run["status"] == "SUCCESS"
    assert sandbox.stats()["calls"] == 5 * SYMBOLS
    assert set(dev.get_check_statuses("bars_30m").values()) == PASSED_STATUSES

    # one sensor run restores deleted bars
    timestamps = [datetime(2026, 6, 1, 15, tzinfo=UTC), datetime(2026, 6, 2, 19, 30, tzinfo=UTC)]
    with engine.database.transaction() as connection:
        ids = {s.ticker.symbol: s.symbol_id for s in list_symbols(connection, "US")}
        for symbol in symbols[::100]:
            assert delete_bars(connection, ids[symbol], INTERVALS["30m"], timestamps) == 2
    wait_for(lambda: engine.measure(make_job(engine)).missing.sum() == 0, "the deleted bars to be restored")
    wait_for(lambda: len(list_finished_runs(dev, sensor=True)) == 2, "the second run to end")
    assert count_intraday_requests(sandbox) == SYMBOLS + 5
    assert set(dev.get_check_statuses("bars_30m").values()) == PASSED_STATUSES
    assert "test-token-4711" not in dev.log.read_text()


def test_dagster_loads_the_definitions_from_the_checkout(database_url: str) -> None:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    result = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate"],
        cwd=Path(__file__).parents[2],
        env={**environment, "DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Validation successful for code location backfill_assets" in result.stderr + result.stdout
