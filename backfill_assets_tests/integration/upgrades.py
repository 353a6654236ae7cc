"""What the tests of upgrades share: the numbers of released schemas, and what holds for the upgrade of any of them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg

from backfill_assets.store.postgres.migrate import load_migrations, record_migration
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

NUMBER_0_3_0, NUMBER_0_4_0, NUMBER_0_5_0, NUMBER_0_6_0, NUMBER_0_7_0, NUMBER_0_8_0 = 19, 25, 30, 32, 34, 38
NEWEST = max(load_migrations())
# As a start records it: market_data is as the program made it, unless another program's tables are there.
RECORD_OWN_TABLE = """
INSERT INTO backfill.contract_tables (table_name, is_managed, differences)
SELECT 'market_data', to_regclass('house_signals') IS NULL, '{}'
"""
# Of contract tables: what an upgrade leaves as it is. It adds one column.
COLUMNS_OF_OTHERS = """
SELECT table_name, column_name, data_type, is_nullable, character_maximum_length FROM information_schema.columns
WHERE table_schema = 'public' AND column_name <> 'volume_known' ORDER BY 1, 2
"""
EXTENDED = {"exchanges"}  # later versions have more
REBUILT = {"bar_versions", "census_tables", "exchange_closures", "exchange_files"}  # filled with what is there


def name_later(number: int) -> list[str]:
    """The migrations after a number."""
    return [migration.name for migration in load_migrations().values() if migration.number > number]


def list_between(first: int, last: int) -> list[int]:
    """The numbers of the schemas between two released ones: those of an upgrade that ended early."""
    return [number for number in load_migrations() if first < number < last]


def build_database(url: str, number: int, fixtures: Sequence[str]) -> None:
    """Create the schema of a migration in an empty database, with the rows of migration 8 and those of fixtures."""
    build_from_migration_9(url, min(number, NUMBER_0_7_0))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(RECORD_OWN_TABLE.encode())
    apply_migrations(url, NUMBER_0_7_0, number)  # they depend on whose table it is
    with psycopg.connect(url, autocommit=True) as connection:
        for name in fixtures:
            connection.execute((FIXTURES / name).read_bytes())


def apply_migrations(url: str, first: int, last: int) -> None:
    """Apply the migrations after ``first`` up to ``last`` only."""
    with psycopg.connect(url, autocommit=True) as connection:
        for migration in load_migrations().values():
            if first < migration.number <= last:
                connection.execute(migration.sql.encode())
                record_migration(connection, migration)


def require_preserved_rows(url: str, template_url: str, later: list[str]) -> None:
    """Upgrade a database that has a row in every table, and make sure that all rows are there.

    New tables have no rows but those of a new database and those that are rebuilt.
    """
    before, bars = read_rows_by_table(url), fetch(url, CONTRACT_ROWS)
    assert all(before.values()), "the fixture has a row in every table"
    assert run_migrations(url) == later
    after, new = read_rows_by_table(url), read_rows_by_table(template_url)
    for table, rows in before.items():
        kept = [str({name: row[name] for name in rows[0]}) for row in after[table]]
        assert sorted(map(str, rows)) == sorted(kept if table not in EXTENDED else set(kept) & set(map(str, rows)))
    for table in after.keys() - before.keys() - REBUILT:
        assert len(after[table]) == len(new[table]), table
    assert fetch(url, CONTRACT_ROWS) == bars
    assert read_schema(url) == read_schema(template_url)


def require_completion(url: str, template_url: str, number: int) -> None:
    """Upgrade a database that an upgrade left at a migration, and make sure that it becomes one like any other."""
    before = {table: len(rows) for table, rows in read_rows_by_table(url).items()}
    assert run_migrations(url) == name_later(number)
    assert read_schema(url) == read_schema(template_url)
    after = read_rows_by_table(url)
    kept = {table: len(after[table]) for table in before}
    kept |= {table: min(kept[table], before[table]) for table in EXTENDED & before.keys()}
    assert kept == before


def cut_off_upgrade(url: str, table: str, new_table: str, number: int, mode: str = "ACCESS SHARE") -> list[str]:
    """Keep an upgrade waiting with a lock on one table, let the server end its session, and let it be repeated.

    A reader has the lock of the mode ``ACCESS SHARE``, a writer ``ROW EXCLUSIVE``.

    Returns:
        What was applied in the end.
    """
    find_waiting = f"SELECT pid FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"
    with ThreadPoolExecutor(1) as threads, psycopg.connect(url) as other:
        other.execute(f"LOCK TABLE {table} IN {mode} MODE".encode())
        upgrade = threads.submit(run_migrations, url)
        wait_until(lambda: fetch(url, find_waiting), "the upgrade to wait for the lock")
        assert fetch(url, f"SELECT pg_terminate_backend(({find_waiting}))") == [(True,)]
        left = fetch(url, f"SELECT max(number), to_regclass('backfill.{new_table}') FROM backfill.migrations")
        assert left == [(number, None)]
        other.commit()
        return upgrade.result(60)
