"""One hash for the same bars: in both forms of the table, in partitions, and after a restore."""

import io
import random
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import psycopg
import pytest

from backfill_assets.certification.comparison import hash_bars
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.bars.certified_bars import read_bars_seen, read_certified_sessions
from backfill_assets.store.bars.interval_spellings import adopt_spellings
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import list_symbols
from backfill_assets_tests.external_tables import TABLES

SESSIONS = list_sessions(US, date(2026, 6, 1), date(2026, 6, 2))
NAMES = ("MSFT", "AAPL", "BRK-B", "BRK", "A1")  # not in the order of their bytes
INSERT = """
INSERT INTO market_data (symbol_id, interval_type, "timestamp", open_price, high_price, low_price, close_price, volume)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
PARTITIONED = [
    ("data_id bigserial PRIMARY KEY", "data_id bigserial"),
    (
        'UNIQUE (symbol_id, "timestamp", interval_type)\n)',
        'UNIQUE (symbol_id, "timestamp", interval_type)\n) PARTITION BY RANGE ("timestamp")',
    ),
    ("data_id bigint NOT NULL REFERENCES market_data (data_id)", "data_id bigint NOT NULL"),
]


def draw_bars(seed: int) -> list[tuple[int, int, list[Decimal], int]]:
    """(symbol, epoch seconds, prices that both forms can hold, volume), some of them below 0.01."""
    drawn = random.Random(seed)
    bars = []
    for stamp in build_slot_grid(SESSIONS, INTERVALS["30m"]).starts.tolist():
        for symbol in range(len(NAMES)):
            unit = Decimal(10) ** -6
            low = Decimal(drawn.randint(1, 10 ** drawn.choice([3, 5, 9, 11]))) * unit
            high = low + Decimal(drawn.randint(0, 9_999)) * unit
            bars.append((symbol, stamp, [low, high, low, high], drawn.randint(0, 10**9)))
    return bars


def fill(url: str, spelling: str, bars: Sequence[tuple[int, int, list[Decimal], int]]) -> None:
    with psycopg.connect(url) as connection:
        connection.cursor().executemany(
            "INSERT INTO market_symbols (symbol, exchange) VALUES (%s, 'US')", [(name,) for name in NAMES]
        )
        ids = dict(connection.execute("SELECT symbol, symbol_id FROM market_symbols").fetchall())
        rows = [
            (ids[NAMES[symbol]], spelling, datetime.fromtimestamp(stamp, UTC), *prices, volume)
            for symbol, stamp, prices, volume in bars
        ]
        connection.cursor().executemany(INSERT, rows)


def hash_database(url: str) -> tuple[str, int]:
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        (interval,) = adopt_spellings(connection, [INTERVALS["30m"]])
        grid = build_slot_grid(SESSIONS, interval)
        tickers = {symbol.symbol_id: str(symbol.ticker) for symbol in list_symbols(connection, "US")}
        stored = read_certified_sessions(connection, tickers, grid)
        seen = read_bars_seen(connection, tickers, grid)
    database.close()
    assert list(seen) == [session.day for session in SESSIONS]
    assert list(stored.values.tickers) == sorted(stored.values.tickers)
    return hash_bars(stored).sha256, len(stored.values)


@pytest.mark.parametrize("form", ["numeric", "partitioned"])
def test_both_forms_of_the_table_have_one_hash(create_database: Callable[..., str], form: str) -> None:
    bars = draw_bars(seed=4711)
    ours, theirs = create_database(), create_database(None)
    tables = TABLES
    for old, new in PARTITIONED if form == "partitioned" else []:
        assert old in tables
        tables = tables.replace(old, new)
    with psycopg.connect(theirs) as connection:
        connection.execute(tables.encode())
        if form == "partitioned":
            connection.execute("CREATE TABLE all_data PARTITION OF market_data DEFAULT")
        connection.execute("ALTER SEQUENCE market_symbols_symbol_id_seq RESTART 900")
    fill(ours, "30m", bars)
    fill(theirs, "30min", random.Random(1).sample(bars, len(bars)))
    sha256, count = hash_database(ours)
    assert count == len(bars)
    assert hash_database(theirs) == (sha256, count)


def test_a_restored_table_has_the_same_hash(create_database: Callable[..., str]) -> None:
    original, restored = create_database(), create_database()
    fill(original, "30m", draw_bars(seed=1))
    with psycopg.connect(original) as connection:  # values that only doubles have
        connection.execute("UPDATE market_data SET low_price = low_price * (1 - random() / 1e5)")
    with psycopg.connect(original) as source, psycopg.connect(restored) as target:
        for table in ("market_symbols", "market_data"):
            content = io.BytesIO()
            with source.cursor().copy(f"COPY (TABLE {table}) TO STDOUT".encode()) as copy:
                for block in copy:
                    content.write(block)
            with target.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
                copy.write(content.getvalue())
    assert hash_database(original) == hash_database(restored)


def test_of_two_spellings_this_programs_bar_counts(create_database: Callable[..., str]) -> None:
    url = create_database()
    bars = draw_bars(seed=2)
    fill(url, "30m", bars)
    sha256, count = hash_database(url)
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
            " close_price, volume) SELECT symbol_id, '30min', timestamp, 1, 1, 1, 1, 1 FROM market_data"
        )
        connection.execute(
            "UPDATE market_data SET source = '127.0.0.1', fetched_at = now() WHERE interval_type = '30m'"
        )
    assert hash_database(url) == (sha256, count)
