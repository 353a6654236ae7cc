"""Dagster's own daemon, with the pipeline in one code location and an asset that waits for it in another."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import psutil
import pytest

import backfill_assets
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import build_child_environment
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets_tests.acceptance.dagster_dev import DagsterDev, find_free_port, wait_for
from backfill_assets_tests.conftest import make_job
from backfill_assets_tests.processes import start_process
from backfill_assets_tests.waiting import LONGEST_SECONDS

MONDAY, TUESDAY = date(2026, 6, 1), date(2026, 6, 2)
GATE = ["complete_sessions", "US", "all"]
WORKSPACE = """
load_from:
  - python_module: {module_name: backfill_assets.definitions, location_name: backfill_assets}
  - python_file: {relative_path: downstream.py, location_name: downstream}
"""
DOWNSTREAM = """
import dagster as dg
from backfill_assets.reading.dagster import BarsResource, on_complete_session, session_partitions

@dg.asset(
    deps=[dg.AssetKey(["complete_sessions", "US", "all"])],
    partitions_def=session_partitions(),
    automation_condition=on_complete_session(start="2026-06-01"),
)
def day_volume(context: dg.AssetExecutionContext, bars: BarsResource) -> dg.MaterializeResult:
    volume = bars.read_session(context.partition_key).frame["volume"]
    return dg.MaterializeResult(metadata={"volume": int(volume.sum())})

defs = dg.Definitions(
    assets=[day_volume],
    resources={"bars": BarsResource()},
    executor=dg.in_process_executor,
    sensors=[
        dg.AutomationConditionSensorDefinition(
            "automation", target="*", default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=1
        )
    ],
)
"""
TICKS = """query ($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) { ... on Sensor {
    sensorState { ticks(limit: 5) { status } } } } }"""
EVENTS = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    assetMaterializations(limit: 20) { partition runId } } } }"""
CHECK = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { assetChecksOrError {
    ... on AssetChecks { checks { name partitionStatuses { ... on AssetCheckTimePartitionStatuses {
    ranges { startKey endKey status } } } } } } } } }"""


@pytest.fixture
def deployment(
    make_engine: Callable[..., Engine],
    start_sandbox: Callable[..., Sandbox],
    create_database: Callable[..., str],
    tmp_path: Path,
) -> Iterator[tuple[Engine, DagsterDev]]:
    """Two symbols without bars; of the pipeline's sensors none is started."""
    engine = make_engine(
        start_sandbox(),
        ("AAPL", "MSFT"),
        partition_days=3,
        sensor_seconds=1,
        event_sessions=3,
        auto=False,
        dagster_postgres_url=create_database(None),
    )
    (tmp_path / "workspace.yaml").write_text(WORKSPACE)
    (tmp_path / "downstream.py").write_text(DOWNSTREAM)
    (tmp_path / "dagster.yaml").write_text((files("backfill_assets.orchestration") / "dagster.yaml").read_text("utf-8"))
    root = str(Path(backfill_assets.__file__).parent.parent)
    environment = {**build_child_environment(engine.settings), "DAGSTER_HOME": str(tmp_path), "PYTHONPATH": root}
    port = find_free_port()
    command = ["-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(port), "--workspace", "workspace.yaml"]
    with (tmp_path / "log").open("w") as output:
        child = start_process(command, environment, stdout=output, stderr=subprocess.STDOUT, cwd=tmp_path)
        dev = DagsterDev(f"http://127.0.0.1:{port}", tmp_path / "log")
        try:
            wait_for(lambda: dev.is_ready() or child.poll() is not None, f"the UI to respond, see {dev.log}")
            assert child.poll() is None, dev.log.read_text()[-3000:]
            yield engine, dev
        finally:
            descendants = psutil.Process(child.pid).children(recursive=True)
            child.send_signal(signal.SIGINT)
            child.wait(LONGEST_SECONDS)
            psutil.wait_procs(descendants, LONGEST_SECONDS)


def count_ticks(dev: DagsterDev, location: str, sensor: str) -> int:
    selector = {"repositoryName": "__repository__", "repositoryLocationName": location, "sensorName": sensor}
    ticks = dev.send_query(TICKS, selector=selector)["sensorOrError"]["sensorState"]["ticks"]
    return sum(tick["status"] in {"SKIPPED", "SUCCESS"} for tick in ticks)


def list_events(dev: DagsterDev, key: list[str]) -> list[str]:
    """The partitions that were materialized, as often as they were, sorted."""
    events = dev.send_query(EVENTS, key={"path": key})["assetNodeOrError"]["assetMaterializations"]
    return sorted(str(event["partition"]) for event in events)


def read_check(dev: DagsterDev) -> list[tuple[str, str, str]]:
    """The check's partitions as the UI shows them: first and last session of a range, status."""
    (check,) = dev.send_query(CHECK, key={"path": GATE})["assetNodeOrError"]["assetChecksOrError"]["checks"]
    ranges = check["partitionStatuses"]["ranges"]
    return sorted((one["startKey"], one["endKey"], one["status"]) for one in ranges)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_an_asset_in_another_location_runs_once_a_session_and_after_a_revision(
    deployment: tuple[Engine, DagsterDev],
) -> None:
    engine, dev = deployment
    dev.start_sensor("complete_sessions_sensor")
    wait_for(lambda: count_ticks(dev, "backfill_assets", "complete_sessions_sensor"), "the first tick")
    wait_for(lambda: count_ticks(dev, "downstream", "automation") > 1, "a second tick of the automation")
    wait_for(lambda: ("2026-06-01", "2026-06-02", "FAILED") in read_check(dev), "the check to fail on both sessions")

    fill(engine, MONDAY, symbols=["AAPL"])
    with engine.database.transaction() as connection:  # past the triggers: the vendor's value will be a revision
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("UPDATE market_data SET volume = volume * 2 WHERE timestamp = '2026-06-01 14:00Z'")
    fill(engine, MONDAY)
    wait_for(lambda: list_events(dev, ["day_volume"]) == ["2026-06-01"], "Monday's run")
    wait_for(lambda: read_check(dev)[0] == ("2026-06-01", "2026-06-01", "SUCCEEDED"), "the check to pass for Monday")

    fill(engine, TUESDAY)
    fill(engine, MONDAY, force=True)
    revised = ["2026-06-01", "2026-06-01", "2026-06-02"]
    wait_for(lambda: list_events(dev, ["day_volume"]) == revised, "Monday's second run and Tuesday's first one")
    assert list_events(dev, GATE) == revised
    wait_for(lambda: read_check(dev) == [("2026-06-01", "2026-06-02", "SUCCEEDED")], "the check to pass for both")
    assert {run["status"] for run in dev.list_runs()} == {"SUCCESS"}


def fill(engine: Engine, day: date, **options: Any) -> None:
    """What the command line does."""
    run_backfill(engine, make_job(engine, start=day, end=day, **options), lambda _: None)
