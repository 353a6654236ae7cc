"""``read_bars`` beside ``pandas.read_sql`` and the vendor's client: symbols over a year of 30-minute bars.

The bars lie in the order in which they arrive, day by day. Reads are timed in turns, in one process. The memory is the
most that the process has while it reads, beyond what it had before. The vendor's client asks the sandbox, which answers
without delay, and gets rows of 5 minutes: the vendor has no proven bars of 30 minutes.
"""

import gc
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from psycopg import conninfo
from pydantic import SecretStr
from sqlalchemy import URL, create_engine, text

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import load_settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.registry import US
from backfill_assets.reading import read_bars
from backfill_assets.store.bars.bar_table import read_bar_table
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import list_symbols
from bench.environment import TOKEN, run_sandbox
from bench.figures import Figure, Section

NOW = datetime(2026, 3, 2, 18, tzinfo=UTC)
FIRST, LAST = date(2025, 1, 2), date(2025, 12, 31)
DAY = date(2025, 6, 2)
TIMES_FASTER = 8  # than pandas.read_sql
FIRST_ROW_MS = 50
MEMORY_OF_FRAMES = 2
TIMES_OF_PLAIN = 2  # reads at an earlier moment
REVISED_SHARE = 100  # one bar in so many has an earlier version
SANDBOX_TICKER = "AAPL.US"
_KEY = "0123456789abcdef"  # the vendor's client requires 16 to 32 characters
_DAYS_OF_A_REQUEST = 120

_SYMBOLS = "INSERT INTO market_symbols (symbol) SELECT 'S' || lpad(i::text, 4, '0') FROM generate_series(1, %s) i"
_BARS = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
SELECT symbol_id, '30m', at, 100 + p, 101 + p, 99 + p, 100.5 + p, 1000 + symbol_id, '127.0.0.1', '5m', 6, true,
       at + interval '1 day'
FROM market_symbols, unnest(%s::timestamptz[]) AS at,
     LATERAL (SELECT abs(hashint8(symbol_id)) %% 1000000 / 1e4 AS p) AS d
ORDER BY at::date, symbol_id, at
"""
_AS_OF_THEN = "SET LOCAL session_replication_role = replica"  # known since its fetched_at, not since now
_REVISE = """
UPDATE market_data SET close_price = close_price + 0.01, fetched_at = clock_timestamp()
WHERE hashint8(extract(epoch FROM "timestamp")::bigint + symbol_id) %% %s = 0
"""
_READS = "INSERT INTO backfill.{} SELECT symbol_id, '1900-01-01', '2026-03-02', now(), now() FROM market_symbols"
_SPLITS = """
INSERT INTO backfill.splits (symbol_id, ex_date, ratio, new_shares, old_shares, source, first_seen)
SELECT symbol_id, '2025-06-10', 10, 10, 1, '/splits', '2025-01-01' FROM market_symbols
"""
_SAME_ROWS = """
SELECT s.symbol, d.interval_type, d.timestamp, d.open_price, d.high_price, d.low_price, d.close_price, d.volume,
       d.source, d.source_interval, d.source_rows, d.is_final, d.fetched_at
FROM market_data d JOIN market_symbols s USING (symbol_id)
WHERE d.interval_type = '30m' AND d.timestamp >= :first AND d.timestamp < :after ORDER BY s.symbol, d.timestamp
"""
Read = Callable[[], Any]


def measure(*, quick: bool) -> Section:
    """Time the reads in turns, at a small size or at that of the marks."""
    symbols, rounds = (50, 3) if quick else (500, 3)
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        url = start_embedded_database(Path(folder), "reading")
        database = Database(url)
        migrate(database)
        _fill(database, symbols, list_sessions(US, FIRST, LAST))
        engine = Engine(database, load_settings(as_of=NOW, token=TOKEN, database_url=SecretStr(url)))
        figures = _measure_year(engine, url, rounds) + _measure_day(engine, 4 * rounds)
        database.close()
    title = f"10. Reads of {symbols} symbols over a year, beside pandas.read_sql and the vendor's client"
    return Section(title, figures)


def _measure_year(engine: Engine, url: str, rounds: int) -> list[Figure]:
    tickers = [f"S{i:04}" for i in range(1, _count_symbols(engine) + 1)]

    def read(**options: Any) -> Any:
        return read_bars(tickers, FIRST, date(2026, 1, 1), settings=engine, **options).frame

    memory = _measure_memory(read)
    reads: dict[str, Read] = {
        "pandas.read_sql": lambda: _read_with_pandas(url),
        "read_bars": read,
        "without health": lambda: _read_without_health(engine),
        "polars": lambda: read(format="polars"),
        "close only": lambda: read(columns=["symbol", "timestamp", "close"]),
        "adjusted for splits": lambda: read(adjustment="splits"),
        "point_in_time": lambda: read(point_in_time=NOW),
        "known_at": lambda: read(known_at=NOW),
    }
    seconds = _time_in_turns(reads, rounds)
    plain = seconds["read_bars"]
    size = len(read())
    times = _divide(seconds["pandas.read_sql"], plain)
    return [
        Figure(f"read_bars, {size / 1e6:.2f} M bars with their health", "s", plain),
        Figure("pandas.read_sql of the same rows (SQLAlchemy, psycopg2)", "s", seconds["pandas.read_sql"]),
        Figure("… as many times as long as read_bars", "×", times, at_least=TIMES_FASTER),
        Figure("highest memory of a read, of the frame", "×", [memory], at_most=MEMORY_OF_FRAMES),
        Figure("bars alone, over one connection", "× of read_bars", _divide(seconds["without health"], plain)),
        Figure("as a polars frame", "× of read_bars", _divide(seconds["polars"], plain)),
        Figure("three columns", "× of read_bars", _divide(seconds["close only"], plain)),
        Figure("adjusted for splits", "× of read_bars", _divide(seconds["adjusted for splits"], plain)),
        *(
            Figure(f"{name}, of read_bars", "×", _divide(seconds[name], plain), at_most=TIMES_OF_PLAIN)
            for name in ("point_in_time", "known_at")
        ),
    ]


def _measure_day(engine: Engine, rounds: int) -> list[Figure]:
    def read(**options: Any) -> Any:
        return read_bars("S0007", DAY, DAY + timedelta(days=1), **{"settings": engine, **options}).frame

    def read_year() -> Any:
        return read_bars("S0007", FIRST, date(2026, 1, 1), settings=engine).frame

    ours = _time_in_turns(
        {"day": read, "connecting": lambda: read(settings=engine.settings), "year": read_year}, rounds
    )
    with run_sandbox(
        *("--symbols", "10", "--now", NOW.isoformat(), "--latency-ms", "0", "0", "--per-minute", "100000")
    ) as address:
        client = _make_vendor_client(address)
        theirs = _time_in_turns(
            {"day": lambda: _ask(client, DAY, DAY), "year": lambda: _ask(client, FIRST, LAST)}, max(3, rounds // 4)
        )
    return [
        Figure("one symbol's day, from an open engine", "ms", _to_ms(ours["day"]), at_most=FIRST_ROW_MS),
        Figure("… connecting to the database included", "ms", _to_ms(ours["connecting"])),
        Figure("… by the vendor's client, 5-minute rows", "ms", _to_ms(theirs["day"])),
        Figure("one symbol's year", "ms", _to_ms(ours["year"])),
        Figure("… by the vendor's client in requests of 120 days", "ms", _to_ms(theirs["year"])),
    ]


def _fill(database: Database, symbols: int, sessions: tuple[Session, ...]) -> None:
    starts = [to_datetime(at) for at in build_slot_grid(sessions, INTERVALS["30m"]).starts.tolist()]
    with database.transaction() as connection:
        connection.execute(_SYMBOLS, [symbols])
        connection.execute(_AS_OF_THEN)
        connection.execute(_BARS, [starts])
        connection.execute(_SPLITS)
        for table in ("split_reads", "dividend_reads"):
            connection.execute(_READS.format(table).encode())
    with database.transaction() as connection:
        connection.execute(_REVISE, [REVISED_SHARE])
    for table in ("market_data", "market_symbols", "backfill.splits"):
        with database.transaction() as connection:
            connection.execute(f"ANALYZE {table}".encode())


def _count_symbols(engine: Engine) -> int:
    with engine.database.transaction() as connection:
        return len(list_symbols(connection, "US"))


def _read_with_pandas(url: str) -> pd.DataFrame:
    parts = conninfo.conninfo_to_dict(url)
    address = URL.create(
        "postgresql+psycopg2",
        username=str(parts["user"]),
        database=str(parts["dbname"]),
        query={"host": str(parts["host"]), "port": str(parts.get("port", 5432))},
    )
    engine = create_engine(address)
    try:
        with engine.connect() as connection:
            values = {"first": FIRST, "after": date(2026, 1, 1)}
            return pd.read_sql(text(_SAME_ROWS), connection, params=values)
    finally:
        engine.dispose()


def _read_without_health(engine: Engine) -> Any:
    grid = build_slot_grid(list_sessions(US, FIRST, LAST), INTERVALS["30m"])
    with engine.database.snapshot() as connection:
        return read_bar_table(connection, list_symbols(connection, "US"), grid)


def _make_vendor_client(address: str) -> Any:
    from eodhd import APIClient
    from eodhd.APIs.BaseAPI import BaseAPI
    from rich.console import Console

    def set_base_url(self: Any) -> None:
        self._api_url = address
        self.console = Console()

    BaseAPI.__init__ = set_base_url  # type: ignore[method-assign]  # the original sets the vendor's for every call
    return APIClient(_KEY)


def _ask(client: Any, first: date, last: date) -> list[pd.DataFrame]:
    """The frames of as many requests as the range takes."""
    begin, end = (datetime.combine(day, datetime.min.time(), UTC) for day in (first, last + timedelta(days=1)))
    frames = []
    while begin < end:
        until = min(end, begin + timedelta(days=_DAYS_OF_A_REQUEST))
        rows = client.get_intraday_historical_data(
            SANDBOX_TICKER, "5m", int(begin.timestamp()), int(until.timestamp()) - 1
        )
        frames.append(pd.DataFrame(rows))
        begin = until
    assert sum(map(len, frames)) > 0
    return frames


def _time_in_turns(reads: dict[str, Read], rounds: int) -> dict[str, list[float]]:
    """The seconds of each read but the first, which warms caches up."""
    seconds: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(rounds + 1):
        for name, read in reads.items():
            gc.collect()
            began = time.perf_counter()
            found = read()
            seconds[name].append(time.perf_counter() - began)
            assert len(found), name
            del found
    return {name: samples[1:] for name, samples in seconds.items()}


def _measure_memory(read: Read) -> float:
    """The highest memory of this process during a read, beyond that before, as a multiple of the frame."""
    read()  # loads modules and caches
    gc.collect()
    process, highest, is_done = psutil.Process(), [0], threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not is_done.wait(0.002):
            highest[0] = max(highest[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    frame = read()
    is_done.set()
    watcher.join()
    return float((highest[0] - before) / frame.memory_usage(deep=True).sum())


def _divide(seconds: list[float], others: list[float]) -> list[float]:
    return [some / other for some, other in zip(seconds, others, strict=True)]


def _to_ms(seconds: list[float]) -> list[float]:
    return [1000 * each for each in seconds]
