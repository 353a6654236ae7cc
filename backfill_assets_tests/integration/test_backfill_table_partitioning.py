"""Partitioning an existing table: the same bars, history and rights, whoever interrupts it or writes meanwhile."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from random import Random
from threading import Event
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from backfill_assets.backfill import table_partitioning
from backfill_assets.backfill.table_partitioning import PartitioningProgress, abandon_partitioning, partition_table
from backfill_assets.errors import DatabaseUnavailable, UsageError
from backfill_assets.store.postgres.bar_partitions import read_partitions
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.postgres.schema_check import require_complete_schema, require_own_schema
from backfill_assets_tests import external_tables
from backfill_assets_tests.integration.test_store_migrate import fetch

NOW = datetime(2026, 6, 3, 14, 0, tzinfo=UTC)
FILL = """
INSERT INTO market_data (symbol_id, "timestamp", open_price, high_price, low_price, close_price, volume, source,
                         source_interval, source_rows, is_final, fetched_at)
SELECT s, stamp, 10 + s, 11 + s, 9 + s, 10 + s, 100, 'host', '5m', 6, true, stamp + interval '1 day'
FROM generate_series(1, 7) AS s, generate_series('2019-06-03 14:30+00'::timestamptz, '2026-06-01', '100 days') AS stamp
"""
WRITE = """
INSERT INTO market_data (symbol_id, "timestamp", open_price, high_price, low_price, close_price, volume)
VALUES (2, '2024-06-03 14:30+00', 5, 6, 4, 5, 1), (9, '2026-06-03 14:30+00', 5, 6, 4, 5, 1)
ON CONFLICT (symbol_id, interval_type, "timestamp") DO UPDATE SET volume = EXCLUDED.volume + market_data.volume;
UPDATE market_data SET volume = volume + 1 WHERE symbol_id = 1 AND "timestamp" < '2020-01-01';
UPDATE market_data SET "timestamp" = "timestamp" + interval '2 years'
WHERE symbol_id = 3 AND "timestamp" < '2020-01-01';
DELETE FROM market_data WHERE symbol_id = 4 AND "timestamp" > '2024-01-01'
"""
UPSERT_ONE = """
INSERT INTO market_data (symbol_id, "timestamp", open_price, high_price, low_price, close_price, volume)
VALUES (%s, %s, 5, 6, 4, 5, %s)
ON CONFLICT (symbol_id, interval_type, "timestamp") DO UPDATE SET volume = EXCLUDED.volume
"""
DELETE_ONE = 'DELETE FROM market_data WHERE symbol_id = %s AND "timestamp" = %s'
BARS = 'SELECT m::text FROM market_data m ORDER BY symbol_id, interval_type, "timestamp"'
KNOWN = "SELECT k::text FROM backfill.bars_known_at(now(), true) k ORDER BY 1"
HISTORY = """
SELECT v::text FROM backfill.bar_versions v UNION ALL SELECT b::text FROM backfill.bar_beginnings b
UNION ALL SELECT h::text FROM backfill.history_begins h ORDER BY 1
"""
MADE = """
SELECT relname::text FROM pg_class WHERE relname ~ 'partition(ed|ing)' AND relkind IN ('r', 'p')
   AND relnamespace IN ('public'::regnamespace, 'backfill'::regnamespace)
UNION ALL SELECT tgname::text FROM pg_trigger WHERE tgname LIKE '%partitioning%'
UNION ALL SELECT proname::text FROM pg_proc WHERE proname LIKE '%partitioning%'
"""
CENSUS = """
SELECT d::text FROM backfill.census_deltas d UNION ALL SELECT m::text FROM backfill.census_months m
UNION ALL SELECT s::text FROM backfill.census_symbols s ORDER BY 1
"""
UNCOUNTED_TABLES = "SELECT * FROM backfill.find_census_changes()"
RIGHTS = "SELECT relacl::text, obj_description(oid) FROM pg_class WHERE oid = 'market_data'::regclass"
TRIGGERS = """
SELECT tgname::text, tgenabled::text FROM pg_trigger WHERE tgrelid = 'market_data'::regclass AND NOT tgisinternal
ORDER BY 1
"""


class Killed(BaseException):
    """Ends a step before its transaction is committed, as a crash of the process does."""


@pytest.fixture
def database(create_database: Callable[..., str], plain_template_url: str) -> Iterator[Database]:
    """A database of an earlier version, with bars of eight years."""
    database = Database(create_database(conninfo_to_dict(plain_template_url)["dbname"]), max_wait_seconds=1)
    execute(database, FILL)
    execute(database, "GRANT SELECT, INSERT (volume) ON market_data TO PUBLIC")
    execute(database, "COMMENT ON TABLE market_data IS 'bars'")
    yield database
    database.close()


def execute(database: Database, statements: str) -> None:
    with database.transaction() as connection:
        connection.execute(statements.encode())


def ignore(_: PartitioningProgress) -> None:
    pass


def is_partitioned(database: Database) -> bool:
    with database.transaction() as connection:
        return read_partitions(connection) is not None


def require_partitioned(database: Database) -> None:
    require_own_schema(database)
    require_complete_schema(database)
    assert is_partitioned(database)
    assert fetch(database.url, MADE) == []
    assert fetch(database.url, UNCOUNTED_TABLES) == []


def test_the_bars_their_history_and_the_rights_stay(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(database, WRITE)
    queries = (BARS, HISTORY, RIGHTS, TRIGGERS, KNOWN, CENSUS)
    before = [fetch(database.url, query) for query in queries]
    monkeypatch.setattr(table_partitioning, "BATCH_ROWS", 60)
    steps: list[PartitioningProgress] = []
    done = partition_table(database, NOW, steps.append)
    assert [fetch(database.url, query) for query in queries] == before
    assert done.verified_rows == len(before[0])
    (hashed,) = fetch(database.url, "SELECT sum(hashtextextended(m::text, 0)) FROM market_data m")[0]
    assert done.verified_hash == hashed
    assert len({step.copied_rows for step in steps}) > 2
    require_partitioned(database)
    ((deleted,),) = fetch(database.url, "SELECT count(*) FROM market_data WHERE symbol_id = 5")
    execute(database, "DELETE FROM market_data WHERE symbol_id = 5")  # from all partitions
    assert len(fetch(database.url, HISTORY)) == len(before[1]) + deleted
    with pytest.raises(UsageError, match="is partitioned already"):
        partition_table(database, NOW, ignore)


@pytest.mark.parametrize("with_writes", [False, True])
def test_a_process_that_ends_anywhere_leaves_a_whole_table_and_the_next_one_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch, with_writes: bool
) -> None:
    monkeypatch.setattr(table_partitioning, "BATCH_ROWS", 60)
    before = fetch(database.url, BARS)
    original = psycopg.Connection.execute
    kills = 0

    def work_until(statement: int) -> bool:
        """Whether the partitioning ended before that many statements; it is killed at the last one."""
        left = statement

        def execute_or_die(self: Any, *arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return original(self, *arguments, **options)

        monkeypatch.setattr(psycopg.Connection, "execute", execute_or_die)
        try:
            partition_table(database, NOW, ignore)
        except Killed:
            return False
        finally:
            monkeypatch.setattr(psycopg.Connection, "execute", original)
        return True

    while not work_until(statement := 1 + kills * (3 if with_writes else 1)):
        kills += 1
        assert fetch(database.url, BARS) == before
        if is_done(database):  # killed at the look whether anything is left
            break
        if with_writes:
            execute(database, WRITE)
            before = fetch(database.url, BARS)
    assert kills > 10
    assert statement > 10
    assert fetch(database.url, BARS) == before
    require_partitioned(database)


def is_done(database: Database) -> bool:
    return is_partitioned(database) and fetch(database.url, MADE) == []


def test_what_is_written_between_any_two_steps_arrives(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_partitioning, "BATCH_ROWS", 60)
    monkeypatch.setattr(table_partitioning, "MAX_PENDING", 10)
    monkeypatch.setattr(table_partitioning, "MAX_APPLIED", 20)
    stages: list[str] = []

    def write(progress: PartitioningProgress) -> None:
        if len(stages) == 4:
            execute(database, f"TRUNCATE market_data; {FILL}")
        if len(stages) < 12:
            execute(database, WRITE)
        stages.append(progress.stage)

        seen.append(fetch(database.url, BARS))

    seen: list[list[tuple[str]]] = []
    partition_table(database, NOW, write)
    assert fetch(database.url, BARS) == seen[-1]
    assert stages.count("copying") > 8  # it began anew
    require_partitioned(database)


def write_until(ends: Event, url: str, symbol_id: int) -> dict[datetime, int]:
    """Write bars of a symbol, a transaction each, until ``ends``; returns the volumes that must be there."""
    chance, held = Random(symbol_id), dict[datetime, int]()
    with psycopg.connect(url, autocommit=True) as connection:
        while not ends.is_set() or len(held) < 5:
            stamp = datetime(chance.randint(2018, 2027), 6, 1, chance.randint(0, 3), tzinfo=UTC)
            if chance.random() < 0.4:
                connection.execute(DELETE_ONE, [symbol_id, stamp])
                held.pop(stamp, None)
            else:
                held[stamp] = chance.randint(1, 10**6)
                connection.execute(UPSERT_ONE, [symbol_id, stamp, held[stamp]])
    return held


def test_two_writers_at_work_all_the_while_lose_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_partitioning, "BATCH_ROWS", 20)
    ends = Event()
    with ThreadPoolExecutor(2) as threads:
        writers = [threads.submit(write_until, ends, database.url, symbol_id) for symbol_id in (1001, 1002)]
        try:
            partition_table(database, NOW, ignore)
        finally:
            ends.set()
        written = [dict(writer.result()) for writer in writers]
    for symbol_id, held in zip((1001, 1002), written, strict=True):
        stored = f'SELECT "timestamp", volume FROM market_data WHERE symbol_id = {symbol_id}'
        assert {stamp.astimezone(UTC): volume for stamp, volume in fetch(database.url, stored)} == held
    require_partitioned(database)


def test_it_can_be_given_up(database: Database) -> None:
    before = [fetch(database.url, query) for query in (BARS, HISTORY, TRIGGERS)]
    assert not abandon_partitioning(database)

    def stop(_: PartitioningProgress) -> None:
        raise Killed

    with pytest.raises(Killed):
        partition_table(database, NOW, stop)
    assert abandon_partitioning(database)
    assert [fetch(database.url, query) for query in (BARS, HISTORY, TRIGGERS)] == before
    assert fetch(database.url, MADE) == []
    assert not is_partitioned(database)


def test_it_waits_for_readers_and_goes_on_later(database: Database) -> None:
    with psycopg.connect(database.url) as writer:
        writer.execute("DELETE FROM market_data WHERE symbol_id = 6")
        with pytest.raises(DatabaseUnavailable):
            partition_table(database, NOW, ignore)
    partition_table(database, NOW, ignore)
    require_partitioned(database)
    assert fetch(database.url, "SELECT count(*) FROM market_data WHERE symbol_id = 6") == [(0,)]


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ("CREATE VIEW house AS SELECT * FROM market_data", "refer to market_data itself: rule _RETURN on view house"),
        ("CREATE PUBLICATION house FOR TABLE market_data", "publication house"),
        ("ALTER TABLE market_data ADD vwap numeric", r"additional column vwap \(numeric\)"),
        ("CREATE TABLE market_data_2024 ()", "the names of the partitions are taken: market_data_2024"),
    ],
)
def test_what_stands_in_the_way_is_named(database: Database, statements: str, message: str) -> None:
    execute(database, statements)
    with pytest.raises(UsageError, match=message):
        partition_table(database, NOW, ignore)
    assert fetch(database.url, "SELECT to_regclass('backfill.partitioning') IS NULL") == [(True,)]


def test_a_table_of_another_program_stays_as_it_is(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    external_tables.create_external_tables(url)
    database = Database(url)
    migrate(database)
    with pytest.raises(UsageError, match=r"tables of other programs stay as they are: .*additional column data_id"):
        partition_table(database, NOW, ignore)
    database.close()
