"""Dagster's storage in Postgres: its address, and that batching stores the same events."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from psycopg import conninfo
from psycopg.rows import dict_row
from sqlalchemy import create_engine, make_url, text

from backfill_assets import orchestration
from backfill_assets.config.settings import load_settings
from backfill_assets.errors import DatabaseUnavailable, UsageError
from backfill_assets.orchestration.dagster_internals.storage import require_usable_installation
from backfill_assets.store.postgres.dagster_database import prepare_dagster_database
from backfill_assets.store.postgres.peer_timeouts import CLIENT_PARAMETERS
from backfill_assets_tests.conftest import StartSandbox
from backfill_assets_tests.integration.test_backfill_engine import list_sandbox_symbols
from backfill_assets_tests.orchestration.conftest import BARS, Deployment, build_partition_keys

CONFIG = Path(orchestration.__file__).with_name("dagster.yaml")
MONDAY, TUESDAY = "2026-06-01", "2026-06-02"
TIMEOUTS = {"connect_timeout": "10", **CLIENT_PARAMETERS}


@contextmanager
def open_instance(folder: Path) -> Iterator[dg.DagsterInstance]:
    """Open the instance of dagster.yaml, like `dagster dev`."""
    (folder / "dagster.yaml").write_text(CONFIG.read_text())
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance


def count_events(url: str) -> Counter[tuple[str, str | None]]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT dagster_event_type, partition FROM event_logs"
            " WHERE dagster_event_type IN ('ASSET_MATERIALIZATION_PLANNED', 'ASSET_MATERIALIZATION')"
        )
        return Counter((kind, partition) for kind, partition in rows)


def read_planned_checks(url: str) -> list[dict[str, Any]]:
    """Read the rows of planned checks and of their events, all columns but the times."""
    query = """
        SELECT checks.*, events.*, checks.evaluation_event = events.event AS is_same
        FROM asset_check_executions AS checks JOIN event_logs AS events ON events.id = evaluation_event_storage_id
        ORDER BY checks.id
    """
    with psycopg.connect(url, row_factory=dict_row) as connection:
        rows = connection.execute(query).fetchall()
    for row in rows:
        assert row.pop("is_same")
        assert row.pop("evaluation_event_timestamp") == row.pop("timestamp")
        for event in ("event", "evaluation_event"):
            row[event] = {name: value for name, value in json.loads(row[event]).items() if name != "timestamp"}
        row.pop("create_timestamp")
    return rows


def record_batch_sizes(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each statement appends the number of its events."""
    sizes: list[int] = []
    log: Any = instance.event_log_storage
    original = log.prepare_insert_event_batch

    def record_size(events: Any) -> Any:
        sizes.append(len(events))
        return original(events)

    monkeypatch.setattr(log, "prepare_insert_event_batch", record_size)
    return sizes


@pytest.mark.parametrize("batched", [True, False])
def test_batching_stores_the_same_events(
    deploy: Callable[..., Deployment],
    start_sandbox: StartSandbox,
    create_database: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    batched: bool,
) -> None:
    symbols = tuple(list_sandbox_symbols(40))
    deployment = deploy(start_sandbox(symbols=40), symbols)
    url = create_database(None)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
    monkeypatch.setenv("BACKFILL_BATCH_PLANNED_EVENTS", str(batched).lower())
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "50")
    with open_instance(tmp_path) as instance:
        deployment.instance = instance
        deployment.tick("symbol_partitions_sensor")
        sizes = record_batch_sizes(instance, monkeypatch)
        (run,) = deployment.run_gap_sensor()
        assert run.success
        expected_keys = build_partition_keys(symbols, (MONDAY, TUESDAY))
        assert deployment.materialized == expected_keys
        assert instance.count_resume_run_attempts(run.run_id) == 0
    expected = [
        (kind, key) for kind in ("ASSET_MATERIALIZATION_PLANNED", "ASSET_MATERIALIZATION") for key in expected_keys
    ]
    assert count_events(url) == Counter(expected)
    materialization_sizes = [50, 30]
    planned_sizes = [50, 30, len(run.get_asset_check_evaluations())] if batched else []  # of partitions, and of checks
    assert sorted(sizes) == sorted([*materialization_sizes, *planned_sizes])


def test_planned_checks_are_stored_as_dagster_stores_them(
    create_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = [dg.AssetCheckSpec(name, asset="bars") for name in ("first", "second", "third")]

    @dg.multi_asset(specs=[dg.AssetSpec("bars")], check_specs=checks)
    def bars() -> Iterator[Any]:
        yield from ()

    job = dg.Definitions(assets=[bars]).resolve_implicit_global_asset_job_def()
    stored = {}
    for batched in ("true", "false"):
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", url := create_database(None))
        monkeypatch.setenv("BACKFILL_BATCH_PLANNED_EVENTS", batched)
        (folder := tmp_path / batched).mkdir()
        with open_instance(folder) as instance:
            instance.create_run_for_job(job, run_id="11111111-2222-4333-8444-555555555555")
        stored[batched] = read_planned_checks(url)
    assert stored["true"] == stored["false"]
    assert [row["check_name"] for row in stored["true"]] == ["first", "second", "third"]


def test_materialized_partitions_are_indexed_by_their_tags(
    deploy: Callable[..., Deployment],
    start_sandbox: StartSandbox,
    create_database: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deployment = deploy(start_sandbox(), ("AAPL", "MSFT"))
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", create_database(None))
    with open_instance(tmp_path) as instance:
        deployment.instance = instance
        deployment.tick("symbol_partitions_sensor")
        deployment.run_gap_sensor()
        (key,) = instance.event_log_storage.get_latest_tags_by_partition(
            BARS,
            dg.DagsterEventType.ASSET_MATERIALIZATION,
            tag_keys=["dagster/partition/day"],
            asset_partitions=[f"{MONDAY}|AAPL.US"],
        ).values()
        assert key == {"dagster/partition/day": MONDAY}


def test_storage_is_a_separate_database_on_the_same_server(database_url: str) -> None:
    url = make_url(prepare_dagster_database(load_settings(database_url=database_url)))
    assert (url.drivername, url.database) == ("postgresql+psycopg2", "dagster")
    dagster_url = conninfo.make_conninfo(database_url, dbname="dagster")
    with psycopg.connect(dagster_url) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("dagster",)


@pytest.mark.parametrize(
    ("address", "host", "port", "password"),
    [
        ("postgresql://me:a%40b%2Fc@db.example:6543/records?sslmode=require", "db.example", 6543, "a@b/c"),
        ("host=db.example dbname=records user=me password='a@b/c' sslmode=require", "db.example", None, "a@b/c"),
    ],
)
def test_a_configured_address_is_used_with_timeouts(address: str, host: str, port: int | None, password: str) -> None:
    url = make_url(prepare_dagster_database(load_settings(dagster_postgres_url=address)))
    assert (url.drivername, url.host, url.port, url.database) == ("postgresql+psycopg2", host, port, "records")
    assert (url.username, url.password, dict(url.query)) == ("me", password, {"sslmode": "require", **TIMEOUTS})


def test_missing_right_to_create_the_database_raises_an_error_with_the_variable(
    create_database: Callable[..., str],
) -> None:
    url = create_database(None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS dagster WITH (FORCE)")
        connection.execute("CREATE ROLE visitor LOGIN")
    restricted_url = conninfo.make_conninfo(url, user="visitor")
    with pytest.raises(DatabaseUnavailable, match=r"may not create database 'dagster'.*DAGSTER_POSTGRES_URL"):
        prepare_dagster_database(load_settings(database_url=restricted_url))


def test_the_error_about_an_invalid_address_does_not_contain_it() -> None:
    with pytest.raises(DatabaseUnavailable) as raised:
        prepare_dagster_database(load_settings(dagster_postgres_url="postgresql://me:secret@[::1/x"))
    assert "secret" not in str(raised.value)


@contextmanager
def create_variant(url: str, **options: str) -> Iterator[str]:
    """A database with another encoding, or with other defaults."""
    encoding = options.pop("encoding", "UTF8")
    with psycopg.connect(url, autocommit=True) as admin:
        clause = f"TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' STRATEGY FILE_COPY"
        admin.execute(f"CREATE DATABASE dagster_variant {clause}".encode())
        for setting, value in options.items():
            admin.execute(f"ALTER DATABASE dagster_variant SET {setting} = '{value}'".encode())
        yield conninfo.make_conninfo(url, dbname="dagster_variant")
        admin.execute("DROP DATABASE dagster_variant WITH (FORCE)")


def test_defaults_of_the_database_do_not_reach_dagster(database_url: str) -> None:
    defaults = {"default_transaction_isolation": "serializable", "statement_timeout": "7s", "client_encoding": "LATIN1"}
    with create_variant(database_url, **defaults) as url:
        engine = create_engine(prepare_dagster_database(load_settings(dagster_postgres_url=url)))
        with engine.connect() as connection:
            shown = [connection.execute(text(f"SHOW {name}")).scalar() for name in defaults]
        engine.dispose()
    assert shown == ["read committed", "0", "UTF8"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "LATIN1"}, "DAGSTER_POSTGRES_URL has the encoding LATIN1; Dagster needs a database with .* UTF8"),
        ({"default_transaction_read_only": "on"}, "DAGSTER_POSTGRES_URL is read-only"),
    ],
)
def test_a_database_that_cannot_store_events_is_refused(
    database_url: str, options: dict[str, str], message: str
) -> None:
    with create_variant(database_url, **options) as url, pytest.raises(DatabaseUnavailable, match=message):
        prepare_dagster_database(load_settings(dagster_postgres_url=url))


def test_the_database_of_dagster_is_utf_8_whatever_the_template_is(database_url: str) -> None:
    url = make_url(prepare_dagster_database(load_settings(database_url=database_url)))
    with psycopg.connect(conninfo.make_conninfo(database_url, dbname=url.database)) as connection:
        assert connection.info.parameter_status("server_encoding") == "UTF8"


def test_an_installation_that_migrations_cannot_be_read_from_is_refused() -> None:
    require_usable_installation("/opt/a b'c/dagster_postgres/__init__.py")
    with pytest.raises(UsageError, match="installed under /opt/100%, whose path contains a percent sign"):
        require_usable_installation("/opt/100%/dagster_postgres/__init__.py")
