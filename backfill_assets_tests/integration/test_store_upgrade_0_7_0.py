"""The upgrade of a database of version 0.7.0 (migration 34): no row is lost, and it is done whole or not at all.

Every volume that it has is known. A process of 0.7.0 that runs beside it goes on reading and writing.
"""

from collections.abc import Callable

import psycopg
import pytest

from backfill_assets_tests import external_tables
from backfill_assets_tests.integration.test_store_migrate import CONTRACT_ROWS, fetch, read_schema, run_migrations
from backfill_assets_tests.integration.upgrades import (
    COLUMNS_OF_OTHERS,
    NUMBER_0_7_0,
    NUMBER_0_8_0,
    apply_migrations,
    build_database,
    cut_off_upgrade,
    list_between,
    name_later,
    require_completion,
    require_preserved_rows,
)

LATER = name_later(NUMBER_0_7_0)
ROWS = ["rows_0019.sql", "rows_0025.sql", "rows_0030.sql", "rows_0032.sql", "rows_0034.sql"]
# Statements of version 0.7.0: a bar and its revision, which triggers keep, and a daily row without a volume.
WRITE_BAR = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
VALUES (1, '30m', '2026-06-05 13:30Z', 1, 2, 1, {close}, {volume}, 'vendor.example', '5m', 6, true, clock_timestamp())
ON CONFLICT (symbol_id, interval_type, timestamp) DO UPDATE SET
    close_price = EXCLUDED.close_price, volume = EXCLUDED.volume, fetched_at = EXCLUDED.fetched_at
"""
WRITE_DAILY = """
INSERT INTO backfill.daily_prices (symbol_id, day, close_price, volume, read_at)
VALUES (1, '2026-06-05', 2, 0, clock_timestamp())
"""
READ_BARS = """
SELECT close_price, volume FROM backfill.bars_known_at(now() + interval '1 day') WHERE timestamp = '2026-06-05 13:30Z'
"""
ADJUSTED = "SELECT * FROM backfill.adjusted_bars('none') ORDER BY symbol_id, interval_type, timestamp"


@pytest.fixture
def url_0_7_0(create_database: Callable[..., str]) -> str:
    """A database of version 0.7.0 with rows in every table."""
    url = create_database(None)
    build_database(url, NUMBER_0_7_0, ROWS)
    return url


def test_every_row_is_preserved_and_every_volume_is_known(url_0_7_0: str, plain_template_url: str) -> None:
    adjusted = fetch(url_0_7_0, ADJUSTED)
    assert len(adjusted) > 1
    require_preserved_rows(url_0_7_0, plain_template_url, LATER)
    assert fetch(url_0_7_0, ADJUSTED) == adjusted
    assert fetch(url_0_7_0, "SELECT DISTINCT volume_known FROM market_data") == [(None,)]
    assert fetch(
        url_0_7_0, f"SELECT DISTINCT readable_since FROM backfill.migrations WHERE number > {NUMBER_0_7_0}"
    ) == [(9,)]


@pytest.mark.parametrize("number", list_between(NUMBER_0_7_0, NUMBER_0_8_0))
def test_a_database_between_two_migrations_is_completed(url_0_7_0: str, plain_template_url: str, number: int) -> None:
    apply_migrations(url_0_7_0, NUMBER_0_7_0, number)
    require_completion(url_0_7_0, plain_template_url, number)


def test_an_upgrade_that_is_cut_off_leaves_nothing_behind_and_is_repeated(
    url_0_7_0: str, plain_template_url: str
) -> None:
    """A reader of daily prices keeps the last of the new migrations waiting; then the server ends its session."""
    assert cut_off_upgrade(url_0_7_0, "backfill.daily_prices", "unknown", NUMBER_0_7_0) == LATER
    assert read_schema(url_0_7_0) == read_schema(plain_template_url)


def test_tables_of_another_program_get_one_column_and_keep_the_others(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    external_tables.create_external_tables(url)
    build_database(url, NUMBER_0_7_0, ROWS[:-1])
    before = fetch(url, COLUMNS_OF_OTHERS), fetch(url, CONTRACT_ROWS)
    assert run_migrations(url) == LATER
    assert (fetch(url, COLUMNS_OF_OTHERS), fetch(url, CONTRACT_ROWS)) == before


def test_statements_of_0_7_0_go_on(url_0_7_0: str) -> None:
    run_migrations(url_0_7_0)
    with psycopg.connect(url_0_7_0, autocommit=True) as connection:
        for close, volume in ((1.5, 700), (2, 900)):
            connection.execute(WRITE_BAR.format(close=close, volume=volume).encode())
        connection.execute(WRITE_DAILY.encode())
    assert fetch(url_0_7_0, READ_BARS) == [(2, 900)]
    kept = "SELECT close_price, volume, ended_by FROM backfill.bar_versions WHERE timestamp = '2026-06-05 13:30Z'"
    assert [tuple(map(str, row)) for row in fetch(url_0_7_0, kept)] == [("1.5", "700", "revised")]
    daily = "SELECT volume FROM backfill.daily_prices WHERE day = '2026-06-05'"
    assert fetch(url_0_7_0, daily) == [(0,)]
