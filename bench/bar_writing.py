"""Writing bars in batches as the engine does: new ones, unchanged ones, and both in a table of the DGAS form.

Compared with the baselines' methods: one upsert a bar, and pandas' ``to_sql``. Rates by processor time leave out
waiting for the disk and other work on the machine.
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

from backfill_assets.backfill.fetch.batch_writer import WRITE_BATCH_SIZE
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.columns import Columns
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.bars.bar_writer import WriteCounts, read_server_time, write_bars
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests.external_tables import TABLES
from bench.baselines.sequential_script import upsert_bars
from bench.figures import Figure, Section
from bench.machine import read_processor_seconds

SPAN = (date(2026, 2, 3), date(2026, 6, 2))  # 120 days: the longest span of a request
INTERVAL = INTERVALS["30m"]
TICKERS = 16  # for the baselines


def measure(*, quick: bool) -> Section:
    """Write batches of tickers over 120 days into each table, then the same bars again."""
    batches = 2 if quick else 8
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        lean, external = create_database(home, "lean", None), create_database(home, "external", TABLES)
        rates: dict[str, list[float]] = {name: [] for name in ("new", "again", "new external", "again external")}
        idle: dict[str, list[float]] = {name: [] for name in rates}
        plain, frame = [], []
        for number in range(batches):
            for name, database, verdict in (
                ("new", lean, "inserted"),
                ("new external", external, "inserted"),
                ("again", lean, "unchanged"),
                ("again external", external, "unchanged"),
            ):
                wall, processor = measure_rate(database, number, verdict)
                rates[name].append(wall)
                idle[name].append(processor)
            plain.append(_measure_upserts(start_embedded_database(home, f"upserts_{number}")))
            frame.append(_measure_to_sql(start_embedded_database(home, f"to_sql_{number}")))
        lean.close()
        external.close()
    least = dict.fromkeys((200, 70)) if quick else {rate: rate for rate in (200, 70)}
    return Section(
        f"5. Writing bars, {WRITE_BATCH_SIZE} tickers × {len(list_sessions(US, *SPAN))} sessions in a transaction",
        [
            Figure("new bars", "k/s", _to_thousands(rates["new"]), at_least=least[200]),
            Figure(
                "new bars, table of the DGAS form",
                "k/s",
                _to_thousands(rates["new external"]),
                at_least=least[70],
            ),
            Figure("unchanged bars, re-checked", "k/s", _to_thousands(rates["again"]), at_least=least[200]),
            Figure("unchanged bars, DGAS form", "k/s", _to_thousands(rates["again external"])),
            Figure("new bars, by processor time", "k/s", _to_thousands(idle["new"]), at_least=least[200]),
            Figure(
                "new bars, DGAS form, by processor time",
                "k/s",
                _to_thousands(idle["new external"]),
                at_least=least[70],
            ),
            Figure("unchanged bars, by processor time", "k/s", _to_thousands(idle["again"]), at_least=least[200]),
            Figure("one upsert a bar (sequential script), by processor time", "k/s", _to_thousands(plain)),
            Figure("to_sql, by processor time", "k/s", _to_thousands(frame)),
            Figure("new bars, faster than one upsert a bar", "×", _compute_ratios(idle["new"], plain), at_least=4),
            Figure("new bars, faster than to_sql", "×", _compute_ratios(idle["new"], frame), at_least=3.5),
        ],
    )


def make_batch(number: int, tickers: int = WRITE_BATCH_SIZE) -> pd.DataFrame:
    """Make bars of a batch of tickers in the form that ``write_bars`` takes."""
    starts = build_slot_grid(list_sessions(US, *SPAN), INTERVAL).starts
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


def create_database(home: Path, name: str, tables: str | None) -> Database:
    """A new database with 2,000 symbols; ``tables`` is SQL that creates existing tables first."""
    url = start_embedded_database(home, name)
    if tables:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(tables.encode())
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol) SELECT 'S' || i FROM generate_series(1, 2000) i")
    return database


def measure_rate(database: Database, number: int, verdict: str) -> tuple[float, float]:
    """Return bars per second of one batch, by the clock and by the processor time of this process and the server.

    All bars must be counted as ``verdict``.
    """
    bars = Columns(make_batch(number))
    began, own = time.perf_counter(), time.process_time()
    with database.transaction() as connection:
        server = psutil.Process(connection.info.backend_pid)
        before = read_processor_seconds(server)
        written = write_bars(
            connection,
            bars,
            interval=INTERVAL,
            spelling=INTERVAL.name,
            source="127.0.0.1",
            source_interval="5m",
            requested_at=read_server_time(connection),
        )
        served = read_processor_seconds(server) - before
    seconds, spent = time.perf_counter() - began, time.process_time() - own + served
    assert sum(written.counts.values(), WriteCounts()) == WriteCounts(**{verdict: len(bars)})
    return len(bars) / seconds, len(bars) / spent


def _measure_upserts(url: str) -> float:
    """Return bars per processor second of this process and the server."""
    database = Database(url)
    migrate(database)
    database.close()
    stored, own = 0, time.process_time()
    with psycopg.connect(url) as connection:
        server = psutil.Process(connection.info.backend_pid)
        for symbol_id, bars in list(make_batch(0, tickers=TICKERS).groupby("symbol_id")):
            columns = bars[["timestamp", "open", "high", "low", "close", "volume"]]
            upsert_bars(connection, int(str(symbol_id)), list(columns.itertuples(index=False, name=None)))
            connection.commit()
            stored += len(bars)
        return stored / (time.process_time() - own + read_processor_seconds(server))


def _measure_to_sql(url: str) -> float:
    """Return bars per processor second of this process and the server."""
    with psycopg.connect(url) as connection:
        engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
        stored, own = 0, time.process_time()
        for _, bars in make_batch(0, tickers=TICKERS).groupby("symbol_id"):
            stamped = bars.assign(timestamp=[datetime.fromtimestamp(at, UTC) for at in bars["timestamp"].tolist()])
            stamped.to_sql("bars", engine, if_exists="append", index=False)
            stored += len(bars)
        return stored / (
            time.process_time() - own + read_processor_seconds(psutil.Process(connection.info.backend_pid))
        )


def _to_thousands(rates: list[float]) -> list[float]:
    return [rate / 1000 for rate in rates]


def _compute_ratios(own_rates: list[float], other_rates: list[float]) -> list[float]:
    return [own / other for own, other in zip(own_rates, other_rates, strict=True)]
