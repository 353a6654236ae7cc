"""The upgrade of a database of version 0.3.0 (migration 19): no row is lost, and it is done whole or not at all."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.migrate import load_migrations
from backfill_assets_tests.integration.test_store_migrate import (
    CONTRACT_ROWS,
    FIXTURES,
    build_from_migration_9,
    fetch,
    read_rows_by_table,
    read_schema,
    run_migrations,
)
from backfill_assets_tests.waiting import wait_until

NUMBER_0_3_0 = 19
LATER = [migration.name for migration in load_migrations().values() if migration.number > NUMBER_0_3_0]
NEWEST = max(load_migrations())


@pytest.fixture
def url_0_3_0(create_database: Callable[..., str]) -> str:
    """A database of version 0.3.0 with rows in every table."""
    url = create_database(None)
    build_from_migration_9(url, NUMBER_0_3_0)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute((FIXTURES / "rows_0019.sql").read_bytes())
    return url


def require_preserved_rows(url: str, template_url: str, later: list[str]) -> None:
    """Upgrade a database that has a row in every table, and make sure that all rows are there, and no others."""
    before, bars = read_rows_by_table(url), fetch(url, CONTRACT_ROWS)
    assert all(before.values()), "the fixture has a row in every table"
    assert run_migrations(url) == later
    after = read_rows_by_table(url)
    for table, rows in before.items():
        assert sorted(map(str, rows)) == sorted(str({name: row[name] for name in rows[0]}) for row in after[table])
    assert {table: rows for table, rows in after.items() if rows and table not in before} == {}
    assert fetch(url, CONTRACT_ROWS) == bars
    assert read_schema(url) == read_schema(template_url)


def cut_off_upgrade(url: str, read_table: str, new_table: str, number: int) -> list[str]:
    """Keep an upgrade waiting with a reader of one table, let the server end its session, and let it be repeated.

    Returns:
        What was applied in the end.
    """
    find_waiting = f"SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'backfill.{read_table}'::regclass"
    with ThreadPoolExecutor(1) as threads, psycopg.connect(url) as reader:
        reader.execute(f"SELECT count(*) FROM backfill.{read_table}".encode())
        upgrade = threads.submit(run_migrations, url)
        wait_until(lambda: fetch(url, find_waiting), "the upgrade to wait for the reader")
        assert fetch(url, f"SELECT pg_terminate_backend(({find_waiting}))") == [(True,)]
        left = fetch(url, f"SELECT max(number), to_regclass('backfill.{new_table}') FROM backfill.migrations")
        assert left == [(number, None)]
        reader.commit()
        return upgrade.result(60)


def test_every_row_is_preserved_and_new_tables_are_empty(url_0_3_0: str, template_url: str) -> None:
    require_preserved_rows(url_0_3_0, template_url, LATER)


@pytest.mark.parametrize("number", [n for n in load_migrations() if NUMBER_0_3_0 < n < NEWEST])
def test_a_database_between_two_migrations_is_completed(
    create_database: Callable[..., str], template_url: str, number: int
) -> None:
    url = create_database(None)
    build_from_migration_9(url, number)
    assert run_migrations(url) == [m.name for m in load_migrations().values() if m.number > number]
    assert read_schema(url) == read_schema(template_url)


def test_an_upgrade_that_is_cut_off_leaves_nothing_behind_and_is_repeated(url_0_3_0: str, template_url: str) -> None:
    """A reader of evidence keeps the last of the new migrations waiting; then the server ends the upgrade's session."""
    assert cut_off_upgrade(url_0_3_0, "session_evidence", "doubts", NUMBER_0_3_0) == LATER
    assert read_schema(url_0_3_0) == read_schema(template_url)


def test_a_table_of_another_program_in_the_way_is_named_and_nothing_is_made(url_0_3_0: str) -> None:
    with psycopg.connect(url_0_3_0, autocommit=True) as connection:
        connection.execute("CREATE TABLE backfill.halts (halt_id integer)")
        before = read_schema(url_0_3_0)
        with pytest.raises(DatabaseUnavailable, match="halts"):
            run_migrations(url_0_3_0)
        assert read_schema(url_0_3_0) == before
        connection.execute("DROP TABLE backfill.halts")
    assert run_migrations(url_0_3_0) == LATER


def test_the_new_migrations_leave_what_version_0_3_0_reads_and_writes(database_url: str) -> None:
    recorded = fetch(
        database_url, f"SELECT DISTINCT readable_since FROM backfill.migrations WHERE number > {NUMBER_0_3_0}"
    )
    assert recorded == [(9,)]
