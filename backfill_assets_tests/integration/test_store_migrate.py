"""Migrations: from nothing, from every earlier version, and by two processes at once."""

import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import load_migrations, migrate
from backfill_assets_tests import external_tables

SCHEMA = """
SELECT table_schema, table_name, column_name, data_type, is_nullable, coalesce(column_default, '')
FROM information_schema.columns WHERE table_schema IN ('public', 'backfill') AND table_name <> 'migrations'
UNION ALL
SELECT schemaname, tablename, indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname IN ('public', 'backfill')
UNION ALL
SELECT n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), md5(p.prosrc), '', ''
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'backfill'
UNION ALL
SELECT '', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), '', '' FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT n.nspname, c.conrelid::regclass::text, c.conname, pg_get_constraintdef(c.oid), '', ''
FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
WHERE n.nspname IN ('public', 'backfill') AND c.conrelid <> 0
ORDER BY 1, 2, 3, 4
"""


def schema(url: str) -> list[tuple[str, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(SCHEMA.encode()).fetchall()


def migrated(url: str) -> list[str]:
    database = Database(url)
    try:
        return migrate(database)
    finally:
        database.close()


def migrated_only_to(url: str, earlier: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS backfill")
        connection.execute(
            "CREATE TABLE backfill.migrations (number integer PRIMARY KEY, name text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        for number, (name, sql) in load_migrations().items():
            if number <= earlier:
                connection.execute(sql.encode())
                connection.execute("INSERT INTO backfill.migrations VALUES (%s, %s)", [number, name])


@pytest.fixture(scope="module")
def schemas(new_database: Callable[..., str], template_url: str) -> dict[str, list[tuple[str, ...]]]:
    """What this version makes of nothing, and of tables that other people made."""
    theirs = new_database(None)
    external_tables.build(theirs)
    assert len(migrated(theirs)) == len(load_migrations())
    return {"lean": schema(template_url), "theirs": schema(theirs)}


@pytest.mark.parametrize("form", ["lean", "theirs"])
@pytest.mark.parametrize("earlier", sorted(load_migrations())[:-1])
def test_every_earlier_version_ends_in_the_same_schema(
    new_database: Callable[..., str], schemas: dict[str, list[tuple[str, ...]]], earlier: int, form: str
) -> None:
    url = new_database(None)
    if form == "theirs":
        external_tables.build(url)
    migrated_only_to(url, earlier)
    assert len(migrated(url)) == sum(number > earlier for number in load_migrations())
    assert schema(url) == schemas[form]


def test_a_migrated_database_has_nothing_to_do(database_url: str) -> None:
    assert migrated(database_url) == []


def test_two_processes_that_start_together_both_work(new_database: Callable[..., str], template_url: str) -> None:
    url = new_database(None)
    code = (
        "import sys; from backfill_assets.store.postgres.connection import Database;"
        "from backfill_assets.store.postgres.migrate import migrate; print(len(migrate(Database(sys.argv[1]))))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(int(out) for out, _ in said) == [0, len(load_migrations())]
    assert schema(url) == schema(template_url)


def test_a_newer_schema_is_left_alone(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO backfill.migrations (number, name) VALUES (9999, 'from the future')")
    with pytest.raises(DatabaseUnavailable, match="migration 9999, which this version does not know"):
        migrated(database_url)


def test_whose_bars_a_database_holds_is_found_out_where_runs_were_made_before(new_database: Callable[..., str]) -> None:
    """0006: from the mark of a bar of ours; where no run ever was, nobody's bars are looked at."""
    hosts = {}
    for runs in (0, 1):
        url = new_database(None)
        with psycopg.connect(url, autocommit=True) as connection:
            for number, (_, sql) in load_migrations().items():
                if number < 6:
                    connection.execute(sql.encode())
            connection.execute("INSERT INTO market_symbols (symbol) VALUES ('AAPL'), ('MSFT')")
            connection.execute(
                "INSERT INTO market_data"
                " SELECT id, '30m', '2026-06-01 13:30Z', 1, 2, 1, 2, 3, host, '5m', 6, true, now()"
                " FROM (VALUES (1, NULL), (2, 'eodhd.com')) AS v (id, host)"
            )
            for _ in range(runs):
                connection.execute(
                    "INSERT INTO backfill.runs (run_id, host, pid, described, tickers)"
                    " VALUES (gen_random_uuid(), 'h', 1, 'd', 1)"
                )
            connection.execute(load_migrations()[6][1].encode())
            hosts[runs] = connection.execute("SELECT host FROM backfill.source_host").fetchall()
    assert hosts == {0: [], 1: [("eodhd.com",)]}
