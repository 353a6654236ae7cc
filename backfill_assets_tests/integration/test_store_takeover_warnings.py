"""What is said beforehand about a table of another program: which bars it may refuse, and what it changes in them."""

import logging
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.postgres.takeover_check import require_contract
from backfill_assets.store.postgres.takeover_warnings import find_table_warnings
from backfill_assets_tests import external_tables
from backfill_assets_tests.integration.test_store_migrate import fetch

NUMERIC = """
CREATE TABLE market_data (
    symbol_id integer, interval_type varchar(3), "timestamp" timestamptz, source varchar(64),
    open_price numeric(7,4), high_price numeric(12,4), low_price numeric, close_price numeric(20,8),
    volume numeric(9,0), UNIQUE (symbol_id, interval_type, "timestamp")
) {partitioning}
"""
BY_MONTH = """
CREATE TABLE bars_may PARTITION OF market_data FOR VALUES FROM ('2026-05-01 00:00+00') TO ('2026-06-01 00:00+00');
CREATE TABLE bars_june PARTITION OF market_data FOR VALUES FROM ('2026-06-01 00:00+00') TO ('2026-07-01 00:00+00');
"""
COLUMN_WARNINGS = [
    "interval_type is character varying(3): longer values are refused",
    "open_price is numeric(7,4): values from 1,000 on are refused",
    "open_price is numeric(7,4): prices are rounded to 4 of 6 decimals",
    "high_price is numeric(12,4): prices are rounded to 4 of 6 decimals",
    "volume is numeric(9,0): values from 1,000,000,000 on are refused",
]
ADDITIONS = """
CREATE TABLE house_intervals (name varchar(20) PRIMARY KEY);
ALTER TABLE market_data
    ADD CONSTRAINT house_volume CHECK (volume < 1000000),
    ADD CONSTRAINT house_moves CHECK (high_price > low_price) NOT VALID,
    ADD CONSTRAINT house_ratio CHECK (100 / (volume - 1000) IS NOT NULL),
    ADD CONSTRAINT house_sane CHECK (high_price < 1e6 AND volume % 1 = 0),
    ADD CONSTRAINT house_interval FOREIGN KEY (interval_type) REFERENCES house_intervals;
CREATE UNIQUE INDEX house_key ON market_data (symbol_id, date_trunc('hour', "timestamp" AT TIME ZONE 'UTC'));
CREATE UNIQUE INDEX house_wider_key ON market_data (symbol_id, "timestamp", interval_type, vwap);
CREATE FUNCTION house_rule() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER house_rule BEFORE INSERT ON market_data FOR EACH ROW EXECUTE FUNCTION house_rule();
CREATE RULE house_filter AS ON INSERT TO market_data WHERE new.volume = 1 DO INSTEAD NOTHING;
CREATE TRIGGER house_deletions AFTER DELETE ON market_data FOR EACH ROW EXECUTE FUNCTION house_rule();
"""
ADDITION_WARNINGS = [
    "constraint house_moves, CHECK ((high_price > low_price)) NOT VALID, refuses some bars",
    "constraint house_ratio, CHECK (((100 / (volume - 1000)) IS NOT NULL)), may refuse bars (division by zero)",
    "constraint house_volume, CHECK ((volume < 1000000)), refuses some bars",
    "key house_interval, FOREIGN KEY (interval_type) REFERENCES house_intervals(name), may refuse bars",
    "key house_key, UNIQUE USING btree (symbol_id, date_trunc('hour'::text, (\"timestamp\" AT TIME ZONE 'UTC'::text))),"
    " may refuse bars",
    "trigger house_rule (house_rule) may refuse or change bars",
    "market_data has rules: they may drop bars",
]


def read_warnings(url: str, *statements: str) -> list[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
        return list(find_table_warnings(connection))


def test_the_created_table_and_the_usual_external_table_refuse_nothing(
    database_url: str, create_database: Callable[..., str]
) -> None:
    assert read_warnings(database_url) == []
    assert read_warnings(create_database(None), external_tables.TABLES) == []
    assert read_warnings(create_database(None)) == []  # no table at all


def test_columns_that_are_too_small_are_named(create_database: Callable[..., str]) -> None:
    assert read_warnings(create_database(None), NUMERIC.format(partitioning="")) == COLUMN_WARNINGS


def test_columns_with_the_same_fault_share_a_line(create_database: Callable[..., str]) -> None:
    same = NUMERIC.format(partitioning="").replace("numeric(12,4)", "numeric(7,4)")
    assert [line for line in read_warnings(create_database(None), same) if "price" in line] == [
        "open_price, high_price are numeric(7,4): values from 1,000 on are refused",
        "open_price, high_price are numeric(7,4): prices are rounded to 4 of 6 decimals",
    ]


def test_partitions_that_end_are_named(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    table = NUMERIC.format(partitioning='PARTITION BY RANGE ("timestamp")')
    partitions, *rest = read_warnings(url, "SET TimeZone = 'UTC'", table, BY_MONTH)
    assert partitions == (
        'market_data is partitioned by RANGE ("timestamp") without a DEFAULT partition: bars outside its partitions'
        " are refused (2 partitions, FOR VALUES FROM ('2026-05-01 00:00:00+00') TO ('2026-06-01 00:00:00+00'),"
        " FOR VALUES FROM ('2026-06-01 00:00:00+00') TO ('2026-07-01 00:00:00+00'))"
    )
    assert rest == COLUMN_WARNINGS
    assert read_warnings(url, "CREATE TABLE bars_rest PARTITION OF market_data DEFAULT") == COLUMN_WARNINGS


def test_constraints_keys_and_triggers_that_may_refuse_bars_are_named(create_database: Callable[..., str]) -> None:
    assert read_warnings(create_database(None), external_tables.TABLES, ADDITIONS) == ADDITION_WARNINGS


@pytest.mark.parametrize("code", ["P0001", "HX001", "45000"])
def test_a_constraint_whose_function_raises_an_error_is_named(create_database: Callable[..., str], code: str) -> None:
    warnings = read_warnings(
        create_database(None),
        external_tables.TABLES,
        "CREATE FUNCTION house_check(price numeric) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
        f" IF price > 50000 THEN RAISE 'too dear' USING ERRCODE = '{code}'; END IF; RETURN true; END $$",
        "ALTER TABLE market_data ADD CONSTRAINT house CHECK (house_check(high_price::numeric))",
    )
    assert warnings == ["constraint house, CHECK (house_check((high_price)::numeric)), may refuse bars (too dear)"]


def test_warnings_are_logged_and_recorded_once_when_the_tables_are_taken_over(
    create_database: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    url = create_database(None)
    read_warnings(url, external_tables.TABLES, ADDITIONS)
    database = Database(url)
    with caplog.at_level(logging.WARNING):
        migrate(database)
        migrate(database)
    database.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"the existing table market_data: {warning}" for warning in ADDITION_WARNINGS
    ]
    recorded: list[tuple[Any, ...]] = fetch(
        url, "SELECT warnings FROM backfill.contract_tables WHERE table_name = 'market_data'"
    )
    assert recorded == [(ADDITION_WARNINGS,)]


@pytest.mark.parametrize(
    ("alteration", "fault"),
    [
        (
            "ALTER TABLE market_data DROP volume, ADD volume bigint GENERATED ALWAYS AS (data_id) STORED",
            "market_data.volume is generated and cannot be written",
        ),
        (
            "CREATE RULE house_rule AS ON INSERT TO market_data DO INSTEAD NOTHING",
            "market_data has rules with actions or for every row, for which PostgreSQL has no INSERT … ON CONFLICT",
        ),
        (
            "CREATE RULE house_rule AS ON INSERT TO market_data DO ALSO DELETE FROM house_signals",
            "market_data has rules with actions or for every row, for which PostgreSQL has no INSERT … ON CONFLICT",
        ),
        (
            "ALTER TABLE market_data DROP CONSTRAINT market_data_symbol_id_timestamp_interval_type_key,"
            ' ADD UNIQUE (symbol_id, "timestamp", interval_type) DEFERRABLE',
            "market_data has no unique key of symbol_id, interval_type and timestamp (or only a deferrable one)",
        ),
    ],
)
def test_a_table_that_no_bar_can_be_written_to_is_no_matter_of_warnings(
    create_database: Callable[..., str], alteration: str, fault: str
) -> None:
    url = create_database(None)
    read_warnings(url, external_tables.TABLES, alteration)
    database = Database(url)
    with pytest.raises(DatabaseUnavailable) as raised:
        require_contract(database)
    database.close()
    assert fault in str(raised.value)
