"""The audit of stored bars: its rate and its memory in both forms of the table, and that every wrong session is found.

The store has a year of random walks with settled daily data, known splits and listing lives. In one session of a
thousand a low is a tenth, and one of a thousand repeats the session before.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import psutil
import psycopg

from backfill_assets.backfill.plausibility.audit import AuditOptions, audit_bars
from backfill_assets.market.arrays import Floats, Int64
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import list_symbols
from backfill_assets_tests.external_tables import TABLES
from bench.figures import Figure, Section
from bench.machine import read_processor_seconds

NOW = datetime(2026, 6, 4, 14, 0, tzinfo=UTC)
YEAR = (date(2025, 6, 9), date(2026, 6, 3))
YEAR_OF_THE_MARKET = 16e6  # bars of 5,000 symbols
CHUNK = 100  # symbols that are made at once
PRICES = ("open", "high", "low", "close")

_SYMBOLS = "INSERT INTO market_symbols (symbol) SELECT 'S' || lpad(i::text, 5, '0') FROM generate_series(1, %s) i"
_STAGE = """
CREATE UNLOGGED TABLE staged (symbol_id int4, at int8, open float8, high float8, low float8, close float8, volume int8)
"""
_BARS = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
SELECT symbol_id, %s, to_timestamp(at), open, high, low, close, volume, '127.0.0.1', '5m', 6, true,
       to_timestamp(at) + interval '1 day'
FROM staged ORDER BY symbol_id, at
"""
# One venue's volume is a part of the day's.
_DAYS = """
INSERT INTO backfill.daily_prices (symbol_id, day, open_price, high_price, low_price, close_price, adjusted_close,
                                   reported_volume, volume, read_at)
SELECT symbol_id, to_timestamp(at)::date, (array_agg(open ORDER BY at))[1], max(high),
       min(low) FILTER (WHERE low > 0.5 * open), (array_agg(close ORDER BY at))[count(*)],
       (array_agg(close ORDER BY at))[count(*)], 2 * sum(volume), 2 * sum(volume), %s
FROM staged GROUP BY 1, 2 ORDER BY 1, 2
"""
_LIVES = """
INSERT INTO backfill.listing_lives (symbol_id, first_day, last_day, has_ended, read_at)
SELECT symbol_id, '2001-01-02', '2026-06-03', false, %(now)s FROM market_symbols
"""
_SPLITS = """
INSERT INTO backfill.split_reads (symbol_id, known_after, known_until, read_at)
SELECT symbol_id, '1900-01-01', '2026-06-04', %(now)s FROM market_symbols
"""


def measure(*, quick: bool) -> Section:
    """Audit a store of each form, as a command and within this process."""
    count, rounds = (60, 1) if quick else (1000, 3)
    grid = build_slot_grid(list_sessions(US, *YEAR), INTERVALS["30m"])
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        for form, tables, spelling, most in (("", None, "30m", 60), (", DGAS form", TABLES, "30min", 120)):
            database = _create_store(Path(folder), f"audit_{spelling}", tables)
            wrong = _fill(database, grid, count, spelling)
            runs = [_run_command(database.url) for _ in range(rounds)]
            assert all(found == wrong for *_, found in runs), (wrong, runs)
            processor = _measure_processor_seconds(database, grid)
            database.close()
            bars = count * grid.size
            seconds = [wall for wall, *_ in runs]
            year = [YEAR_OF_THE_MARKET / bars * wall for wall in seconds]
            figures += [
                Figure(f"bars a second{form}", "k/s", [bars / wall / 1000 for wall in seconds]),
                Figure(f"… at this rate 16 M bars{form}", "s", year, at_most=None if quick else most),
                Figure(f"… by processor time{form}", "s", [YEAR_OF_THE_MARKET / bars * processor]),
                Figure(f"most memory{form}", "MB", [memory for _, memory, _ in runs], at_most=300),
            ]
    return Section(f"8. Audit of {count * grid.size / 1e6:.1f} M bars, {count:,} symbols over a year", figures)


def _create_store(home: Path, name: str, tables: str | None) -> Database:
    url = start_embedded_database(home, name)
    if tables:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(tables.encode())
    database = Database(url)
    migrate(database)
    return database


def _fill(database: Database, grid: SlotGrid, count: int, spelling: str) -> dict[str, int]:
    """Store bars and what is known of their days; returns how many sessions are wrong, by rule."""
    wrong = dict.fromkeys(map(str, Rule), 0)
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(_SYMBOLS, [count])
        connection.execute(_STAGE)
        for begin in range(1, count + 1, CHUNK):
            ids = np.arange(begin, min(begin + CHUNK, count + 1))
            prices = _make_prices(grid, len(ids), seed=begin)
            made = _make_wrong(prices, grid, seed=begin)
            wrong = {name: number + made.get(name, 0) for name, number in wrong.items()}
            _copy_bars(connection, ids, grid, prices)
            connection.execute(_BARS, [spelling])
            connection.execute(_DAYS, [NOW])
            connection.execute("TRUNCATE staged")
        for statement in (_LIVES, _SPLITS):
            connection.execute(statement.encode(), {"now": NOW})
        for table in ("market_data", "backfill.daily_prices"):
            connection.execute(f"VACUUM (ANALYZE) {table}".encode())
    return wrong


def _make_prices(grid: SlotGrid, symbols: int, seed: int) -> dict[str, Floats]:
    """Random walks in cents, by price; shape (symbols, slots)."""
    random = np.random.default_rng(seed)
    moves = random.normal(0, 0.003, (symbols, grid.size + 1))
    walk = 100 * np.exp(random.normal(0, 0.5, (symbols, 1)) + np.cumsum(moves, axis=1))
    opens, closes = walk[:, :-1], walk[:, 1:]
    wick = 0.002 * random.random((2, symbols, grid.size)) * opens
    high, low = np.maximum(opens, closes) + wick[0], np.minimum(opens, closes) - wick[1]
    return {name: np.round(values, 2) for name, values in zip(PRICES, (opens, high, low, closes), strict=True)}


def _make_wrong(prices: dict[str, Floats], grid: SlotGrid, seed: int) -> dict[str, int]:
    """Repeat the session before in a thousandth of the sessions, and give another thousandth a low of a tenth."""
    random = np.random.default_rng(seed)
    full = np.flatnonzero((grid.session_sizes[1:] == 13) & (grid.session_sizes[:-1] == 13)) + 1
    number = max(1, len(prices["open"]) * len(full) // 2000)
    cells = random.choice(len(prices["open"]) * (len(full) // 2), 2 * number, replace=False)
    symbol, session = cells % len(prices["open"]), full[2 * (cells // len(prices["open"])) + 1]  # none beside another
    first = grid.session_offsets[session]
    prices["low"][symbol[:number], first[:number] + 6] *= 0.1
    slots = first[number:, None] + np.arange(13)
    for values in prices.values():
        values[symbol[number:, None], slots] = values[symbol[number:, None], slots - 13]
    return {"price_spike": number, "price_outside_day": number, "session_repeated": number}


def _copy_bars(
    connection: psycopg.Connection[tuple[object, ...]], ids: Int64, grid: SlotGrid, prices: dict[str, Floats]
) -> None:
    fields: list[tuple[str, str, int, object]] = [("symbol_id", ">i4", 4, np.repeat(ids, grid.size))]
    fields.append(("at", ">i8", 8, np.tile(grid.starts, len(ids))))
    fields += [(name, ">f8", 8, prices[name].ravel()) for name in PRICES]
    fields.append(("volume", ">i8", 8, 10_000 + np.arange(len(ids) * grid.size) % 9973))
    layout = [("fields", ">i2")]
    layout += [item for name, code, _, _ in fields for item in ((f"{name}_size", ">i4"), (name, code))]
    rows = np.zeros(len(ids) * grid.size, layout)
    rows["fields"] = len(fields)
    for name, _, size, values in fields:
        rows[f"{name}_size"], rows[name] = size, values
    with connection.cursor().copy("COPY staged FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        copy.write(rows.tobytes())
        copy.write(b"\xff\xff")


def _run_command(url: str) -> tuple[float, float, dict[str, int]]:
    """Run the command; returns its seconds, its memory in MB, and how many wrong sessions it found, by rule."""
    command = [sys.executable, "-m", "backfill_assets", "audit", "--format", "json", "--as-of", NOW.isoformat()]
    began = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | {"DATABASE_URL": url}, stdout=subprocess.PIPE)
    assert process.stdout
    answer = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, status
    found = {rule["rule"]: rule["doubts"] for rule in answer["rules"]}
    return time.perf_counter() - began, usage.ru_maxrss / 1024, found


def _measure_processor_seconds(database: Database, grid: SlotGrid) -> float:
    """The processor seconds of an audit within this process, those of the server included."""
    with database.transaction() as connection:
        symbols = list_symbols(connection, "US")
        server = psutil.Process(connection.info.backend_pid).parent()
    assert server
    before, own = _sum_processor_seconds(server), time.process_time()
    audit_bars(database, symbols, grid, AuditOptions(NOW, 0, writes=False))
    return time.process_time() - own + _sum_processor_seconds(server) - before


def _sum_processor_seconds(server: psutil.Process) -> float:
    return sum(read_processor_seconds(process) for process in server.children())
