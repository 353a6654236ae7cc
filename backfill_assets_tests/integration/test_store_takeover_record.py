"""The record of managed contract tables, and of the differences of external tables."""

from collections.abc import Callable

import psycopg
import pytest

from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests import external_tables
from backfill_assets_tests.integration.test_store_migrate import build_version_0_1_0, fetch, run_migrations
from backfill_assets_tests.plain_table import MARKET_DATA

RECORDS = "SELECT table_name, is_managed, differences FROM backfill.contract_tables ORDER BY 1"


def read_record(url: str, table: str) -> tuple[bool, list[str]]:
    return {name: (is_managed, differences) for name, is_managed, differences in fetch(url, RECORDS)}[table]


def test_created_tables_are_managed(database_url: str) -> None:
    assert fetch(database_url, RECORDS) == [("market_data", True, []), ("market_symbols", True, [])]


def test_tables_created_by_version_0_1_0_are_managed(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    build_version_0_1_0(url)
    run_migrations(url)
    assert fetch(url, RECORDS) == [("market_data", True, []), ("market_symbols", True, [])]


def test_an_existing_table_of_the_same_definition_is_managed(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(MARKET_DATA.encode())
    run_migrations(url)
    assert read_record(url, "market_data") == (True, [])


@pytest.mark.parametrize("version", ["new", "0.1.0"])
@pytest.mark.parametrize(
    ("original", "changed", "differences"),
    [
        ("    fetched_at ", "    vwap numeric(12,6), fetched_at ", ["additional column vwap (numeric(12,6))"]),
        (
            "CHECK (volume >= 0)",
            "CHECK (volume > 0)",
            ["missing constraint CHECK ((volume >= 0))", "additional constraint CHECK ((volume > 0))"],
        ),
        (
            "close_price     double precision NOT NULL CHECK (close_price > 0)",
            "close_price     double precision NOT NULL",
            ["missing constraint CHECK ((close_price > (0)::double precision))"],
        ),
        (
            "    volume          bigint           NOT NULL",
            "    volume          numeric          NOT NULL",
            [
                "column volume is numeric NOT NULL instead of bigint NOT NULL",
                "missing constraint CHECK ((volume >= 0))",
                "additional constraint CHECK ((volume >= (0)::numeric))",
            ],
        ),
        (
            'PRIMARY KEY (symbol_id, interval_type, "timestamp")',
            'UNIQUE (symbol_id, interval_type, "timestamp")',
            [
                'missing constraint PRIMARY KEY (symbol_id, interval_type, "timestamp")',
                'additional constraint UNIQUE (symbol_id, interval_type, "timestamp")',
            ],
        ),
        (
            "interval_type   varchar(20)      NOT NULL DEFAULT '30m'",
            "interval_type   varchar(20)      NOT NULL DEFAULT '30min'",
            [
                "column interval_type is character varying(20) NOT NULL DEFAULT '30min'::character varying"
                " instead of character varying(20) NOT NULL DEFAULT '30m'::character varying"
            ],
        ),
        (
            "    source          text,",
            "    source          varchar(20),",
            ["column source is character varying(20) instead of text"],
        ),
        (
            "    source_interval text,",
            '    source_interval text COLLATE "C",',
            ['column source_interval is text COLLATE "C" instead of text'],
        ),
        (
            'PRIMARY KEY (symbol_id, interval_type, "timestamp")\n)',
            'PRIMARY KEY (symbol_id, interval_type, "timestamp")\n) PARTITION BY LIST (symbol_id)',
            ["the table is partitioned"],
        ),
    ],
)
def test_an_existing_table_with_a_difference_is_not_managed(
    create_database: Callable[..., str], version: str, original: str, changed: str, differences: list[str]
) -> None:
    url = create_database(None)
    assert MARKET_DATA.count(original) == 1
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(MARKET_DATA.replace(original, changed).encode())
        if changed.endswith("(symbol_id)"):
            connection.execute("CREATE TABLE market_data_rest PARTITION OF market_data DEFAULT")
    if version == "0.1.0":
        build_version_0_1_0(url)
    run_migrations(url)
    assert read_record(url, "market_data") == (False, differences)
    assert read_record(url, "market_symbols") == (True, [])


def test_a_unique_index_without_a_constraint_is_a_difference(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(MARKET_DATA.encode())
        connection.execute('CREATE UNIQUE INDEX ON market_data (symbol_id, "timestamp", interval_type)')
    run_migrations(url)
    expected = 'additional constraint UNIQUE INDEX USING btree (symbol_id, "timestamp", interval_type)'
    assert read_record(url, "market_data") == (False, [expected])


def test_a_trigger_of_another_program_is_a_difference(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(MARKET_DATA.encode())
        connection.execute(
            "CREATE TRIGGER house_log BEFORE UPDATE ON market_data"
            " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        )
    run_migrations(url)
    assert read_record(url, "market_data") == (False, ["the table has triggers of another program"])


def test_the_record_lists_all_differences_of_an_external_table(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    external_tables.create_external_tables(url)
    run_migrations(url)
    is_managed, differences = read_record(url, "market_symbols")
    assert not is_managed
    assert "additional column house_rating (text)" in differences
    assert "column market_cap is bigint instead of numeric(20,2)" in differences
    is_managed, differences = read_record(url, "market_data")
    assert not is_managed
    assert 'missing constraint PRIMARY KEY (symbol_id, interval_type, "timestamp")' in differences
    assert any("FOREIGN KEY (symbol_id)" in difference for difference in differences)


def test_the_comparison_leaves_no_temporary_table_or_setting(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    database = Database(url, max_connections=1)
    try:
        migrate(database)
        with database.transaction() as connection:
            assert connection.execute("SHOW search_path").fetchall() == [('"$user", public',)]
            assert connection.execute("SELECT count(*) FROM pg_class WHERE relpersistence = 't'").fetchall() == [(0,)]
    finally:
        database.close()
