"""The upgrade of a database of version 0.6.0 (migration 32): no row is lost, and it is done whole or not at all.

What it has is the US's. A process of 0.6.0 that runs beside it goes on reading and writing the US, and meets nothing of
another exchange in the tables that had no exchange before.
"""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets_tests import external_tables
from backfill_assets_tests.integration.test_store_migrate import CONTRACT_ROWS, fetch, read_schema, run_migrations
from backfill_assets_tests.integration.upgrades import (
    COLUMNS_OF_OTHERS,
    NUMBER_0_6_0,
    NUMBER_0_7_0,
    apply_migrations,
    build_database,
    cut_off_upgrade,
    list_between,
    name_later,
    require_completion,
    require_preserved_rows,
)

LATER = name_later(NUMBER_0_6_0)
ROWS = ["rows_0019.sql", "rows_0025.sql", "rows_0030.sql", "rows_0032.sql"]
# Statements of version 0.6.0 about what has an exchange now; %(day)s and the like are replaced by values.
CLAIM_FILE = """
INSERT INTO backfill.bulk_files AS f (day, read_at, tickers, requested_at)
VALUES ('{}', '-infinity', 0, clock_timestamp())
ON CONFLICT (day) DO UPDATE SET requested_at = EXCLUDED.requested_at
WHERE f.requested_at IS NULL OR f.requested_at < EXCLUDED.requested_at - interval '1 hour'
"""
READ_FILE = """
UPDATE backfill.bulk_files SET read_at = now(), tickers = 9, searched_ids = '{{1}}'::int[], requested_at = NULL
WHERE day = '{}'
"""
INSERT_CLOSURE = """
INSERT INTO backfill.closures (day, found_at, reason)
SELECT '{0}', now(), 'no rows' WHERE NOT EXISTS (
    SELECT FROM backfill.decisions
    WHERE kind = 'closure' AND decision = 'rejected' AND refers_to @> ARRAY['{0}'::date::text])
ON CONFLICT (day) DO UPDATE SET reason = closures.reason
"""
DELETE_CLOSURE = "DELETE FROM backfill.closures WHERE day = '{}' RETURNING found_at, reason"
WRITE_CERTIFICATE = """
INSERT INTO backfill.certificates (
    exchange, universe, session_day, interval_type, kind, previous_id, symbols, incomplete, bars, sha256, counts,
    evidence, code_version, schema_version, as_of, created_at, revised_bars, max_price_bps, max_volume_percent,
    is_material
) SELECT 'US', 'model', '2026-06-01', '30m', 'complete', 2, 2, '{}'::text[], 26, repeat('c', 64), '{}'::jsonb,
         '{}'::jsonb, '0.6.0', (SELECT max(number) FROM backfill.migrations), now(), now(), 1, 2::float8, 3::float8,
         true
ON CONFLICT DO NOTHING RETURNING certificate_id
"""
SESSION_DAYS = """
SELECT backfill.session_day('2026-06-01 23:30Z'), backfill.session_day('2026-01-05 04:30Z'),
       backfill.session_day_begin('2026-06-01')
"""
ADJUSTED = "SELECT * FROM backfill.adjusted_bars('none') ORDER BY symbol_id, interval_type, timestamp"
US_FILES = "SELECT * FROM backfill.bulk_files ORDER BY day"


@pytest.fixture
def url_0_6_0(create_database: Callable[..., str]) -> str:
    """A database of version 0.6.0 with rows in every table."""
    url = create_database(None)
    build_database(url, NUMBER_0_6_0, ROWS)
    return url


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_every_row_is_preserved(url_0_6_0: str, plain_template_url: str) -> None:
    require_preserved_rows(url_0_6_0, plain_template_url, LATER)
    assert fetch(url_0_6_0, "SELECT DISTINCT exchange FROM backfill.exchange_files") == [("US",)]
    assert fetch(url_0_6_0, "SELECT DISTINCT exchange FROM backfill.exchange_closures") == [("US",)]
    assert fetch(
        url_0_6_0, f"SELECT DISTINCT readable_since FROM backfill.migrations WHERE number > {NUMBER_0_6_0}"
    ) == [(9,)]


@pytest.mark.parametrize("number", list_between(NUMBER_0_6_0, NUMBER_0_7_0))
def test_a_database_between_two_migrations_is_completed(url_0_6_0: str, plain_template_url: str, number: int) -> None:
    apply_migrations(url_0_6_0, NUMBER_0_6_0, number)
    require_completion(url_0_6_0, plain_template_url, number)


def test_an_upgrade_that_is_cut_off_leaves_nothing_behind_and_is_repeated(
    url_0_6_0: str, plain_template_url: str
) -> None:
    """A reader of the daily files keeps their new key waiting; then the server ends the upgrade's session."""
    assert cut_off_upgrade(url_0_6_0, "backfill.bulk_files", "exchanges", NUMBER_0_6_0) == LATER
    assert read_schema(url_0_6_0) == read_schema(plain_template_url)


def test_a_table_of_another_program_in_the_way_is_named_and_nothing_is_made(url_0_6_0: str) -> None:
    execute(url_0_6_0, "CREATE TABLE backfill.learned_sessions (id integer)")
    before = read_schema(url_0_6_0)
    with pytest.raises(DatabaseUnavailable, match="learned_sessions"):
        run_migrations(url_0_6_0)
    assert read_schema(url_0_6_0) == before
    execute(url_0_6_0, "DROP TABLE backfill.learned_sessions")
    assert run_migrations(url_0_6_0) == LATER


def test_tables_of_another_program_stay_as_they_are(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    external_tables.create_external_tables(url)
    build_database(url, NUMBER_0_6_0, ROWS)
    before = fetch(url, COLUMNS_OF_OTHERS), fetch(url, CONTRACT_ROWS)
    assert run_migrations(url) == LATER
    assert (fetch(url, COLUMNS_OF_OTHERS), fetch(url, CONTRACT_ROWS)) == before


@pytest.mark.parametrize(
    ("statement", "kept"),
    [
        ("SELECT", "character varying(20)"),
        ("ALTER TABLE market_symbols ALTER COLUMN symbol TYPE text", "text"),
        ("CREATE VIEW names AS SELECT symbol FROM market_symbols", "character varying(10)"),
    ],
)
def test_symbols_get_20_characters_where_nothing_of_others_is_changed_by_it(
    url_0_6_0: str, statement: str, kept: str
) -> None:
    """The table was recorded as our own; its owner may have changed it since."""
    execute(url_0_6_0, "INSERT INTO backfill.contract_tables VALUES ('market_symbols', true, '{}')", statement)
    run_migrations(url_0_6_0)
    column = "attrelid = 'market_symbols'::regclass AND attname = 'symbol'"
    assert fetch(url_0_6_0, f"SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE {column}") == [(kept,)]


def test_dates_and_adjusted_bars_of_the_us_are_the_same(url_0_6_0: str) -> None:
    before = fetch(url_0_6_0, SESSION_DAYS), fetch(url_0_6_0, ADJUSTED)
    assert len(before[1]) > 1
    run_migrations(url_0_6_0)
    assert (fetch(url_0_6_0, SESSION_DAYS), fetch(url_0_6_0, ADJUSTED)) == before


def read_tables(url: str) -> list[Any]:
    queries = (
        US_FILES,
        "SELECT * FROM backfill.closures ORDER BY day",
        "SELECT * FROM backfill.certificates ORDER BY 1",
    )
    return [fetch(url, query) for query in queries]


def test_statements_of_0_6_0_go_on_and_never_meet_another_exchange(url_0_6_0: str) -> None:
    run_migrations(url_0_6_0)
    before = read_tables(url_0_6_0)
    day = "2026-06-11"
    execute(
        url_0_6_0,
        f"INSERT INTO backfill.exchange_files (exchange, day, read_at, tickers) VALUES ('LSE', '{day}', now(), 77)",
        f"INSERT INTO backfill.exchange_closures (exchange, day, found_at, reason) VALUES ('LSE', '{day}', now(), 'x')",
    )
    assert read_tables(url_0_6_0) == before
    execute(url_0_6_0, CLAIM_FILE.format(day), READ_FILE.format(day), INSERT_CLOSURE.format(day), WRITE_CERTIFICATE)
    files = "SELECT exchange, tickers FROM backfill.exchange_files WHERE day = '{}' ORDER BY 1"
    assert fetch(url_0_6_0, files.format(day)) == [("LSE", 77), ("US", 9)]
    assert [len(rows) for rows in read_tables(url_0_6_0)] == [len(rows) + 1 for rows in before]
    execute(url_0_6_0, DELETE_CLOSURE.format(day), CLAIM_FILE.format(day))
    closures = f"SELECT exchange FROM backfill.exchange_closures WHERE day = '{day}'"
    assert fetch(url_0_6_0, closures) == [("LSE",)]


def test_roles_that_read_the_evidence_read_the_new_tables(url_0_6_0: str) -> None:
    tables = (
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'backfill'::regnamespace AND relkind IN ('r', 'p')"
    )
    before = fetch(url_0_6_0, tables)
    with psycopg.connect(url_0_6_0, autocommit=True) as connection:
        connection.execute("CREATE ROLE exchanges_reader")
        try:
            connection.execute("GRANT USAGE ON SCHEMA backfill TO exchanges_reader")
            for granted in ("ALL TABLES IN SCHEMA backfill", "market_data, market_symbols"):
                connection.execute(f"GRANT SELECT ON {granted} TO exchanges_reader".encode())
            run_migrations(url_0_6_0)
            new = sorted({name for (name,) in fetch(url_0_6_0, tables)} - {name for (name,) in before})
            assert {"exchanges", "exchange_files", "exchange_closures", "symbol_currencies"} <= set(new)
            connection.execute("SET ROLE exchanges_reader")
            for relation in (*new, "bulk_files", "session_day(now(), 'LSE')"):
                connection.execute(f"SELECT count(*) FROM backfill.{relation}".encode())
        finally:
            connection.execute("RESET ROLE")
            connection.execute("DROP OWNED BY exchanges_reader")
            connection.execute("DROP ROLE exchanges_reader")
