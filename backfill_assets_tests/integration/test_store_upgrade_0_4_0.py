"""The upgrade of a database of version 0.4.0 (migration 25): no row is lost, and it is done whole or not at all.

A process of 0.4.0 that runs beside it goes on reading and writing what it knows.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import psycopg
import pytest

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.actions.listed_actions import ListedSplit
from backfill_assets.store.actions.splits import list_splits, record_symbol_splits
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests import external_tables
from backfill_assets_tests.integration.test_store_migrate import CONTRACT_ROWS, fetch, read_schema, run_migrations
from backfill_assets_tests.integration.upgrades import (
    COLUMNS_OF_OTHERS,
    NUMBER_0_4_0,
    build_database,
    cut_off_upgrade,
    name_later,
    require_preserved_rows,
)

LATER = name_later(NUMBER_0_4_0)
ROWS = ["rows_0019.sql", "rows_0025.sql"]
# Statements of version 0.4.0: a run that reads splits, a report, an answer to a decision.
UPSERT_SPLITS = """
INSERT INTO backfill.splits AS s (symbol_id, ex_date, ratio, source, first_seen)
SELECT t.*, %(source)s, %(now)s
FROM unnest(%(ids)s::int[], %(ex_dates)s::date[], %(ratios)s::float8[]) AS t (symbol_id, ex_date, ratio)
ORDER BY 1, 2
ON CONFLICT (symbol_id, ex_date) DO UPDATE SET ratio = EXCLUDED.ratio, withdrawn_at = NULL
WHERE s.ratio <> EXCLUDED.ratio OR s.withdrawn_at IS NOT NULL
"""
SELECT_SPLITS = """
SELECT symbol_id, ex_date::text, ratio FROM backfill.splits
WHERE symbol_id = ANY ('{1,2}'::int[]) AND withdrawn_at IS NULL ORDER BY 1, 2
"""
ACTIVATE = "UPDATE market_symbols SET is_active = true, updated_at = now() WHERE symbol_id = ANY ('{1,2}')"


@pytest.fixture
def url_0_4_0(create_database: Callable[..., str]) -> str:
    url = create_database(None)
    build_database(url, NUMBER_0_4_0, ROWS)
    return url


def test_every_row_is_preserved_and_new_tables_are_empty(url_0_4_0: str, plain_template_url: str) -> None:
    require_preserved_rows(url_0_4_0, plain_template_url, LATER)


def test_an_upgrade_that_is_cut_off_leaves_nothing_behind_and_is_repeated(
    url_0_4_0: str, plain_template_url: str
) -> None:
    """A reader of the market's files keeps the upgrade waiting; then the server ends the upgrade's session."""
    assert cut_off_upgrade(url_0_4_0, "backfill.bulk_files", "dividends", NUMBER_0_4_0) == LATER
    assert read_schema(url_0_4_0) == read_schema(plain_template_url)


@pytest.mark.parametrize("name", ["dividends", "listings"])
def test_a_table_of_another_program_in_the_way_is_named_and_nothing_is_made(url_0_4_0: str, name: str) -> None:
    with psycopg.connect(url_0_4_0, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE backfill.{name} (id integer)".encode())
        before = read_schema(url_0_4_0)
        with pytest.raises(DatabaseUnavailable, match=name):
            run_migrations(url_0_4_0)
        assert read_schema(url_0_4_0) == before
        connection.execute(f"DROP TABLE backfill.{name}".encode())
    assert run_migrations(url_0_4_0) == LATER


def test_tables_of_another_program_are_taken_over_as_before(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    external_tables.create_external_tables(url)
    build_database(url, NUMBER_0_4_0, ROWS)
    before = fetch(url, COLUMNS_OF_OTHERS), fetch(url, CONTRACT_ROWS)
    assert run_migrations(url) == LATER
    assert (fetch(url, COLUMNS_OF_OTHERS), fetch(url, CONTRACT_ROWS)) == before


def test_roles_that_work_with_the_evidence_work_with_the_new_tables(url_0_4_0: str) -> None:
    added = "SELECT relname::text FROM pg_class WHERE relnamespace = 'backfill'::regnamespace AND relkind = 'r'"
    before = fetch(url_0_4_0, added)
    with psycopg.connect(url_0_4_0, autocommit=True) as connection:
        connection.execute("CREATE ROLE actions_reader")
        try:
            connection.execute("GRANT USAGE ON SCHEMA backfill TO actions_reader")
            for tables in ("ALL TABLES IN SCHEMA backfill", "market_data, market_symbols"):
                connection.execute(f"GRANT SELECT ON {tables} TO actions_reader".encode())
            run_migrations(url_0_4_0)
            new = sorted({name for (name,) in fetch(url_0_4_0, added)} - {name for (name,) in before})
            assert {"dividends", "listings", "split_revisions", "universe_changes"} <= set(new)
            connection.execute("SET ROLE actions_reader")
            for relation in (*new, "adjusted_bars('splits')", "adjustment_factors('splits')"):
                connection.execute(f"SELECT count(*) FROM backfill.{relation}".encode())
        finally:
            connection.execute("RESET ROLE")
            connection.execute("DROP OWNED BY actions_reader")
            connection.execute("DROP ROLE actions_reader")


def test_the_new_migrations_leave_what_version_0_4_0_reads_and_writes(url_0_4_0: str) -> None:
    before = fetch(url_0_4_0, SELECT_SPLITS)
    run_migrations(url_0_4_0)
    assert fetch(
        url_0_4_0, f"SELECT DISTINCT readable_since FROM backfill.migrations WHERE number > {NUMBER_0_4_0}"
    ) == [(9,)]
    assert fetch(url_0_4_0, SELECT_SPLITS) == before == [(1, "2026-05-20", 0.1), (1, "2026-06-02", 10)]
    values = {
        "ids": [1, 2],
        "ex_dates": ["2026-06-03"] * 2,
        "ratios": [3.0, 2.0],
        "source": "/splits",
        "now": "2026-06-04Z",
    }
    with psycopg.connect(url_0_4_0, autocommit=True) as connection:
        connection.execute(UPSERT_SPLITS.encode(), values)
        connection.execute(ACTIVATE.encode())
    assert fetch(url_0_4_0, SELECT_SPLITS)[2:] == [(1, "2026-06-03", 3), (2, "2026-06-03", 2)]


@pytest.mark.parametrize(
    ("ratio", "shares", "price_factor"), [(4.0, (4, 1), 0.25), (0.1, (1, 10), 10.0), (1.5, (3, 2), 2 / 3)]
)
def test_a_ratio_that_0_4_0_wrote_beside_older_shares_is_what_counts(
    url_0_4_0: str, ratio: float, shares: tuple[int, int], price_factor: float
) -> None:
    run_migrations(url_0_4_0)
    day, now = date(2026, 6, 3), datetime(2026, 6, 4, 12, tzinfo=UTC)
    known = {"known_after": date(1900, 1, 1), "known_until": day}
    database = Database(url_0_4_0)
    with database.transaction() as connection:
        record_symbol_splits(connection, 1, [ListedSplit(day, Decimal(7), Decimal(1))], "/splits", now, **known)
    with psycopg.connect(url_0_4_0, autocommit=True) as connection:
        values = {"ids": [1], "ex_dates": [day], "ratios": [ratio], "source": "/splits", "now": now}
        connection.execute(UPSERT_SPLITS.encode(), values)
    factor = (
        "SELECT price_factor FROM backfill.adjustment_factors('splits') WHERE symbol_id = 1 AND last_day IS NOT NULL"
    )
    assert fetch(url_0_4_0, f"{factor} ORDER BY last_day DESC LIMIT 1") == [(price_factor,)]
    with database.transaction() as connection:
        (split,) = list_splits(connection, [1])
        assert (split.new_shares, split.old_shares) == shares
        # the next reading of this version writes both
        record_symbol_splits(connection, 1, [ListedSplit(day, Decimal(7), Decimal(1))], "/splits", now, **known)
        assert [s.new_shares for s in list_splits(connection, [1])] == [7]
    assert fetch(url_0_4_0, f"{factor} ORDER BY last_day DESC LIMIT 1") == [(1 / 7,)]
    database.close()


def test_adjusted_bars_of_a_store_of_0_4_0_need_no_reading_of_its_splits(url_0_4_0: str) -> None:
    run_migrations(url_0_4_0)
    bars = "SELECT open_price::float8, volume::float8 FROM {} WHERE symbol_id = 1 AND session_day = '2026-06-01'"
    raw = fetch(url_0_4_0, bars.format("backfill.adjusted_bars('none')"))
    assert fetch(url_0_4_0, bars.format("backfill.adjusted_bars('splits')")) == [(p / 10, v * 10) for p, v in raw]
    with pytest.raises(psycopg.errors.DatabaseError, match="cannot be adjusted for its dividends"):
        fetch(url_0_4_0, bars.format("backfill.adjusted_bars('splits_and_dividends')"))
