"""The census beside its writers: who waits, what a killed fold leaves, what is counted when, and what is open."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from backfill_assets.market.calendar.intervals import INTERVALS, recognize_interval
from backfill_assets.store.census import verification
from backfill_assets.store.census.comparison import compare_census
from backfill_assets.store.census.explained import (
    Explanation,
    forget_explained,
    write_expected,
    write_explained,
)
from backfill_assets.store.census.fold import fold_census
from backfill_assets.store.census.open_months import read_open_months
from backfill_assets.store.census.reader import UNKNOWN, CensusMonths, read_census
from backfill_assets.store.census.recount import mark_uncounted
from backfill_assets.store.census.upkeep import keep_census
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests.integration.upgrades import build_database
from backfill_assets_tests.waiting import wait_until

HALF_HOUR = INTERVALS["30m"]
MONTHS = (date(2026, 1, 1), date(2026, 12, 1))
IDS = [1, 2, 3]
FIRST = datetime(2026, 1, 31, 20, tzinfo=UTC)
INSERT = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume)
SELECT %(id)s, %(spelling)s, at, 10, 11, 9, 10, 5 FROM unnest(%(slots)s::timestamptz[]) AS at
"""
DELETE = "DELETE FROM market_data WHERE symbol_id = %(id)s AND timestamp = ANY (%(slots)s)"
WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def insert(connection: Connection, symbol_id: int, begin: int, count: int, spelling: str = "30m") -> None:
    slots = [FIRST + timedelta(minutes=30 * i) for i in range(begin, begin + count)]
    connection.execute(INSERT, {"id": symbol_id, "spelling": spelling, "slots": slots})


def delete(connection: Connection, symbol_id: int, begin: int, count: int) -> None:
    slots = [FIRST + timedelta(minutes=30 * i) for i in range(begin, begin + count)]
    connection.execute(DELETE, {"id": symbol_id, "slots": slots})


def read(database: Database, ids: Sequence[int] = IDS) -> CensusMonths:
    with database.snapshot() as connection:
        return read_census(connection, ids, HALF_HOUR, *MONTHS)


def count_by_symbol(census: CensusMonths) -> dict[int, int]:
    bars = census.final + census.provisional + census.unverified
    return {key: int(bars[census.symbol_id == key].sum()) for key in np.unique(census.symbol_id).tolist()}


def list_open(connection: Connection) -> list[date]:
    """The months of any symbol at which somebody has to look."""
    days = np.sort(read_open_months(connection, HALF_HOUR, *MONTHS).month).astype("datetime64[D]")
    return list(days.tolist())


def require_right(database: Database) -> None:
    with database.snapshot() as connection:
        assert read_census(connection, IDS, HALF_HOUR, *MONTHS).uncounted.tolist() == []
        assert compare_census(connection, IDS) == []


@contextmanager
def impatient(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Another program's connection on which a statement that waits for a lock fails."""
    with psycopg.connect(url) as connection:
        connection.execute("SET lock_timeout = '10ms'")
        connection.commit()
        yield connection


@pytest.fixture
def store(database: Database) -> Database:
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol) VALUES ('A'), ('B'), ('C')")
    keep_census(database)
    return database


def test_two_writers_in_opposite_order_wait_for_nobody(store: Database) -> None:
    with impatient(store.url) as one, impatient(store.url) as other:
        insert(one, 1, 0, 5)
        insert(other, 2, 0, 5)
        assert fold_census(store) == 0  # neither has ended
        insert(one, 2, 5, 5)
        insert(other, 1, 5, 5)
        other.commit()
        assert count_by_symbol(read(store)) == {1: 5, 2: 5}
        assert fold_census(store) == 3  # one of them in two months
        delete(one, 1, 0, 1)
        one.commit()
    assert count_by_symbol(read(store)) == {1: 9, 2: 10}
    require_right(store)


def recount(store: Database) -> None:
    with store.transaction() as connection:
        mark_uncounted(connection, IDS)
    keep_census(store)


def find_waiting(store: Database) -> list[tuple[Any, ...]]:
    with store.transaction() as connection:
        return connection.execute(WAITING).fetchall()


@contextmanager
def held_up(store: Database, job: Callable[[Database], Any]) -> Iterator[None]:
    """A job of the census in the middle of its transaction: it waits for a row until this ends."""
    with ThreadPoolExecutor(1) as threads, psycopg.connect(store.url) as blocker:
        blocker.execute("SELECT FROM backfill.census_months FOR UPDATE")
        work = threads.submit(job, store)
        wait_until(lambda: find_waiting(store), "the job to wait for the row")
        yield
        blocker.rollback()
        work.exception(60)


@pytest.mark.parametrize("job", [fold_census, recount])
def test_a_writer_waits_neither_for_a_fold_nor_for_a_count(store: Database, job: Callable[[Database], Any]) -> None:
    with store.transaction() as connection:
        insert(connection, 1, 0, 40)
    fold_census(store)
    with impatient(store.url) as writer:
        insert(writer, 1, 40, 1)
        writer.commit()
        insert(writer, 1, 41, 1)
        with held_up(store, job):
            assert fold_census(store) == 0  # one at a time
            insert(writer, 1, 42, 1)
            delete(writer, 1, 0, 2)
            writer.commit()
            with store.snapshot() as connection:
                assert compare_census(connection, IDS) == []
    require_right(store)
    assert count_by_symbol(read(store)) == {1: 41}


@pytest.mark.parametrize("job", [fold_census, recount])
def test_a_job_that_is_killed_loses_nothing_and_counts_nothing_twice(
    store: Database, job: Callable[[Database], Any]
) -> None:
    for symbol_id in (1, 2):
        with store.transaction() as connection:
            insert(connection, symbol_id, 0, 20)
        fold_census(store)
    with store.transaction() as connection:
        insert(connection, 1, 20, 20)
        delete(connection, 2, 0, 5)
    with held_up(store, job), store.transaction() as connection:
        ((pid,),) = connection.execute(WAITING).fetchall()
        connection.execute("SELECT pg_terminate_backend(%s)", [pid])
        wait_until(lambda: not find_waiting(store), "the killed session to end")
    with store.snapshot() as connection:
        assert compare_census(connection, IDS) == []
    keep_census(store)
    require_right(store)
    assert count_by_symbol(read(store)) == {1: 40, 2: 15}


def test_folds_and_counts_beside_writers_are_right_in_every_snapshot(store: Database) -> None:
    def write(symbol_id: int) -> None:
        with psycopg.connect(store.url, autocommit=True) as connection:
            for i in range(120):
                with connection.transaction(force_rollback=i % 5 == 4):
                    insert(connection, symbol_id, 3 * i, 3)
                    delete(connection, symbol_id % 3 + 1, 2 * i, 2)

    looks = 0
    with ThreadPoolExecutor(3) as threads:
        writers = [threads.submit(write, symbol_id) for symbol_id in IDS]
        while not all(writer.done() for writer in writers) or looks < 10:
            fold_census(store, limit=7)
            if looks % 3 == 2:
                recount(store)
            with store.snapshot() as connection:
                assert compare_census(connection, IDS) == []
            looks += 1
        for writer in writers:
            writer.result()
    keep_census(store)
    require_right(store)


def test_bars_of_before_an_upgrade_are_counted_in_blocks_while_others_write(
    create_database: Callable[..., str],
) -> None:
    url = create_database(None)
    build_database(url, 44, [])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DELETE FROM market_data")
        connection.execute(
            "INSERT INTO market_symbols (symbol_id, symbol) SELECT i, 'S' || i FROM generate_series(1, 3) i"
            " ON CONFLICT DO NOTHING"
        )
        for symbol_id in IDS:
            insert(connection, symbol_id, 0, 20 + symbol_id)
    database = Database(url)
    migrate(database)
    assert read(database).uncounted.tolist() == IDS
    with database.transaction() as connection:  # of bars that are not counted yet
        delete(connection, 2, 0, 22)
        insert(connection, 3, 40, 1)
    fold_census(database)
    assert read(database).uncounted.tolist() == IDS
    with database.transaction() as connection:
        insert(connection, 1, 30, 2)
    keep_census(database)
    require_right(database)
    assert count_by_symbol(read(database)) == {1: 23, 2: 0, 3: 24}
    database.close()


def test_a_lost_trigger_is_seen_and_all_is_counted_again_when_it_is_back(store: Database) -> None:
    with store.transaction() as connection:
        insert(connection, 1, 0, 10)
        begins = connection.execute("SELECT count(*) FROM backfill.history_begins").fetchall()
        connection.execute("ALTER TABLE market_data DISABLE TRIGGER backfill_count_deleted")
        delete(connection, 1, 0, 4)
    assert read(store).uncounted.tolist() == IDS
    with store.transaction() as connection:
        connection.execute("SELECT backfill.create_history_triggers()")
        assert connection.execute("SELECT count(*) FROM backfill.history_begins").fetchall() == begins
    assert read(store).uncounted.tolist() == IDS
    keep_census(store)
    require_right(store)
    assert count_by_symbol(read(store)) == {1: 6}


def test_where_a_role_may_create_no_triggers_the_census_says_that_it_is_not_kept(store: Database) -> None:
    role = "writes_bars_only"
    with store.transaction() as connection:
        connection.execute(
            f"DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$".encode()
        )
        connection.execute("DROP TRIGGER backfill_count_inserted ON market_data")
        connection.execute(f"GRANT USAGE ON SCHEMA backfill TO {role}".encode())
        connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA backfill TO {role}".encode())
        connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON market_data TO {role}".encode())
        connection.execute(f"SET LOCAL ROLE {role}".encode())
        connection.execute("SELECT backfill.create_census_triggers()")
        insert(connection, 1, 0, 3)
    assert read(store).uncounted.tolist() == IDS
    keep_census(store)  # as the owner
    require_right(store)


def test_a_new_partition_waits_for_its_writers_and_is_counted_then(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE market_data (symbol_id int, interval_type text, timestamp timestamptz, open_price float8,"
            " high_price float8, low_price float8, close_price float8, volume bigint,"
            " UNIQUE (symbol_id, interval_type, timestamp)) PARTITION BY RANGE (timestamp)"
        )
        database = Database(url)
        migrate(database)
        connection.execute("INSERT INTO market_symbols (symbol) VALUES ('A'), ('B'), ('C')")
        keep_census(database)
        connection.execute("CREATE TABLE later PARTITION OF market_data FOR VALUES FROM ('2026-02-01Z') TO (MAXVALUE)")
        with psycopg.connect(url) as writer:
            writer.execute(
                INSERT.replace("market_data", "later"), {"id": 1, "spelling": "30m", "slots": [FIRST.replace(month=3)]}
            )
            keep_census(database)
            with database.snapshot() as snapshot:
                of_before = read_census(snapshot, IDS, HALF_HOUR, date(2025, 12, 1), date(2026, 1, 1))
                assert of_before.uncounted.tolist() == []
                assert read_census(snapshot, IDS, HALF_HOUR, *MONTHS).uncounted.tolist() == IDS
            writer.commit()
        keep_census(database)
        require_right(database)
        connection.execute(
            INSERT.replace("market_data", "later"), {"id": 1, "spelling": "30m", "slots": [FIRST.replace(month=5)]}
        )
        require_right(database)
        assert count_by_symbol(read(database)) == {1: 2}
        database.close()


def test_years_that_are_made_move_bars_that_stay_counted(store: Database) -> None:
    with store.transaction() as connection:
        connection.execute(
            INSERT, {"id": 1, "spelling": "30m", "slots": [FIRST.replace(year=2019), FIRST.replace(year=2018)]}
        )
        made = connection.execute("SELECT backfill.make_bar_partitions('market_data', 2019, 2026)").fetchall()
        assert made == [(1,)]
        insert(connection, 1, 0, 3)
        connection.execute("UPDATE market_data_2019 SET timestamp = timestamp + interval '1 day'")
        connection.execute("DELETE FROM market_data_before_2019")
    require_right(store)


def test_what_was_written_past_the_triggers_is_found_when_its_block_has_its_turn(
    store: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "BLOCK_SIZE", 1)
    with store.transaction() as connection:
        for symbol_id in IDS:
            insert(connection, symbol_id, 0, 60)
    keep_census(store)
    with store.transaction() as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        delete(connection, 2, 10, 5)
    for turn in (3, 5):  # of the first symbol and of the last one
        verification.verify_census_block(store, turn)
        assert read(store).uncounted.tolist() == []
    assert caplog.messages == []
    verification.verify_census_block(store, 4)
    assert read(store).uncounted.tolist() == [2]
    assert "bars of 1 symbol were written past the triggers of the census" in caplog.text
    keep_census(store)
    assert count_by_symbol(read(store)) == {1: 60, 2: 55, 3: 60}
    require_right(store)


def test_months_are_open_until_all_is_there_or_explained(store: Database) -> None:
    grid = np.arange(240, 244) * 30  # minutes of the slots of the month
    everything = [1, 1, 1], [672, 673, 674], [4, 4, 4], [int((grid**2).sum())] * 3
    with store.transaction() as connection:
        assert write_expected(connection, HALF_HOUR, *map(np.array, everything)) == 3
        assert write_expected(connection, HALF_HOUR, *map(np.array, everything)) == 0
        begin = datetime(2026, 1, 6, tzinfo=UTC)
        for month, slots in ((1, [0, 1, 2, 3]), (2, [0, 1, 2]), (3, [0, 1, 2, 4])):
            at = [begin.replace(month=month) + timedelta(minutes=30 * i) for i in slots]
            connection.execute(INSERT, {"id": 1, "spelling": "30m", "slots": at})
    keep_census(store)
    with store.transaction() as connection:
        assert list_open(connection) == [date(2026, 2, 1), date(2026, 3, 1)]
        counts = read_census(connection, [1], HALF_HOUR, *MONTHS)
        assert counts.missing.tolist() == [UNKNOWN] * 3
        assert counts.expected.tolist() == [4, 4, 4]
        zeros = np.zeros(3, np.int64)
        explained = Explanation(np.array([0, 1, 1]), zeros, zeros, zeros)
        assert write_explained(connection, HALF_HOUR, counts, explained, begin) == 3
        assert list_open(connection) == []
        connection.execute("DELETE FROM market_data WHERE timestamp > '2026-03-01Z'")
        changed = read_census(connection, [1], HALF_HOUR, *MONTHS)
        assert changed.no_trade.tolist() == [0, 1, UNKNOWN]
        assert write_explained(connection, HALF_HOUR, changed, explained, begin) == 2  # one is not folded
    fold_census(store)
    with store.transaction() as connection:
        assert list_open(connection) == [date(2026, 3, 1)]
        forget_explained(connection, HALF_HOUR, [1], date(2026, 2, 1), date(2026, 2, 1))
        assert list_open(connection) == [date(2026, 2, 1), date(2026, 3, 1)]


def test_the_end_of_a_run_takes_away_what_became_known(store: Database) -> None:
    """Where no job explains months, nobody else would."""
    with store.transaction() as connection:
        connection.execute(
            "INSERT INTO backfill.listing_lives (symbol_id, read_at, has_ended) VALUES (1, now(), false)"
        )
        assert connection.execute("SELECT symbol_id FROM backfill.evidence_changes").fetchall() == [(1,)]
    keep_census(store)
    with store.transaction() as connection:
        assert connection.execute("SELECT symbol_id FROM backfill.evidence_changes").fetchall() == []


def test_an_interval_that_is_no_text_is_nobodys(database: Database) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        name = f"{connection.info.dbname}_ascii"
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'").format(
                sql.Identifier(name)
            )
        )
    odd = INSERT.encode().replace(b"%(spelling)s", b"E'\\xff'").replace(b"%(id)s", b"1")
    with closing(Database(make_conninfo(database.url, dbname=name))) as store:
        migrate(store)
        with store.transaction() as connection:
            connection.execute("INSERT INTO market_symbols (symbol) VALUES ('A')")
            insert(connection, 1, 0, 3)
            connection.execute(odd, {"slots": [FIRST]})
        assert count_by_symbol(read(store, [1])) == {1: 3}
        keep_census(store)
        recount(store)
        assert count_by_symbol(read(store, [1])) == {1: 3}


def test_half_of_an_interval_is_known_for_every_spelling(store: Database) -> None:
    spellings = ["30m", "30min", "30Min", "30T", "1800", "1800s", "M30", "PT30M", "00:30:00", "30 minutes", "1h", "1H"]
    spellings += [
        "60min",
        "3600",
        "H1",
        "1 hour",
        "PT1H",
        "5m",
        "300",
        "M5",
        "00:05:00",
        "15m",
        "900",
        "15Min",
        "1m",
        "1",
    ]
    with store.transaction() as connection:
        for spelling in spellings:
            interval = recognize_interval(spelling)
            assert interval is not None
            half = connection.execute("SELECT backfill.half_of_interval(%s)", [spelling]).fetchall()
            assert half == [(interval.seconds // 2,)], spelling
