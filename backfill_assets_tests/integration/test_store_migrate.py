"""Migrations: a new database, the upgrade from version 0.1.0, and two processes at once."""

import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import SCHEMA_NUMBER, load_migrations, migrate, record_migration
from backfill_assets.store.postgres.schema_check import OWN_FUNCTIONS, OWN_TABLES
from backfill_assets_tests import external_tables
from backfill_assets_tests.plain_table import create_plain_table
from backfill_assets_tests.processes import start_process
from backfill_assets_tests.waiting import LONGEST_SECONDS

FIXTURES = Path(__file__).with_name("fixtures")
SCHEMA = """
SELECT table_schema, table_name, column_name, data_type, is_nullable,
       CASE WHEN table_name = 'market_data' AND column_name IN ('volume_known', 'fetched_at')
            THEN 'the last two' ELSE ordinal_position::text END,  -- a new table has them the other way round
       concat_ws(' ', column_default, identity_generation)
FROM information_schema.columns WHERE table_schema IN ('public', 'backfill')
UNION ALL
SELECT schemaname, tablename, indexname, indexdef, '', '', '' FROM pg_indexes
WHERE schemaname IN ('public', 'backfill')
UNION ALL
SELECT n.nspname, p.proname, pg_get_function_arguments(p.oid), md5(p.prosrc), pg_get_function_result(p.oid),
       p.provolatile::text, ''
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'backfill'
UNION ALL
SELECT '', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), '', '', '' FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT n.nspname, c.conrelid::regclass::text, c.conname, pg_get_constraintdef(c.oid), '', '', ''
FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
WHERE n.nspname IN ('public', 'backfill') AND c.conrelid <> 0
UNION ALL
SELECT n.nspname, c.relname, c.relkind::text, c.relpersistence::text, pg_get_viewdef(c.oid), '', ''
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'backfill'
UNION ALL
SELECT '', objoid::regclass::text, objsubid::text, description, '', '', '' FROM pg_description
WHERE classoid = 'pg_class'::regclass AND objoid >= 16384
ORDER BY 1, 2, 3, 4
"""
CONTRACT_ROWS = """
SELECT to_jsonb(d) - 'volume_known', to_jsonb(s) FROM market_data d JOIN market_symbols s USING (symbol_id)
ORDER BY d.symbol_id, d.interval_type, d.timestamp
"""
# Migrations are recorded in two tables; a program needs those of both that it knows.
RECORDED = """
SELECT number, readable_since FROM backfill.migrations UNION ALL
SELECT number, readable_since FROM backfill.additive_migrations
"""
NEWEST_RECORDED = f"SELECT max(number) FROM ({RECORDED}) AS m"
NEW_NAMES = {
    "alert_given_up": "alert_vendor_gaps",
    "daily": "daily_prices",
    "evidence": "session_evidence",
    "lives": "listing_lives",
    "reconciled": "live_reconciliations",
}
NAMES_AFTER_SCHEMA = [m.name for number, m in load_migrations().items() if number > SCHEMA_NUMBER]


def read_schema(url: str) -> list[tuple[str, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(SCHEMA.encode()).fetchall()


def fetch(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def run_migrations(url: str) -> list[str]:
    database = Database(url)
    try:
        return migrate(database)
    finally:
        database.close()


def build_version_0_1_0(url: str) -> None:
    """Create the schema of migration 8, with rows in every table."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name in ("schema_0008.sql", "rows_0008.sql"):
            connection.execute((FIXTURES / name).read_text().encode())


def build_version_0_2_0(url: str) -> None:
    """Create the schema of migration 9, with rows in every table that version 0.1.0 had."""
    build_version_0_1_0(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(load_migrations()[SCHEMA_NUMBER].sql.encode())
        connection.execute((files("backfill_assets.store") / "migrations" / "functions.sql").read_bytes())
        connection.execute("INSERT INTO backfill.migrations VALUES (9, '0009_standard_names.sql', now(), 9)")


def build_from_migration_9(url: str, number: int) -> None:
    """Create the schema of a later migration as the upgrade from migration 9 leaves it, with its rows."""
    build_version_0_2_0(url)
    with psycopg.connect(url, autocommit=True) as connection:
        for migration in load_migrations().values():
            if SCHEMA_NUMBER < migration.number <= number:
                connection.execute(migration.sql.encode())
                record_migration(connection, migration)


def read_rows_by_table(url: str) -> dict[str, list[dict[str, Any]]]:
    """Read the rows of every table of schema backfill, sorted, without the tables about migrations."""
    tables = fetch(
        url,
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'backfill'"
        " AND table_type = 'BASE TABLE'"
        " AND table_name NOT IN ('migrations', 'additive_migrations', 'contract_tables')",
    )
    return {
        table: [row for (row,) in fetch(url, f"SELECT to_json(t) FROM backfill.{table} t ORDER BY t::text")]
        for (table,) in tables
    }


@pytest.fixture(params=["created", "existing"])
def database_at_0008(request: pytest.FixtureRequest, create_database: Callable[..., str]) -> str:
    """A database of version 0.1.0, with contract tables that it created or that existed before."""
    url = create_database(None)
    if request.param == "existing":
        external_tables.create_external_tables(url)
    build_version_0_1_0(url)
    return url


def test_an_upgraded_database_has_the_same_schema_as_a_new_one(
    database_at_0008: str, create_database: Callable[..., str]
) -> None:
    new = create_database(None)
    if fetch(database_at_0008, "SELECT to_regclass('house_signals') IS NOT NULL") == [(True,)]:
        external_tables.create_external_tables(new)
    else:
        create_plain_table(new)
    assert run_migrations(new) == ["schema.sql", *NAMES_AFTER_SCHEMA]
    assert run_migrations(database_at_0008) == [m.name for m in load_migrations().values()]
    assert read_schema(database_at_0008) == read_schema(new)
    for query in (
        "SELECT number, name, readable_since FROM backfill.migrations ORDER BY 1",
        "SELECT number, name, readable_since FROM backfill.additive_migrations ORDER BY 1",
        "SELECT table_name, is_managed, differences FROM backfill.contract_tables ORDER BY 1",
    ):
        assert fetch(database_at_0008, query) == fetch(new, query)


def test_the_upgrade_from_0_1_0_preserves_every_row(database_at_0008: str) -> None:
    before = read_rows_by_table(database_at_0008)
    bars = fetch(database_at_0008, CONTRACT_ROWS)
    assert all(before.values()), "the fixture has a row in every table"
    run_migrations(database_at_0008)
    after = read_rows_by_table(database_at_0008)
    for table, rows in before.items():
        assert [list(row.values()) for row in rows] == [
            list(row.values())[: len(rows[0])] for row in after[NEW_NAMES.get(table, table)]
        ]
    assert fetch(database_at_0008, CONTRACT_ROWS) == bars


def test_the_upgrade_from_0_2_0_preserves_every_row(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    build_version_0_2_0(url)
    before, bars = read_rows_by_table(url), fetch(url, CONTRACT_ROWS)
    assert run_migrations(url) == NAMES_AFTER_SCHEMA
    after = read_rows_by_table(url)
    for table, rows in before.items():
        assert rows == [{name: row[name] for name in rows[0]} for row in after[table]] if rows else not after[table]
    assert fetch(url, CONTRACT_ROWS) == bars


@pytest.mark.parametrize("table", ["revisions", "rejects", "findings", "evidence", "requests"])
def test_tables_that_users_read_have_their_old_names_and_columns(
    create_database: Callable[..., str], table: str
) -> None:
    url = create_database(None)
    build_version_0_1_0(url)
    query = f"SELECT to_jsonb(t) FROM backfill.{table} t ORDER BY t::text"
    before = fetch(url, query)
    run_migrations(url)
    for (row,), (row_now,) in zip(before, fetch(url, query), strict=True):
        assert row.items() <= row_now.items()


def test_roles_with_read_access_to_the_old_table_can_read_the_view(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    build_version_0_1_0(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute('CREATE ROLE "evidence-reader"')
        try:
            connection.execute('GRANT SELECT ON backfill.evidence TO "evidence-reader"')
            run_migrations(url)
            for relation in ("evidence", "session_evidence"):
                has_privilege = f"SELECT has_table_privilege('evidence-reader', 'backfill.{relation}', 'SELECT')"
                assert fetch(url, has_privilege) == [(True,)]
            assert fetch(url, "SELECT has_table_privilege('evidence-reader', 'backfill.runs', 'SELECT')") == [(False,)]
        finally:
            connection.execute('DROP OWNED BY "evidence-reader"')
            connection.execute('DROP ROLE "evidence-reader"')


def test_roles_that_work_with_the_ledger_work_with_the_tables_of_the_upgrade(
    create_database: Callable[..., str],
) -> None:
    url = create_database(None)
    build_version_0_2_0(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute('CREATE ROLE "ledger-user"')
        try:
            connection.execute('GRANT SELECT, INSERT, UPDATE, DELETE ON backfill.ledger TO "ledger-user"')
            run_migrations(url)
            for table in ("ledger_by_purpose", "spending_pause", "refused_endpoints"):
                has_privilege = f"SELECT has_table_privilege('ledger-user', 'backfill.{table}', 'INSERT')"
                assert fetch(url, has_privilege) == [(True,)]
        finally:
            connection.execute('DROP OWNED BY "ledger-user"')
            connection.execute('DROP ROLE "ledger-user"')


def test_an_externally_changed_bar_loses_its_provenance_after_the_upgrade(database_at_0008: str) -> None:
    run_migrations(database_at_0008)
    with psycopg.connect(database_at_0008, autocommit=True) as connection:
        connection.execute("UPDATE market_data SET close_price = 10.75 WHERE source IS NOT NULL")
    assert fetch(database_at_0008, "SELECT count(*) FROM market_data WHERE num_nonnulls(source, fetched_at) > 0") == [
        (0,)
    ]


def test_the_names_that_are_checked_at_the_start_are_those_of_a_new_database(database_url: str) -> None:
    tables = (
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'backfill'::regnamespace AND relkind IN ('r', 'p')"
    )
    functions = "SELECT proname::text FROM pg_proc WHERE pronamespace = 'backfill'::regnamespace"
    assert {name for (name,) in fetch(database_url, tables)} == OWN_TABLES
    assert {name for (name,) in fetch(database_url, functions)} == OWN_FUNCTIONS


def test_a_migrated_database_needs_no_migration(database_url: str) -> None:
    assert run_migrations(database_url) == []


@pytest.mark.parametrize("version", ["new", "0.1.0"])
def test_two_processes_that_migrate_at_once_both_succeed(create_database: Callable[..., str], version: str) -> None:
    url, other = create_database(None), create_database(None)
    if version == "0.1.0":
        build_version_0_1_0(url)
        create_plain_table(other)
    code = (
        "import sys; from backfill_assets.store.postgres.connection import Database;"
        "from backfill_assets.store.postgres.migrate import migrate; print(len(migrate(Database(sys.argv[1]))))"
    )
    processes = [
        start_process(["-c", code, url], os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=LONGEST_SECONDS) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sorted(int(out) for out, _ in outputs) == [0, len(NAMES_AFTER_SCHEMA) + 1]
    run_migrations(other)
    assert read_schema(url) == read_schema(other)


def test_the_upgrade_is_retried_after_a_deadlock_with_a_run(create_database: Callable[..., str]) -> None:
    """The run reads evidence, then bars; the upgrade locks bars first."""
    url = create_database(None)
    build_version_0_1_0(url)
    is_waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'backfill.evidence'::regclass)"
    with ThreadPoolExecutor(1) as threads, psycopg.connect(url) as run:
        run.execute("SET deadlock_timeout = '60s'")  # so that the upgrade is the one that is cancelled
        run.execute("SELECT count(*) FROM backfill.evidence")
        upgrade = threads.submit(run_migrations, url)
        while not run.execute(is_waiting).fetchall()[0][0]:
            assert not upgrade.done()
        assert run.execute("SELECT count(*) FROM market_data").fetchall() == [(2,)]
        run.commit()
        assert upgrade.result(60) == [m.name for m in load_migrations().values()]


def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO backfill.migrations VALUES (9999, 'from the future', now(), 9999)")
    with pytest.raises(DatabaseUnavailable, match="migration 9999, which this version does not know"):
        run_migrations(database_url)


def test_a_database_older_than_0_1_0_is_refused_naming_the_version_to_run(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    build_version_0_1_0(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM backfill.migrations WHERE number > 5")
    before = read_schema(url)
    with pytest.raises(DatabaseUnavailable, match=r"has migration 5, .* from migration 8; run backfill_assets 0\.1\.0"):
        run_migrations(url)
    assert read_schema(url) == before


@pytest.mark.parametrize("version", ["new", "0.1.0"])
def test_version_0_1_0_refuses_the_database(create_database: Callable[..., str], version: str) -> None:
    """Version 0.1.0 knows the migrations 1 to 8 and refuses other numbers."""
    url = create_database(None)
    if version == "0.1.0":
        build_version_0_1_0(url)
    run_migrations(url)
    numbers = {number for (number,) in fetch(url, "SELECT number FROM backfill.migrations")}
    assert numbers > set(range(1, 9))


def test_every_migration_records_the_oldest_version_that_can_read_it(database_url: str) -> None:
    recorded = dict(fetch(database_url, RECORDED))
    assert recorded == {n: n for n in range(1, 9)} | {m.number: m.readable_since for m in load_migrations().values()}


@pytest.mark.parametrize("number", [9, 17, 18])
def test_daily_rows_of_earlier_migrations_stay_and_have_null_in_the_new_columns(
    create_database: Callable[..., str], number: int
) -> None:
    url = create_database(None)
    build_from_migration_9(url, number)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO backfill.daily_prices (symbol_id, day, close_price, volume)"
            " VALUES (1, '2026-06-02', 11, 900), (2, '2026-06-02', NULL, 0)"
        )
    assert run_migrations(url) == [m.name for m in load_migrations().values() if m.number > number]
    rows = fetch(url, "SELECT to_jsonb(d) FROM backfill.daily_prices d WHERE day = '2026-06-02' ORDER BY symbol_id")
    new = dict.fromkeys(("open_price", "high_price", "low_price", "adjusted_close", "reported_volume", "read_at"), None)
    new |= {"fractional_volume": None}
    old = {"symbol_id": 1, "day": "2026-06-02", "close_price": 11, "volume": 900, "no_row_reason": None}
    without_row = {"symbol_id": 2, "close_price": None, "volume": 0}
    assert [row for (row,) in rows] == [old | new, old | without_row | new]
    assert fetch(url, "SELECT count(*) FROM backfill.daily_revisions") == [(0,)]
    assert fetch(url, "SELECT count(*) FROM backfill.alert_states WHERE NOT is_judged") == [(0,)]


def test_a_program_of_migration_9_goes_on_writing_daily_rows(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for volume in (0, 900):
            connection.execute(
                "INSERT INTO backfill.daily_prices AS d (symbol_id, day, close_price, volume)"
                " VALUES (1, '2026-06-02', 11, %s) ON CONFLICT (symbol_id, day) DO UPDATE"
                " SET close_price = EXCLUDED.close_price, volume = EXCLUDED.volume"
                " WHERE (d.close_price, d.volume) IS DISTINCT FROM (EXCLUDED.close_price, EXCLUDED.volume)",
                [volume],
            )
    assert fetch(database_url, "SELECT volume, reported_volume FROM backfill.daily_prices") == [(900, None)]


def test_a_program_of_migration_32_goes_on_with_its_files_and_closures(database_url: str) -> None:
    """Its statements, beside rows of another exchange of the same day: it neither sees nor changes them."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for table, values in (
            ("exchange_files", "'2026-01-15', '2026-01-16', 2425"),
            ("exchange_closures", "'2026-01-15', '2026-01-16', 'no file'"),
        ):
            columns = "day, read_at, tickers" if table == "exchange_files" else "day, found_at, reason"
            connection.execute(f"INSERT INTO backfill.{table} ({columns}, exchange) VALUES ({values}, 'AU')".encode())
        claim = (
            "INSERT INTO backfill.bulk_files AS f (day, read_at, tickers, requested_at)"
            " VALUES ('2026-01-15', '-infinity', 0, clock_timestamp())"
            " ON CONFLICT (day) DO UPDATE SET requested_at = EXCLUDED.requested_at"
            " WHERE f.requested_at IS NULL OR f.requested_at < EXCLUDED.requested_at - interval '5 minutes'"
        )
        assert [connection.execute(claim).rowcount for _ in range(2)] == [1, 0]
        connection.execute("UPDATE backfill.bulk_files SET tickers = 11000 WHERE day = '2026-01-15'")
        close = (
            "INSERT INTO backfill.closures (day, found_at, reason) VALUES ('2026-01-16', now(), 'no file')"
            " ON CONFLICT (day) DO UPDATE SET reason = closures.reason"
        )
        assert [connection.execute(close).rowcount for _ in range(2)] == [1, 1]
    assert fetch(database_url, "SELECT day::text FROM backfill.closures") == [("2026-01-16",)]
    files = "SELECT exchange, tickers FROM backfill.exchange_files ORDER BY 1"
    assert fetch(database_url, files) == [("AU", 2425), ("US", 11000)]
    closures = "SELECT exchange, day::text FROM backfill.exchange_closures ORDER BY 1"
    assert fetch(database_url, closures) == [("AU", "2026-01-15"), ("US", "2026-01-16")]


SYMBOL_LENGTH = """
SELECT atttypmod - 4 FROM pg_attribute WHERE attrelid = 'market_symbols'::regclass AND attname = 'symbol'
"""


@pytest.mark.parametrize(
    ("dependent", "length"), [("", 20), ("CREATE VIEW names AS SELECT symbol FROM market_symbols", 10)]
)
def test_symbols_of_an_own_database_become_longer_unless_something_depends_on_them(
    create_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch, dependent: str, length: int
) -> None:
    url = create_database(None)
    older = {number: migration for number, migration in load_migrations().items() if number <= 32}
    with monkeypatch.context() as patch:
        patch.setattr("backfill_assets.store.postgres.migrate.load_migrations", lambda: older)
        run_migrations(url)
    assert fetch(url, SYMBOL_LENGTH) == [(10,)]
    if dependent:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(dependent.encode())
    run_migrations(url)
    assert fetch(url, SYMBOL_LENGTH) == [(length,)]
