"""The bars of a read: one a slot, whoever wrote them, in all forms of the table, from one state of the database."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.bars.bar_stream import NO_VOLUME
from backfill_assets.store.bars.bar_table import NO_ORIGIN, BarTable, read_bar_table
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.joined_snapshot import join_snapshot
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests.external_tables import create_external_tables
from backfill_assets_tests.integration.reading_store import INSERT_AS_OF_THEN

# 2020-11-27 closes early
GRID = build_slot_grid(list_sessions(US, date(2020, 11, 25), date(2020, 11, 27)), INTERVALS["30m"])
AAPL, MSFT = Symbol(3, Ticker("AAPL", "US"), True), Symbol(7, Ticker("MSFT", "US"), True)
FETCHED = datetime(2020, 11, 28, 1, 2, 3, 456_789, tzinfo=UTC)
OWN: dict[str, Any] = {"source": "eodhd.com", "source_interval": "5m", "source_rows": 6, "is_final": True}
EXTERNAL: dict[str, Any] = {"fetched_at": None}
PARTITIONED = """
CREATE TABLE market_data (
    symbol_id bigint, interval_type varchar(10), "timestamp" timestamptz, open_price real, high_price numeric(12,4),
    low_price numeric, close_price numeric(20,8), volume numeric(12,0), UNIQUE (symbol_id, interval_type, "timestamp")
) PARTITION BY RANGE ("timestamp");
CREATE TABLE bars_before PARTITION OF market_data FOR VALUES FROM (MINVALUE) TO ('2020-11-27');
CREATE TABLE bars_after PARTITION OF market_data FOR VALUES FROM ('2020-11-27') TO (MAXVALUE);
"""


def insert(
    database: Database, symbol: Symbol, ordinal: int, close: float | None, spelling: str = "30m", **values: Any
) -> None:
    """A bar at a slot of ``GRID``; ``values`` are columns."""
    prices = {"open_price": close, "high_price": close, "low_price": close, "close_price": close}
    at = to_datetime(int(GRID.starts[ordinal]))
    bar = {"timestamp": at, "volume": 500, "fetched_at": FETCHED, **prices, **values}
    columns = {"symbol_id": symbol.symbol_id, "interval_type": spelling, **bar}
    names = ", ".join(f'"{name}"' for name in columns)
    with database.transaction() as connection:
        connection.execute(f"INSERT INTO market_symbols VALUES ({symbol.symbol_id}, '{symbol.ticker.symbol}')"
                           " ON CONFLICT DO NOTHING")  # fmt: skip
        connection.execute(INSERT_AS_OF_THEN)
        connection.execute(
            f"INSERT INTO market_data ({names}) VALUES ({', '.join(f'%({name})s' for name in columns)})", columns
        )


def read(database: Database, *symbols: Symbol, **options: Any) -> BarTable:
    with database.snapshot() as connection:
        return read_bar_table(connection, symbols or (MSFT, AAPL), GRID, **options)


def test_bars_are_ordered_by_the_symbols_asked_for_and_their_slots(database: Database) -> None:
    insert(database, AAPL, 0, 10.5, **OWN)
    insert(database, MSFT, 19, 12.25, **{**OWN, "source_interval": "1m", "source_rows": 30, "volume": 2**60 + 1})
    insert(database, MSFT, 4, 11.0, **EXTERNAL)
    insert(database, MSFT, 2, 12.5, **{**OWN, "is_final": False})

    bars = read(database)

    assert bars.slot_key.tolist() == [2, 4, 19, GRID.size]
    assert bars.values["close"].tolist() == [12.5, 11.0, 12.25, 10.5]
    assert bars.values["volume"].tolist() == [500, 500, 2**60 + 1, 500]
    assert [bars.origins[code] if code != NO_ORIGIN else None for code in bars.origin.tolist()] == [
        *(("eodhd.com", "5m"), None, ("eodhd.com", "1m")),
        ("eodhd.com", "5m"),
    ]
    assert (bars.is_external.tolist(), bars.is_provisional.tolist()) == (
        [False, True, False, False],
        [True, False, False, False],
    )
    assert bars.covered.tolist() == [1800, 0, 1800, 1800]
    assert bars.first_known[0] == np.datetime64("2020-11-28T01:02:03.456789")
    assert np.isnat(bars.first_known).tolist() == [False, True, False, False]
    assert np.isnat(bars.revised).all()
    chosen = bars.select(np.array([3, 0]), np.array([1, 2]))
    assert (chosen.slot_key.tolist(), chosen.values["open"].tolist()) == ([1, 2], [10.5, 12.5])


def test_no_symbols_and_no_slots_have_no_bars(database: Database) -> None:
    insert(database, AAPL, 12, 10.0, **OWN)
    with database.snapshot() as connection:
        none = read_bar_table(connection, [AAPL], build_slot_grid([], INTERVALS["30m"]))
        assert len(read_bar_table(connection, [], GRID)) == len(none) == 0
    assert set(none.values) == {"open", "high", "low", "close", "volume"}


@pytest.mark.parametrize("own_first", [True, False])
def test_of_two_bars_in_one_slot_ours_counts(database: Database, own_first: bool) -> None:
    bars: list[tuple[float, str, dict[str, Any]]] = [(11.25, "30min", OWN), (11.5, "30m", EXTERNAL)]
    for close, spelling, values in bars if own_first else reversed(bars):
        insert(database, AAPL, 2, close, spelling, **values)
    insert(database, AAPL, 3, 9.5, "30min", **EXTERNAL)
    insert(database, AAPL, 3, 9.75, **EXTERNAL)
    insert(database, AAPL, 4, 8.0, "1h", **EXTERNAL)
    for minutes in (-90, 10):  # before the open, and not on a slot
        at = to_datetime(int(GRID.starts[13]) + 60 * minutes)
        insert(database, AAPL, 13, 9.0, **{**OWN, "timestamp": at})
    insert(database, AAPL, 19, 9.0, **OWN)

    bars_read = read(database, AAPL)

    assert bars_read.slot_key.tolist() == [2, 3, 19]
    assert bars_read.values["close"].tolist() == [11.25, 9.75, 9.0]
    assert bars_read.origin.tolist() == [0, NO_ORIGIN, 0]
    assert (bars_read.duplicates, bars_read.outside) == (2, 2)


def test_columns_that_are_not_needed_are_not_read(database: Database) -> None:
    insert(database, AAPL, 2, 11.25, **OWN)
    bars = read(database, AAPL, columns=("symbol", "close"))
    assert list(bars.values) == ["close"]
    assert np.isnat(bars.first_known).all()


def test_bars_are_dated_by_their_first_version_and_their_newest_revision(database: Database) -> None:
    """``known_at`` gives the bar as it was, with what was known of it then."""
    for ordinal in (1, 2, 3):
        insert(database, AAPL, ordinal, 11.25, **OWN)
    insert(database, AAPL, 4, 11.25, **EXTERNAL)
    revise = """UPDATE market_data SET low_price = 10, close_price = close_price - 0.5, fetched_at = clock_timestamp()
                WHERE timestamp = %s"""
    moments = []
    for ordinal in (2, 2, 3):
        with database.transaction() as connection:
            connection.execute(revise, [to_datetime(int(GRID.starts[ordinal]))])
            moments += connection.execute("SELECT max(fetched_at) FROM market_data").fetchall()[0]
    second, third, fourth = (np.datetime64(moment.astimezone(UTC).replace(tzinfo=None)) for moment in moments)
    before = np.datetime64(FETCHED.replace(tzinfo=None))

    now = read(database)
    assert now.first_known.tolist()[:3] == [before.item()] * 3
    assert now.revised.tolist() == [None, third.item(), fourth.item(), None]
    then = read(database, known_at=moments[0], with_others=True)
    assert then.values["close"].tolist() == [11.25, 10.75, 11.25, 11.25]
    assert then.revised.tolist() == [None, second.item(), None, None]
    assert then.first_known.tolist() == [before.item()] * 3 + [None]
    assert then.is_external.tolist() == [False, False, False, True]
    assert [then.origins[code] for code in then.origin[:3].tolist()] == [("eodhd.com", "5m")] * 3
    assert read(database, known_at=FETCHED).values["close"].tolist() == [11.25] * 3
    assert len(read(database, known_at=FETCHED - timedelta(microseconds=1))) == 0


@pytest.mark.parametrize("tables", ["of another program", "partitioned"])
def test_both_forms_of_the_table(create_database: Callable[..., str], tables: str) -> None:
    url = create_database(None)
    if tables == "partitioned":
        with Database(url).transaction() as connection:
            connection.execute(PARTITIONED.encode())
    else:
        create_external_tables(url)
    database = Database(url)
    migrate(database)
    insert(database, AAPL, 2, 11.25, "1800")
    insert(database, AAPL, 15, 0.5, "30min", **OWN)
    if tables == "partitioned":
        insert(database, MSFT, 3, None, "30Min", volume=None)
    with database.snapshot() as connection:
        (interval,) = adopt_spellings(connection, [INTERVALS["30m"]])
        grid = build_slot_grid(GRID.sessions, interval)
        bars = read_bar_table(connection, (AAPL, MSFT), grid)
    assert bars.slot_key.tolist()[:2] == [2, 15]
    assert bars.values["low"].tolist()[:2] == [11.25, 0.5]
    assert bars.values["volume"].dtype == np.int64
    if tables == "partitioned":
        assert bars.slot_key.tolist()[2:] == [GRID.size + 3]
        assert np.isnan(bars.values["open"][2])
        assert bars.values["volume"][2] == NO_VOLUME
    database.close()


def test_volumes_of_a_column_with_decimals_keep_them(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    create_external_tables(url)
    database = Database(url)
    with database.transaction() as connection:
        connection.execute("ALTER TABLE market_data ALTER volume TYPE numeric, ALTER volume DROP NOT NULL")
    migrate(database)
    for ordinal, volume in enumerate([12.5, None]):
        insert(database, AAPL, ordinal, 10.0, volume=volume)
    assert read(database).values["volume"].tolist() == [12.5, pytest.approx(np.nan, nan_ok=True)]
    database.close()


def test_a_bar_that_arrives_in_between_is_not_seen(database: Database) -> None:
    insert(database, AAPL, 1, 10.0, **OWN)
    with database.snapshot() as connection:
        assert len(read_bar_table(connection, (AAPL,), GRID)) == 1
        insert(database, AAPL, 2, 10.0, **OWN)
        assert len(read_bar_table(connection, (AAPL,), GRID)) == 1
    assert len(read(database)) == 2


def test_a_second_connection_reads_its_half_of_the_same_state(database: Database) -> None:
    for ordinal in range(1, 12):
        insert(database, AAPL, ordinal, 10.0 + ordinal, **OWN)
        insert(database, MSFT, ordinal, 20.0 + ordinal, **(EXTERNAL if ordinal % 3 else OWN))
    with database.snapshot() as connection:
        alone = read_bar_table(connection, (MSFT, AAPL), GRID)
        with join_snapshot(database, connection, patience_seconds=60) as second:
            assert second is not None
            insert(database, AAPL, 15, 30.0, **OWN)
            insert(database, MSFT, 15, 30.0, **OWN)
            together = read_bar_table(connection, (MSFT, AAPL), GRID, second=second)
    assert together.slot_key.tolist() == alone.slot_key.tolist()
    assert {name: values.tolist() for name, values in together.values.items()} == {
        name: values.tolist() for name, values in alone.values.items()
    }
    assert together.is_external.tolist() == alone.is_external.tolist()
    assert len(read(database)) == len(alone) + 2  # the pool is as before


def test_a_read_does_not_wait_for_a_second_connection(database: Database) -> None:
    insert(database, AAPL, 1, 10.0, **OWN)
    narrow = Database(database.url, max_connections=1)
    with narrow.snapshot() as connection:
        with join_snapshot(narrow, connection, patience_seconds=0.01) as second:
            assert second is None
        assert len(read_bar_table(connection, (AAPL,), GRID)) == 1
    assert len(read(narrow, AAPL)) == 1
    narrow.close()


def test_a_lost_second_connection_is_an_error(database: Database) -> None:
    insert(database, AAPL, 1, 10.0, **OWN)
    lost = psycopg.connect(database.url)
    lost.close()
    with pytest.raises(DatabaseUnavailable, match="the connection is closed"):
        read(database, MSFT, AAPL, second=lost)
    assert len(read(database)) == 1
