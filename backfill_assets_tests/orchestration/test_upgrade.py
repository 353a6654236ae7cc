"""An instance of commit 2bde12b, recorded by ``instance_2bde12b/record.py``, works with the current code."""

import gzip
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster_postgres import PostgresEventLogStorage
from pydantic import SecretStr

from backfill_assets.alerts.delivery import fingerprint_address
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import open_engine
from backfill_assets.config.settings import build_child_environment, load_settings
from backfill_assets.orchestration.build import build_definitions
from backfill_assets.orchestration.dagster_internals.run_launcher import WatchfulRunLauncher
from backfill_assets.sandbox.config import Publication
from backfill_assets.store.alert_outbox import list_failing
from backfill_assets_tests.conftest import NOW, StartSandbox
from backfill_assets_tests.integration.alert_receiver import Receiver
from backfill_assets_tests.orchestration.conftest import Deployment, build_partition_keys

RECORDED = Path(__file__).with_name("instance_2bde12b")
ROOT = Path(__file__).resolve().parents[2]
SYMBOLS = ("AAPL", "MSFT", "AMZN", "TSLA")
MATERIALIZED = build_partition_keys(SYMBOLS, ("2026-06-01", "2026-06-02")) - {"2026-06-02|AAPL.US"}
FAILING = ["bars_30m: newest_bar_is_fresh", "bars_30m: no_missing_bars"]
ALERT_CURSOR, GAP_CURSOR = '{"checks": 42, "runs": 45}', "1"


@dataclass(frozen=True)
class Upgraded:
    """The recorded instance with the current code, one hour later."""

    deployment: Deployment
    receiver: Receiver

    def read_cursor(self, sensor: str) -> str | None:
        """Read the cursor in Dagster's storage."""
        (state,) = (s for s in self.deployment.instance.all_instigator_state() if s.instigator_name == sensor)
        cursor: str | None = state.instigator_data.cursor
        return cursor

    def tick(self, sensor: str) -> Any:
        """Evaluate the sensor once with the stored cursor."""
        return self.deployment.tick(sensor, self.read_cursor(sensor))


def restore(url: str, name: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(gzip.decompress((RECORDED / f"{name}.sql.gz").read_bytes()))
    return url


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DAGSTER_HOME with the dagster.yaml of 2bde12b."""
    (tmp_path / "dagster.yaml").write_text((RECORDED / "dagster.yaml").read_text())
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def engine(
    create_database: Callable[..., str],
    home: Path,
    start_sandbox: StartSandbox,
    receiver: Receiver,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Engine]:
    """An engine on the recorded databases and a sandbox one hour later, with environment variables for both."""
    later = NOW + timedelta(hours=1)
    sandbox = start_sandbox(now=later, publication=Publication(never_published=frozenset({("AAPL", date(2026, 6, 2))})))
    bars_url = restore(create_database(None), "bars")
    with psycopg.connect(bars_url) as connection:  # the recorded address had another port
        connection.execute("UPDATE backfill.alert_endpoints SET endpoint = %s", [fingerprint_address(receiver.url)])
    settings = load_settings(
        database_url=SecretStr(bars_url),
        dagster_postgres_url=SecretStr(restore(create_database(None), "dagster")),
        home=home,
        token=SecretStr("test-token-4711"),
        base_url=sandbox.base_url,
        as_of=later,
        partition_days=3,
        alert_urls=(SecretStr(receiver.url),),
    )
    for name, value in build_child_environment(settings).items():
        monkeypatch.setenv(name, value)
    with open_engine(settings) as opened:
        yield opened


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


@pytest.fixture
def upgraded(engine: Engine, receiver: Receiver, folder: Path, start_sandbox: StartSandbox) -> Iterator[Upgraded]:
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield Upgraded(Deployment(engine, start_sandbox(), instance, build_definitions(engine.settings)), receiver)


def test_old_module_paths_in_dagster_yaml_load_the_current_classes(upgraded: Upgraded) -> None:
    text = (RECORDED / "dagster.yaml").read_text()
    assert "backfill_assets.orchestration.storage" in text
    assert "backfill_assets.orchestration.workers" in text
    instance = upgraded.deployment.instance
    assert type(instance.run_launcher) is WatchfulRunLauncher
    assert isinstance(instance.event_log_storage, PostgresEventLogStorage)


def test_dagster_lists_the_stopped_sensor_as_stopped_and_others_as_running(engine: Engine) -> None:
    executable = Path(sys.executable).with_name("dagster")
    output = subprocess.run(
        [executable, "sensor", "list", "-w", ROOT / "workspace.yaml"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert dict(re.findall(r"Sensor: (\w+) \[(\w+)\]", output.stdout)) == {
        "symbol_partitions_sensor": "STOPPED",
        "alert_sensor": "RUNNING",
        "gap_backfill_sensor": "RUNNING",
        "daily_data_sensor": "RUNNING",  # of later versions, as the next
        "complete_sessions_sensor": "RUNNING",
        "healing_sensor": "RUNNING",
    }


def test_partitions_stay_materialized_and_the_gap_sensor_reads_its_cursor(upgraded: Upgraded) -> None:
    assert upgraded.deployment.materialized == MATERIALIZED
    assert upgraded.read_cursor("gap_backfill_sensor") == GAP_CURSOR
    tick = upgraded.tick("gap_backfill_sensor")
    requested = [(request.run_key, request.tags) for request in tick.run_requests or []]
    assert all(
        key.endswith("#2") and tags["dagster/asset_partition_range_start"] == "2026-06-02|AAPL.US"
        for key, tags in requested
    )
    assert tick.cursor == ("2" if requested else GAP_CURSOR)


def test_a_reported_failure_is_not_reported_again(upgraded: Upgraded) -> None:
    engine = upgraded.deployment.engine
    with engine.database.transaction() as connection:
        before = list_failing(connection)
    assert [state.name for state in before] == FAILING
    assert upgraded.read_cursor("alert_sensor") == ALERT_CURSOR
    assert upgraded.tick("alert_sensor").skip_message == "0 results read, 0 messages sent"
    assert upgraded.deployment.verify().success
    assert upgraded.tick("alert_sensor").skip_message == "9 results read, 0 messages sent"  # eight checks and the run
    with engine.database.transaction() as connection:
        after = list_failing(connection)
    assert [(s.name, s.failing_since, s.notified_at) for s in after] == [
        (s.name, s.failing_since, s.notified_at) for s in before
    ]
    assert upgraded.receiver.titles == []
