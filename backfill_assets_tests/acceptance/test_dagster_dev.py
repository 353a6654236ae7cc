"""A running deployment with a real database: it is used from the UI and fills gaps by itself."""

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
from backfill_assets_tests.acceptance.dagster_dev import DagsterDev, dagster_dev, until
from backfill_assets_tests.conftest import job
from backfill_assets_tests.integration.test_backfill_engine import ignore_progress, list_sandbox_symbols

SYMBOLS = 500
DAYS = ("2026-05-29", "2026-06-01", "2026-06-02")
PASSED = {"SUCCEEDED"}


def intraday(sandbox: Sandbox) -> int:
    return int(sandbox.stats()["by_endpoint"].get("intraday", 0))


def finished(dev: DagsterDev, sensor: bool) -> list[dict[str, Any]]:
    runs = [run for run in dev.runs() if ("dagster/sensor_name" in run["tags"]) is sensor]
    return runs if all(run["status"] in {"SUCCESS", "FAILURE"} for run in runs) else []


@pytest.fixture
def lived(
    engine_on: Callable[..., Engine],
    sandboxed: Callable[..., Sandbox],
    new_database: Callable[..., str],
    tmp_path: Path,
) -> Any:
    """A deployment of 500 symbols whose sensors are still switched off."""
    sandbox = sandboxed(symbols=SYMBOLS, latency_ms=(20, 60))
    engine = engine_on(
        sandbox,
        tuple(list_sandbox_symbols(SYMBOLS)),
        partition_days=4,
        sensor_seconds=2,
        auto=False,
        dagster_postgres_url=new_database(None),
    )
    with dagster_dev(tmp_path / "log", build_child_environment(engine.settings)) as dev:
        yield engine, sandbox, dev


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_deployment_is_backfilled_from_the_ui_and_then_fills_gaps_by_itself(lived: Any) -> None:
    engine, sandbox, dev = lived
    symbols = sorted(list_sandbox_symbols(SYMBOLS))

    # every second of twenty symbols is complete; a backfill from the UI costs requests only for the others
    twenty = symbols[:20]
    complete = job(engine, start=date(2026, 5, 29), end=date(2026, 6, 2), symbols=twenty[::2])
    run_backfill(engine, complete, ignore_progress)
    assert intraday(sandbox) == 10
    dev.set_running("symbol_partitions_sensor")
    partitions = [f"{day}|{symbol}.US" for symbol in twenty for day in DAYS]
    until(lambda: dev.symbols("bars_30m") == SYMBOLS, "the symbols to be partitions")
    backfill = dev.backfill("bars_30m", partitions)
    until(lambda: dev.backfill_status(backfill) == "COMPLETED_SUCCESS", "the backfill to end")
    assert {run["status"] for run in finished(dev, sensor=False)} == {"SUCCESS"}
    assert dev.green("bars_30m") == len(partitions)
    assert intraday(sandbox) == 20
    assert set(sandbox.stats()["per_ticker"].values()) == {1}

    # the sensor finds the rest and fills it in one run, with one request a ticker
    dev.set_running("gap_backfill_sensor")
    until(lambda: dev.green("bars_30m") == SYMBOLS * len(DAYS), "everything to be green")
    (run,) = until(lambda: finished(dev, sensor=True), "the sensor's run to end")
    assert run["status"] == "SUCCESS"
    assert sandbox.stats()["calls"] == 5 * SYMBOLS
    assert set(dev.checks("bars_30m").values()) == PASSED

    # deleted bars are restored by one run of the sensor
    stamps = [datetime(2026, 6, 1, 15, tzinfo=UTC), datetime(2026, 6, 2, 19, 30, tzinfo=UTC)]
    with engine.database.transaction() as connection:
        ids = {s.ticker.symbol: s.symbol_id for s in list_symbols(connection, "US")}
        for symbol in symbols[::100]:
            assert delete_bars(connection, ids[symbol], INTERVALS["30m"], stamps) == 2
    until(lambda: engine.measure(job(engine)).missing.sum() == 0, "the deleted bars to be restored")
    until(lambda: len(finished(dev, sensor=True)) == 2, "the second run to end")
    assert intraday(sandbox) == SYMBOLS + 5
    assert set(dev.checks("bars_30m").values()) == PASSED
    assert "test-token-4711" not in dev.log.read_text()


def test_dagster_finds_the_definitions_in_the_checkout(database_url: str) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    said = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate"],
        cwd=Path(__file__).parents[2],
        env={**kept, "DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert "Validation successful for code location backfill_assets" in said.stderr + said.stdout
