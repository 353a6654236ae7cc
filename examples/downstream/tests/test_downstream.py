# ruff: noqa: S101, S603 - a test; it starts our own interpreter
"""The assets stand still while a session is incomplete, run once when it is complete, and again after a revision.

The store is real (PostgreSQL, filled from the sandbox by the pipeline's own command), and so are the definitions of
both projects. The test does what Dagster's daemon does: it ticks sensors and runs what they request.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import dagster as dg
import psycopg
import pytest
from downstream.definitions import defs as downstream

from backfill_assets.definitions import build_backfill_definitions
from backfill_assets.reading import IncompleteBars
from backfill_assets.reading.dagster import BarsResource
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.embedded import start_embedded_database

NOW = "2026-06-03T14:00:00+00:00"  # a Wednesday in session: Monday and Tuesday are overdue
MONDAY, TUESDAY = "2026-06-01", "2026-06-02"


def run_command(*words: str) -> None:
    """Run ``backfill-assets``."""
    subprocess.run([sys.executable, "-m", "backfill_assets", *words], check=True, env=os.environ, timeout=300)


class Daemon:
    """Ticks the sensors of both code locations, and runs what they request."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.pipeline = build_backfill_definitions()
        assets = dg.Definitions(assets=downstream.assets, resources=downstream.resources)
        self.merged = dg.Definitions.merge(self.pipeline, assets)
        self.sensor_cursor: str | None = None
        self.automation_cursor: Any = None
        self.runs: list[str] = []  # the sessions that the assets ran for

    def tick(self) -> list[str]:
        """One tick of ``complete_sessions_sensor``, then one of the automation conditions; returns what ran."""
        before = len(self.runs)
        repository = self.pipeline.get_repository_def()
        with dg.build_sensor_context(
            instance=self.instance,
            repository_def=repository,
            cursor=self.sensor_cursor,
            sensor_name="complete_sessions_sensor",
            resources=self.pipeline.resources,
        ) as context:
            result = repository.get_sensor_def("complete_sessions_sensor").evaluate_tick(context)
        self.sensor_cursor = result.cursor
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        automation = dg.evaluate_automation_conditions(self.merged, self.instance, cursor=self.automation_cursor)
        self.automation_cursor = automation.cursor
        requested = automation.get_requested_partitions(dg.AssetKey("volume_profile"))
        assert requested == automation.get_requested_partitions(dg.AssetKey("features"))  # one run of both
        for day in sorted(map(str, requested)):
            self.run(day)
        return self.runs[before:]

    def run(self, day: str) -> None:
        """One run of both assets for a session."""
        result = dg.materialize(
            [*(downstream.assets or [])],
            instance=self.instance,
            resources=downstream.resources,
            partition_key=day,
        )
        assert result.success
        self.runs.append(day)


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a store with two symbols and no bars, in a PostgreSQL of its own; the vendor is the sandbox."""
    home = tmp_path_factory.mktemp("home")
    with Sandbox(SandboxConfig(now=datetime.fromisoformat(NOW), clock_rate=0.0)) as sandbox:
        url = start_embedded_database(home, "bars")
        settings = {
            "DATABASE_URL": url,
            "BACKFILL_HOME": str(home),
            "BACKFILL_AS_OF": NOW,
            "BACKFILL_PARTITION_DAYS": "3",
            "EODHD_BASE_URL": sandbox.base_url,
            "EODHD_API_TOKEN": "sandbox",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        run_command("symbols", "add", "AAPL", "MSFT")
        yield url


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance in memory."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def double_a_volume(url: str) -> None:
    """As if the vendor had served another value: past the triggers, which notice other programs' writes."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE market_data SET volume = volume * 2 WHERE timestamp = '2026-06-01 14:00Z'")


def test_assets_run_once_a_complete_session_and_again_after_a_revision(
    store: str, instance: dg.DagsterInstance
) -> None:
    """MSFT comes later than AAPL; then AAPL's volume of a slot is revised."""
    daemon = Daemon(instance)
    window = ("--start", MONDAY, "--end", TUESDAY)
    assert daemon.tick() == []

    run_command("run", *window, "--symbols", "AAPL")  # MSFT lacks both sessions
    double_a_volume(store)
    assert [daemon.tick(), daemon.tick()] == [[], []]
    with pytest.raises(IncompleteBars, match=f"MSFT.US {MONDAY}"):
        BarsResource().read_session(MONDAY)

    run_command("run", *window)
    assert daemon.tick() == [MONDAY, TUESDAY]
    assert [daemon.tick(), daemon.tick()] == [[], []]
    before = read_table(instance, "features", MONDAY)
    assert list(before.index) == ["AAPL.US", "MSFT.US"]
    assert read_table(instance, "volume_profile", MONDAY).sum(axis=1).round(9).tolist() == [1, 1]

    run_command("run", *window, "--force")  # the vendor's volume is a revision
    assert [daemon.tick(), daemon.tick(), daemon.tick()] == [[], [MONDAY], []]  # once no run revises it any more
    after = read_table(instance, "features", MONDAY)
    assert after.loc["AAPL.US", "vwap"] != before.loc["AAPL.US", "vwap"]
    assert after.loc["MSFT.US", "vwap"] == before.loc["MSFT.US", "vwap"]


def read_table(instance: dg.DagsterInstance, asset: str, day: str) -> Any:
    """What an asset stored for a session."""
    return downstream.load_asset_value(dg.AssetKey(asset), instance=instance, partition_key=day)
