"""The upgrade of a database of version 0.5.0 (migration 30): no row is lost, and it is done whole or not at all.

What its revisions tell becomes versions of bars. A process of 0.5.0 that runs beside it goes on reading and writing
what it knows, and what it changes is kept from then on.
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
    NUMBER_0_5_0,
    NUMBER_0_6_0,
    apply_migrations,
    build_database,
    cut_off_upgrade,
    list_between,
    name_later,
    require_completion,
    require_preserved_rows,
)

LATER = name_later(NUMBER_0_5_0)
ROWS = ["rows_0019.sql", "rows_0025.sql", "rows_0030.sql"]
OWN_BARS = """
SELECT symbol_id, interval_type::text, timestamp, open_price::float8, high_price::float8, low_price::float8,
       close_price::float8, volume::bigint, is_final
FROM {} WHERE source IS NOT NULL ORDER BY 1, 2, 3
"""
VERSIONS = """
SELECT symbol_id, to_char(timestamp AT TIME ZONE 'UTC', 'DD HH24:MI'), volume::bigint, ended_by,
       to_char(known_from AT TIME ZONE 'UTC', 'DD HH24:MI'), to_char(known_to AT TIME ZONE 'UTC', 'DD HH24:MI')
FROM backfill.bar_versions ORDER BY known_to, 1, 2
"""
# Statements of version 0.5.0: the end of a write of bars, the two of a withheld volume that is put back, a deletion.
WRITE_BARS = """
INSERT INTO market_data AS m (symbol_id, interval_type, timestamp, open_price, high_price, low_price,
                              close_price, volume, source, source_interval, source_rows, is_final, fetched_at)
SELECT 1, '30m', stamp, 20, 22, 19, 21, 4000, 'eodhd.com', '5m', 6, true, clock_timestamp()
FROM unnest('{2026-06-01 13:30Z,2026-06-03 13:30Z,2026-06-03 14:00Z}'::timestamptz[]) stamp ORDER BY stamp
ON CONFLICT (symbol_id, interval_type, timestamp) DO UPDATE SET
    open_price = EXCLUDED.open_price, high_price = EXCLUDED.high_price, low_price = EXCLUDED.low_price,
    close_price = EXCLUDED.close_price, volume = EXCLUDED.volume, source = EXCLUDED.source,
    source_interval = EXCLUDED.source_interval, source_rows = EXCLUDED.source_rows,
    is_final = EXCLUDED.is_final, fetched_at = EXCLUDED.fetched_at
WHERE m.source = 'eodhd.com' AND (m.is_final IS FALSE OR EXCLUDED.is_final AND m.fetched_at <= now())
"""
THE_BAR = "symbol_id = 1 AND interval_type = ANY ('{30m,30min}') AND timestamp = '2026-06-02 14:00Z' AND is_final"
PUT_BACK = (
    f"""
INSERT INTO backfill.revisions (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price,
                                volume, source_interval, source_rows, fetched_at, decision_id)
SELECT symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume, source_interval,
       source_rows, fetched_at, 2
FROM market_data WHERE {THE_BAR}
""",
    f"""
UPDATE market_data m SET volume = o.volume + 500, source_rows = o.source_rows + 1, fetched_at = clock_timestamp()
FROM (SELECT symbol_id, interval_type, timestamp, volume, source_rows FROM market_data WHERE {THE_BAR}) o
WHERE (m.symbol_id, m.interval_type, m.timestamp) = (o.symbol_id, o.interval_type, o.timestamp)
RETURNING m.volume = o.volume + 500
""",
)
DELETE = """
DELETE FROM market_data
WHERE symbol_id = 2 AND interval_type = ANY ('{30m,30min}') AND timestamp = ANY ('{2026-05-27 13:30Z}'::timestamptz[])
"""
OVERWRITE = "UPDATE market_data SET volume = 1 WHERE symbol_id = 1 AND timestamp = '2026-06-02 13:30Z'"


@pytest.fixture
def url_0_5_0(create_database: Callable[..., str]) -> str:
    """A database of version 0.5.0 with rows in every table and bars of every kind."""
    url = create_database(None)
    build_database(url, NUMBER_0_5_0, ROWS)
    return url


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def read_known_at(url: str, moment: str) -> list[tuple[Any, ...]]:
    return fetch(url, OWN_BARS.format(f"backfill.bars_known_at('{moment}')"))


def read_clock(url: str) -> str:
    return str(fetch(url, "SELECT clock_timestamp()::text")[0][0])


def test_every_row_is_preserved(url_0_5_0: str, plain_template_url: str) -> None:
    require_preserved_rows(url_0_5_0, plain_template_url, LATER)


@pytest.mark.parametrize("number", list_between(NUMBER_0_5_0, NUMBER_0_6_0))
def test_a_database_between_two_migrations_is_completed(url_0_5_0: str, plain_template_url: str, number: int) -> None:
    apply_migrations(url_0_5_0, NUMBER_0_5_0, number)
    require_completion(url_0_5_0, plain_template_url, number)


def test_an_upgrade_that_is_cut_off_leaves_nothing_behind_and_is_repeated(
    url_0_5_0: str, plain_template_url: str
) -> None:
    """A writer of bars keeps the triggers waiting; then the server ends the upgrade's session."""
    assert cut_off_upgrade(url_0_5_0, "market_data", "bar_versions", NUMBER_0_5_0, "ROW EXCLUSIVE") == LATER
    assert read_schema(url_0_5_0) == read_schema(plain_template_url)


@pytest.mark.parametrize("name", ["bar_versions", "universes"])
def test_a_table_of_another_program_in_the_way_is_named_and_nothing_is_made(url_0_5_0: str, name: str) -> None:
    execute(url_0_5_0, f"CREATE TABLE backfill.{name} (id integer)")
    before = read_schema(url_0_5_0)
    with pytest.raises(DatabaseUnavailable, match=name):
        run_migrations(url_0_5_0)
    assert read_schema(url_0_5_0) == before
    execute(url_0_5_0, f"DROP TABLE backfill.{name}")
    assert run_migrations(url_0_5_0) == LATER


def test_tables_of_another_program_are_taken_over_as_before(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    external_tables.create_external_tables(url)
    build_database(url, NUMBER_0_5_0, ROWS)
    before, bars = (
        (fetch(url, COLUMNS_OF_OTHERS), fetch(url, CONTRACT_ROWS)),
        fetch(url, OWN_BARS.format("market_data")),
    )
    assert run_migrations(url) == LATER
    assert (fetch(url, COLUMNS_OF_OTHERS), fetch(url, CONTRACT_ROWS)) == before
    assert read_known_at(url, read_clock(url)) == bars


def test_roles_that_read_the_evidence_read_the_new_tables(url_0_5_0: str) -> None:
    tables = "SELECT relname::text FROM pg_class WHERE relnamespace = 'backfill'::regnamespace AND relkind = 'r'"
    before = fetch(url_0_5_0, tables)
    with psycopg.connect(url_0_5_0, autocommit=True) as connection:
        connection.execute("CREATE ROLE versions_reader")
        try:
            connection.execute("GRANT USAGE ON SCHEMA backfill TO versions_reader")
            for granted in ("ALL TABLES IN SCHEMA backfill", "market_data, market_symbols"):
                connection.execute(f"GRANT SELECT ON {granted} TO versions_reader".encode())
            run_migrations(url_0_5_0)
            new = sorted({name for (name,) in fetch(url_0_5_0, tables)} - {name for (name,) in before})
            assert {"bar_versions", "universes", "certificates"} <= set(new)
            connection.execute("SET ROLE versions_reader")
            for relation in (*new, "bars_known_at(now())"):
                connection.execute(f"SELECT count(*) FROM backfill.{relation}".encode())
        finally:
            connection.execute("RESET ROLE")
            connection.execute("DROP OWNED BY versions_reader")
            connection.execute("DROP ROLE versions_reader")


def test_revisions_become_versions_and_older_deletions_stay_unknown(url_0_5_0: str) -> None:
    bars = fetch(url_0_5_0, OWN_BARS.format("market_data"))
    run_migrations(url_0_5_0)
    assert read_known_at(url_0_5_0, read_clock(url_0_5_0)) == bars
    assert [row for row in fetch(url_0_5_0, VERSIONS) if row[0] == 2] == [
        (2, "27 13:30", 8_000_000_000, "revised", "27 22:00", "27 23:00"),
        (2, "28 13:30", 500, "revised", "28 22:00", "29 22:00"),
        (2, "28 13:30", 510, "revised", "29 22:00", "01 22:00"),  # what replaced it was deleted, nobody knows when
    ]
    volumes = {
        moment: [row[7] for row in read_known_at(url_0_5_0, moment) if row[0] == 2]
        for moment in ("2026-05-27 22:30Z", "2026-05-27 23:00Z", "2026-05-30Z", "2026-06-02Z")
    }
    assert list(volumes.values()) == [[8_000_000_000], [9_000_000_000], [9_000_000_000, 510], [9_000_000_000]]
    assert fetch(url_0_5_0, "SELECT began_at > '2026-06-03' FROM backfill.history_begins") == [(True,)]


def test_what_0_5_0_writes_afterwards_is_kept(url_0_5_0: str) -> None:
    run_migrations(url_0_5_0)
    assert fetch(
        url_0_5_0, f"SELECT DISTINCT readable_since FROM backfill.migrations WHERE number > {NUMBER_0_5_0}"
    ) == [(9,)]
    states, older = [], len(fetch(url_0_5_0, VERSIONS))
    for statements in ((), (WRITE_BARS,), PUT_BACK, (DELETE,), (OVERWRITE,), ("TRUNCATE market_data",)):
        execute(url_0_5_0, *statements)
        states.append((read_clock(url_0_5_0), fetch(url_0_5_0, OWN_BARS.format("market_data"))))
    assert len({str(bars) for _, bars in states}) == len(states)
    for moment, bars in states:
        assert read_known_at(url_0_5_0, moment) == bars
    assert [(row[1], row[3]) for row in fetch(url_0_5_0, VERSIONS)[older : older + 5]] == [
        ("01 13:30", "revised"),
        ("03 13:30", "updated"),
        ("02 14:00", "revised"),
        ("27 13:30", "deleted"),
        ("02 13:30", "overwritten"),
    ]
