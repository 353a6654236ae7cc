"""Storing bars in batches as the engine writes them: new ones, the same again, and in other people's table.

Beside it the ways of the baselines: one upsert a bar, and pandas' ``to_sql``. Rates by processor time leave out
waiting for the disk and for other work on the machine.
"""

import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import psycopg
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from backfill_assets.backfill.fetch.fetcher import WRITE_BATCH_SIZE
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.store.bars.bar_writer import WriteCounts, read_server_time, write_bars
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests.external_tables import TABLES
from bench.baselines.original import upsert
from bench.figures import Figure, Section
from bench.machine import processor_seconds

SPAN = (date(2026, 2, 3), date(2026, 6, 2))  # 120 days: the longest span of a request
INTERVAL = INTERVALS["30m"]
TICKERS = 16  # of a baseline


def measure(*, quick: bool) -> Section:
    """Batches of 64 tickers over 120 days into each table, then the same once more."""
    batches = 2 if quick else 8
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        lean, theirs = _database(home, "lean", None), _database(home, "theirs", TABLES)
        rates: dict[str, list[float]] = {name: [] for name in ("new", "again", "new theirs", "again theirs")}
        idle: dict[str, list[float]] = {name: [] for name in rates}
        plain, frame = [], []
        for number in range(batches):
            for name, database, verdict in (
                ("new", lean, "inserted"),
                ("new theirs", theirs, "inserted"),
                ("again", lean, "unchanged"),
                ("again theirs", theirs, "unchanged"),
            ):
                wall, processor = _rate(database, number, verdict)
                rates[name].append(wall)
                idle[name].append(processor)
            plain.append(_rate_of_upserts(start_embedded_database(home, f"upserts_{number}")))
            frame.append(_rate_of_to_sql(start_embedded_database(home, f"to_sql_{number}")))
        lean.close()
        theirs.close()
    least = dict.fromkeys((180, 70, 200)) if quick else {rate: rate for rate in (180, 70, 200)}
    return Section(
        f"5. Storing, {WRITE_BATCH_SIZE} tickers × {len(list_sessions('US', *SPAN))} sessions in a transaction",
        [
            Figure("new bars", "k/s", _thousands(rates["new"]), at_least=least[180]),
            Figure(
                "new bars, table of the DGAS form",
                "k/s",
                _thousands(rates["new theirs"]),
                at_least=least[70],
            ),
            Figure("unchanged bars, re-checked", "k/s", _thousands(rates["again"]), at_least=least[200]),
            Figure("unchanged bars, DGAS form", "k/s", _thousands(rates["again theirs"])),
            Figure("new bars, by processor time", "k/s", _thousands(idle["new"]), at_least=least[180]),
            Figure(
                "new bars, DGAS form, by processor time",
                "k/s",
                _thousands(idle["new theirs"]),
                at_least=least[70],
            ),
            Figure("unchanged bars, by processor time", "k/s", _thousands(idle["again"]), at_least=least[200]),
            Figure("one upsert a bar, as planned, by processor time", "k/s", _thousands(plain)),
            Figure("to_sql, by processor time", "k/s", _thousands(frame)),
            Figure("new bars, faster than one upsert a bar", "×", _times(idle["new"], plain), at_least=4),
            Figure("new bars, faster than to_sql", "×", _times(idle["new"], frame), at_least=3.5),
        ],
    )


def batch_of(number: int, tickers: int = WRITE_BATCH_SIZE) -> pd.DataFrame:
    """Made-up bars of a batch of tickers as ``write_bars`` takes them."""
    starts = build_slot_grid(list_sessions("US", *SPAN), INTERVAL).starts
    chance = np.random.default_rng(number)
    rows = tickers * len(starts)
    base = np.round(50 + 100 * chance.random(rows), 4)
    return pd.DataFrame(
        {
            "symbol_id": np.repeat(np.arange(1, tickers + 1) + number * WRITE_BATCH_SIZE, len(starts)),
            "timestamp": np.tile(starts, tickers),
            "open": base,
            "high": base + 1,
            "low": base - 1,
            "close": np.round(base + chance.random(rows) - 0.5, 4),
            "volume": chance.integers(1, 10**6, rows),
            "source_rows": 6,
            "is_final": True,
            "may_insert": True,
        }
    )


def _database(home: Path, name: str, tables: str | None) -> Database:
    url = start_embedded_database(home, name)
    if tables:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(tables.encode())
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol) SELECT 'S' || i FROM generate_series(1, 2000) i")
    return database


def _rate(database: Database, number: int, verdict: str) -> tuple[float, float]:
    """Bars a second of one batch, judged ``verdict`` all: by the clock, and by our and the server's processor."""
    bars = batch_of(number)
    began, own = time.perf_counter(), time.process_time()
    with database.transaction() as connection:
        server = psutil.Process(connection.info.backend_pid)
        before = processor_seconds(server)
        counts = write_bars(
            connection,
            bars,
            interval=INTERVAL,
            spelling=INTERVAL.name,
            source="127.0.0.1",
            source_interval="5m",
            requested_at=read_server_time(connection),
        )
        served = processor_seconds(server) - before
    seconds, spent = time.perf_counter() - began, time.process_time() - own + served
    assert sum(counts.values(), WriteCounts()) == WriteCounts(**{verdict: len(bars)})
    return len(bars) / seconds, len(bars) / spent


def _rate_of_upserts(url: str) -> float:
    """Bars a second of processor, ours and the server's."""
    database = Database(url)
    migrate(database)
    database.close()
    stored, own = 0, time.process_time()
    with psycopg.connect(url) as connection:
        server = psutil.Process(connection.info.backend_pid)
        for symbol_id, bars in list(batch_of(0, tickers=TICKERS).groupby("symbol_id")):
            columns = bars[["timestamp", "open", "high", "low", "close", "volume"]]
            upsert(connection, int(str(symbol_id)), list(columns.itertuples(index=False, name=None)))
            connection.commit()
            stored += len(bars)
        return stored / (time.process_time() - own + processor_seconds(server))


def _rate_of_to_sql(url: str) -> float:
    """Bars a second of processor, ours and the server's."""
    with psycopg.connect(url) as connection:
        engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
        stored, own = 0, time.process_time()
        for _, bars in batch_of(0, tickers=TICKERS).groupby("symbol_id"):
            stamped = bars.assign(timestamp=[datetime.fromtimestamp(at, UTC) for at in bars["timestamp"].tolist()])
            stamped.to_sql("bars", engine, if_exists="append", index=False)
            stored += len(bars)
        return stored / (time.process_time() - own + processor_seconds(psutil.Process(connection.info.backend_pid)))


def _thousands(rates: list[float]) -> list[float]:
    return [rate / 1000 for rate in rates]


def _times(ours: list[float], others: list[float]) -> list[float]:
    return [mine / other for mine, other in zip(ours, others, strict=True)]
