"""Reading adjusted bars beside raw ones: symbols over a year of 30-minute bars, each with 30 dividends and a split.

Both are read into arrays with the same columns, in turns. So are the bars of one symbol and month.
"""

import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.postgres.array_reader import read_columns
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from bench.figures import Figure, Section

YEAR = (date(2025, 1, 2), date(2025, 12, 31))
DIVIDENDS = 30
MOST_TIMES = 3  # as long as the raw bars
RAW = "market_data"
ADJUSTMENTS = ("splits", "splits_and_dividends")
_SYMBOLS = "INSERT INTO market_symbols (symbol) SELECT 'S' || i FROM generate_series(1, %s) i"
_BARS = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
SELECT symbol_id, '30m', at, 100, 101, 99, 100.5, 1000, '127.0.0.1', '5m', 6, true, at + interval '1 day'
FROM market_symbols, unnest(%s::timestamptz[]) AS at ORDER BY symbol_id, at
"""
_DAYS = """
INSERT INTO backfill.daily_prices (symbol_id, day, close_price, volume, read_at)
SELECT symbol_id, day, 100, 1000, '2026-01-02' FROM market_symbols, unnest(%s::date[]) AS day
"""
_DIVIDENDS = """
INSERT INTO backfill.dividends (symbol_id, ex_date, period, cum_day, amount, currency, source, first_seen)
SELECT symbol_id, days[n * 8], 'quarterly', days[n * 8 - 1], 0.25, 'USD', '/div', '2025-01-01'
FROM market_symbols, generate_series(1, %(dividends)s) AS n, (SELECT %(days)s::date[] AS days) AS year
"""
_SPLITS = """
INSERT INTO backfill.splits (symbol_id, ex_date, ratio, new_shares, old_shares, source, first_seen)
SELECT symbol_id, '2025-06-10', 10, 10, 1, '/splits', '2025-01-01' FROM market_symbols
"""
_READS = "INSERT INTO backfill.{} SELECT symbol_id, '1900-01-01', '2026-01-01', now(), now() FROM market_symbols"
_SELECT = """
SELECT symbol_id, "timestamp" AS stamp, open_price, high_price, low_price, close_price, volume::float8 AS volume
FROM {} WHERE interval_type = '30m'
"""
_ONE_MONTH = " AND symbol_id = 7 AND \"timestamp\" >= '2025-03-01' AND \"timestamp\" < '2025-04-01'"
_PRICES = dict.fromkeys(("open_price", "high_price", "low_price", "close_price", "volume"), ">f8")
_COLUMNS = {"symbol_id": ">i4", "stamp": ">i8", **_PRICES}


def measure(*, quick: bool) -> Section:
    """Time raw and adjusted reads in turns."""
    symbols, rounds = (50, 3) if quick else (500, 5)
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        database = Database(start_embedded_database(Path(folder), "adjusted"))
        migrate(database)
        bars = _fill(database, symbols)
        everything = _time_reads(database, "", rounds, bars)
        month = _time_reads(database, _ONE_MONTH, 10 * rounds, 21 * 13)
        database.close()
    figures = [Figure(f"{bars / 1e6:.2f} M raw bars", "s", everything[RAW])]
    figures += [
        Figure(f"… adjusted for {name.replace('_', ' ')}", "×", _divide(everything, name), at_most=MOST_TIMES)
        for name in ADJUSTMENTS
    ]
    for name in (RAW, *ADJUSTMENTS):
        label = "raw" if name == RAW else f"adjusted for {name.replace('_', ' ')}"
        figures.append(Figure(f"one symbol and month, {label}", "ms", [1000 * seconds for seconds in month[name]]))
    return Section(
        f"9. Adjusted bars of {symbols} symbols over a year, {DIVIDENDS} dividends and a split each", figures
    )


def _fill(database: Database, symbols: int) -> int:
    sessions = list_sessions(US, *YEAR)
    days = [session.day for session in sessions]
    grid = build_slot_grid(sessions, INTERVALS["30m"])
    with database.transaction() as connection:
        connection.execute(_SYMBOLS, [symbols])
        connection.execute(_BARS, [[datetime.fromtimestamp(at, UTC) for at in grid.starts.tolist()]])
        connection.execute(_DAYS, [days])
        connection.execute(_DIVIDENDS, {"dividends": DIVIDENDS, "days": days})
        connection.execute(_SPLITS)
        for table in ("split_reads", "dividend_reads"):
            connection.execute(_READS.format(table).encode())
    for table in ("market_data", "market_symbols", "backfill.daily_prices", "backfill.dividends", "backfill.splits"):
        with database.transaction() as connection:
            connection.execute(f"ANALYZE {table}".encode())
    return symbols * grid.size


def _time_reads(database: Database, condition: str, rounds: int, bars: int) -> dict[str, list[float]]:
    """The seconds of each read but the first, which warms caches up."""
    seconds: dict[str, list[float]] = {RAW: [], **{name: [] for name in ADJUSTMENTS}}
    for _ in range(rounds + 1):
        for name, samples in seconds.items():
            source = RAW if name == RAW else f"backfill.adjusted_bars('{name}')"
            with database.transaction() as connection:
                began = time.perf_counter()
                found = read_columns(connection, _SELECT.format(source) + condition, {}, _COLUMNS)
                samples.append(time.perf_counter() - began)
            assert len(found["stamp"]) == bars, len(found["stamp"])
    return {name: samples[1:] for name, samples in seconds.items()}


def _divide(seconds: dict[str, list[float]], name: str) -> list[float]:
    return [adjusted / raw for adjusted, raw in zip(seconds[name], seconds[RAW], strict=True)]
