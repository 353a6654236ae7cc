"""Measuring the coverage of the whole store, which a sensor tick does: 5,000 tickers and 90 sessions.

The database has 13 bars per ticker and session, the evidence of their requests, a few gaps, a few thin tickers and a
newest session that is not published. ``Engine.measure`` is timed.
"""

import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.config.settings import load_settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session, list_overlapping_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.windows import Window, limit_partition_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import list_symbols
from bench.environment import TOKEN
from bench.figures import Figure, Section

NOW = datetime(2026, 6, 3, 23, 0, tzinfo=UTC)  # 19:00 in New York: today is askable and not published yet
ROUNDS = 5
SYMBOLS, SESSIONS = 5000, 90

_SYMBOLS = "INSERT INTO market_symbols (symbol) SELECT 'S' || lpad(i::text, 5, '0') FROM generate_series(1, %s) i"
_BARS = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
SELECT symbol_id, '30m', at, 100, 101, 99, 100.5, 1000, '127.0.0.1', '5m', 6, true, at + interval '1 day'
FROM market_symbols, unnest(%(starts)s::timestamptz[]) WITH ORDINALITY AS t (at, n)
WHERE NOT (symbol_id %% 100 = 7 AND n %% 97 = 0)             -- one percent of the tickers have gaps,
  AND NOT (symbol_id %% 50 = 3 AND hashint8(n * 7919 + symbol_id) %% 4 = 0)  -- two percent are thin
ORDER BY at::date, symbol_id, at  -- in the order of arrival
"""
_EVIDENCE = """
INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day, requested_at,
                                       no_new_data_since, source_rows, data_until, is_published, published_at,
                                       not_returned)
SELECT symbol_id, '30m', '5m', d, %(now)s::timestamptz - interval '20 h',
       CASE WHEN w IS NOT NULL THEN d + interval '22 h' END, 79, d + interval '20 h', true, d + interval '26 h',
       coalesce(w, '{}')
FROM market_symbols CROSS JOIN unnest(%(days)s::date[], %(opens)s::timestamptz[]) AS s (d, opened)
CROSS JOIN LATERAL (
    SELECT range_agg(int4range(k, k + 1)) FROM generate_series(0, 12) k
    WHERE symbol_id %% 50 = 3 AND NOT EXISTS (
        SELECT FROM market_data m WHERE m.symbol_id = market_symbols.symbol_id AND m.interval_type = '30m'
           AND m.timestamp = opened + k * interval '30 min')
) h (w)
ORDER BY d, symbol_id
"""


def fill_store(database: Database, symbols: int, sessions: tuple[Session, ...]) -> None:
    """Store bars and evidence of all sessions but the newest."""
    past = sessions[:-1]
    grid = build_slot_grid(past, INTERVALS["30m"])
    with database.transaction() as connection:
        connection.execute(_SYMBOLS, [symbols])
        connection.execute(_BARS, {"starts": [datetime.fromtimestamp(at, UTC) for at in grid.starts.tolist()]})
        connection.execute(_EVIDENCE, {"now": NOW, "days": [s.day for s in past], "opens": [s.open for s in past]})
    for table in ("market_data", "backfill.session_evidence", "market_symbols"):
        with database.transaction() as connection:
            connection.execute(f"ANALYZE {table}".encode())


def measure(*, quick: bool) -> Section:  # noqa: ARG001 - has only one size
    """Measure the sessions that are retained for so many symbols, and all sessions."""
    days = list_overlapping_sessions(US, NOW - timedelta(days=2 * SESSIONS), NOW)[-SESSIONS:]
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        database = Database(start_embedded_database(Path(folder), "survey"))
        migrate(database)
        fill_store(database, SYMBOLS, days)
        retained = time_measurements(database, days[-limit_partition_sessions(SESSIONS, SYMBOLS) :])
        everything = time_measurements(database, days)
        database.close()
    return Section(f"Coverage of the whole store, {SYMBOLS:,} symbols", [retained, everything])


def time_measurements(database: Database, days: tuple[Session, ...]) -> Figure:
    """Return the seconds of each measurement but the first."""
    engine = Engine(database, load_settings(as_of=NOW, token=TOKEN))
    with database.transaction() as connection:
        symbols = tuple(list_symbols(connection, "US"))
    job = BackfillJob(Window(US, days, "bench"), symbols, INTERVALS["30m"], INTERVALS["5m"])
    seconds = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        coverage = engine.measure(job)
        seconds.append(time.perf_counter() - began)
    return Figure(f"{len(days)} sessions, {len(symbols) * coverage.grid.size / 1e6:.2f} M slots", "s", seconds[1:])
