"""Years of bars as partitions: made ahead, at both ends, without a lost row or a version, and seldom in the way."""

from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest

from backfill_assets.backfill.partition_findings import keep_partitions_ahead
from backfill_assets.store.evidence.findings import PARTITIONS_END, list_findings
from backfill_assets.store.postgres.bar_partitions import (
    BarPartitions,
    ensure_partitions,
    has_later_bars,
    read_partitions,
)
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.schema_check import require_complete_schema
from backfill_assets_tests.integration.test_store_migrate import fetch, run_migrations

INSERT = """
INSERT INTO market_data (symbol_id, "timestamp", open_price, high_price, low_price, close_price, volume, source,
                         source_interval, source_rows, is_final, fetched_at)
SELECT 1, stamp::timestamptz, 10, 11, 9, 10, 100, 'host', '5m', 6, true, '2026-06-03 12:00+00'
FROM unnest(%s::text[]) AS stamp
"""
ROWS = "SELECT tableoid::regclass::text, \"timestamp\" AT TIME ZONE 'UTC' FROM market_data ORDER BY 2"
WRITTEN = """
SELECT (SELECT count(*) FROM backfill.bar_versions), (SELECT count(*) FROM backfill.bar_beginnings),
       (SELECT count(*) FROM backfill.census_deltas), (SELECT count(*) FROM backfill.history_begins)
"""


def execute(database: Database, statement: str, *values: object) -> None:
    with database.transaction() as connection:
        connection.execute(statement.encode(), values)


def read_years(database: Database) -> BarPartitions | None:
    with database.transaction() as connection:
        return read_partitions(connection)


def test_a_new_database_has_years_until_the_next_and_a_place_for_every_moment(database: Database) -> None:
    years = read_years(database)
    assert years is not None
    assert years.first_year == 2020
    assert years.end_year >= datetime.now(UTC).year + 2
    execute(database, INSERT, ["-infinity", "2019-12-31 23:59+00", "2020-01-01 00:00+00", "3000-01-01", "infinity"])
    with database.transaction() as connection:
        assert has_later_bars(connection, years)
        parts = [part for (part,) in connection.execute("SELECT tableoid::regclass::text FROM market_data")]
    later = f"market_data_from_{years.end_year}"
    assert sorted(parts) == ["market_data_2020", *["market_data_before_2020"] * 2, *[later] * 2]


def test_years_are_made_ahead_once_and_rows_keep_their_history(database: Database) -> None:
    years = read_years(database)
    assert years is not None
    end = years.end_year
    stamps = [f"{end}-01-01 00:00+00", f"{end + 1}-12-31 23:30+00", f"{end + 2}-01-01 00:00+00", "infinity"]
    execute(database, INSERT, ["2018-05-01 14:30+00", *stamps])
    with database.transaction() as connection:
        connection.execute("SET LOCAL timezone = 'America/New_York'")
        before = connection.execute(WRITTEN).fetchall()
    now = datetime(end, 7, 1, tzinfo=UTC)
    assert ensure_partitions(database, now, since=datetime(2018, 1, 1, tzinfo=UTC)) == 4
    assert read_years(database) == BarPartitions(2018, end + 2)
    assert ensure_partitions(database, now) == 0
    assert fetch(database.url, "SELECT DISTINCT tableoid::regclass::text FROM market_data ORDER BY 1") == [
        ("market_data_2018",), (f"market_data_{end}",), (f"market_data_{end + 1}",), (f"market_data_from_{end + 2}",)
    ]  # fmt: skip
    assert fetch(database.url, WRITTEN) == before
    require_complete_schema(database)
    assert fetch(database.url, "SELECT * FROM backfill.find_census_changes()") == []


def test_every_year_keeps_versions_of_its_bars(database: Database) -> None:
    years = read_years(database)
    assert years is not None
    ensure_partitions(database, datetime(years.end_year, 1, 1, tzinfo=UTC))
    newest = f"market_data_{years.end_year}"
    stamps = ["2019-05-01 14:30+00", "2026-06-01 14:30+00", f"{years.end_year}-06-01 14:30+00"]
    execute(database, INSERT, stamps)
    execute(database, f"DELETE FROM {newest}")  # written straight into a partition
    execute(database, "TRUNCATE market_data_2026")
    execute(database, "DELETE FROM market_data")
    kept = 'SELECT ended_by FROM backfill.bar_versions ORDER BY "timestamp"'
    assert fetch(database.url, kept) == [("deleted",), ("truncated",), ("deleted",)]


def test_a_table_that_is_in_use_is_left_for_the_next_time(database: Database) -> None:
    years = read_years(database)
    assert years is not None
    later = datetime(years.end_year, 1, 1, tzinfo=UTC)
    with psycopg.connect(database.url) as reader:
        reader.execute("SELECT count(*) FROM market_data")
        assert ensure_partitions(database, later) == 0
    assert ensure_partitions(database, later) == 2


def test_too_many_rows_are_not_moved_by_the_way(database: Database) -> None:
    years = read_years(database)
    assert years is not None
    execute(database, INSERT, [f"{years.end_year}-01-02 14:30+00", f"{years.end_year}-01-02 15:00+00"])
    make = "SELECT backfill.make_bar_partitions('market_data', 2020, %s, %s)"
    with database.transaction() as connection:
        assert connection.execute(make, [years.end_year, 1]).fetchall() == [(0,)]
        assert connection.execute(make, [years.end_year, 2]).fetchall() == [(1,)]


@pytest.mark.parametrize("partitioning", ["", 'PARTITION BY RANGE ("timestamp")'])
def test_tables_of_others_get_no_years(create_database: Callable[..., str], partitioning: str) -> None:
    url = create_database(None)
    columns = """
        symbol_id integer, "timestamp" timestamptz, interval_type text, open_price float8, high_price float8,
        low_price float8, close_price float8, volume bigint, PRIMARY KEY (symbol_id, interval_type, "timestamp")
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE market_data ({columns}) {partitioning}".encode())
        if partitioning:
            connection.execute("CREATE TABLE market_data_2026 PARTITION OF market_data DEFAULT")
    run_migrations(url)
    database = Database(url)
    assert read_years(database) is None
    assert ensure_partitions(database, datetime(2040, 1, 1, tzinfo=UTC)) == 0
    database.close()


def list_faults(database: Database) -> list[str]:
    with database.transaction() as connection:
        return [finding.detail for finding in list_findings(connection) if finding.kind == PARTITIONS_END]


def test_a_person_learns_that_years_end_and_no_longer_when_there_are_more(database: Database) -> None:
    years = read_years(database)
    assert years is not None
    newest = datetime(years.end_year - 1, 12, 1, tzinfo=UTC)
    with psycopg.connect(database.url) as reader:
        reader.execute("SELECT count(*) FROM market_data")
        keep_partitions_ahead(database, newest)
    assert [f"its partitions end with the year {years.end_year - 1}" in fault for fault in list_faults(database)] == [
        True
    ]
    keep_partitions_ahead(database, newest)
    assert list_faults(database) == []
    execute(database, INSERT, ["3000-01-01"])
    keep_partitions_ahead(database, newest)
    assert [f"bars after the year {years.end_year}" in fault for fault in list_faults(database)] == [True]
