"""Batches whose symbols have no stored bar, some, or only some of the symbols: each bar is counted and stored once."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pandas as pd
import psycopg
import pytest

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.columns import Columns
from backfill_assets.store.bars.bar_writer import WriteCounts, read_server_time, write_bars
from backfill_assets.store.bars.new_bars import find_stored_symbols
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate

INTERVAL = INTERVALS["30m"]
NOON = 1_780_401_600  # 2026-06-02 12:00 UTC
BAR = {"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 100, "source_rows": 6, "is_final": True}


def make_bars(*keys: tuple[int, int], before: int = 0, **changes: Any) -> Columns:
    """Bars of symbol_id and slot after noon; those of slots before ``before`` may only revise stored ones."""
    rows = [
        {"symbol_id": key, "timestamp": NOON + 1800 * slot, **BAR, "may_insert": slot >= before, **changes}
        for key, slot in keys
    ]
    return Columns(pd.DataFrame(rows))


def write(database: Database, bars: Columns, spelling: str = "30m") -> dict[int, WriteCounts]:
    with database.transaction() as connection:
        return write_bars(
            connection,
            bars,
            interval=INTERVAL,
            spelling=spelling,
            source="127.0.0.1",
            source_interval="5m",
            requested_at=read_server_time(connection),
        ).counts


def read(database: Database) -> list[tuple[Any, ...]]:
    query = "SELECT symbol_id, (extract(epoch FROM timestamp)::bigint - %s) / 1800, close_price FROM market_data"
    with database.transaction() as connection:
        return connection.execute(f"{query} ORDER BY 1, 2".encode(), [NOON]).fetchall()


def test_only_symbols_without_a_bar_between_their_own_are_new(database: Database) -> None:
    write(database, make_bars((1, 0), (1, 4), (2, 2), (3, 0)))
    looked_up = make_bars((1, 1), (1, 3), (2, 1), (2, 3), (3, 1), (4, 0))
    with database.transaction() as connection:
        assert find_stored_symbols(connection, looked_up, INTERVAL.spellings) == [2]


def test_symbols_of_one_batch_are_written_each_in_its_way(database: Database) -> None:
    write(database, make_bars((1, 1), (2, 2)))
    counts = write(database, make_bars((2, 1), (2, 2), (2, 3), (3, 1), (3, 2), close=10.75))
    assert counts == {2: WriteCounts(inserted=2, revised=1), 3: WriteCounts(inserted=2)}
    assert read(database) == [(1, 1, 10.5), (2, 1, 10.75), (2, 2, 10.75), (2, 3, 10.75), (3, 1, 10.75), (3, 2, 10.75)]


def test_bars_before_the_window_are_not_inserted(database: Database) -> None:
    assert write(database, make_bars((1, 0), (1, 1), (1, 2), before=1)) == {1: WriteCounts(outside=1, inserted=2)}
    assert [slot for _, slot, _ in read(database)] == [1, 2]


def test_a_bar_in_another_spelling_of_the_interval_is_the_same_bar(database: Database) -> None:
    write(database, make_bars((1, 0)), spelling="30min")
    assert write(database, make_bars((1, 0), (1, 1))) == {1: WriteCounts(unchanged=1, inserted=1)}
    assert len(read(database)) == 2


def test_where_the_column_has_no_room_for_the_interval_new_bars_are_refused_and_nothing_else(
    create_database: Callable[..., str],
) -> None:
    url = create_database(None)
    prices = ", ".join(f"{name}_price float8" for name in ("open", "high", "low", "close"))
    with psycopg.connect(url) as connection:
        connection.execute(
            "CREATE TABLE market_data (symbol_id int, interval_type varchar(2), timestamp timestamptz,"
            f" {prices}, volume bigint, PRIMARY KEY (symbol_id, interval_type, timestamp))".encode()
        )
    with closing(Database(url)) as database:
        migrate(database)
        counts = write(database, make_bars((1, -1), (1, 0), (1, 1)))
    assert counts == {1: WriteCounts(outside=1, refused=2)}


def test_new_bars_are_refused_where_the_table_has_lost_its_key(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("ALTER TABLE market_data DROP CONSTRAINT market_data_pkey")
    with pytest.raises(DatabaseUnavailable, match="no unique or exclusion constraint"):
        write(database, make_bars((1, 0)))
    assert read(database) == []
