"""Seconds and memory of each command with 5,000 tickers and 16 million bars (``python -m bench.large_store``).

Two whole sessions are missing for every ticker, so the run makes 5,000 requests. There is no request limit, because
waiting for it would hide the program's own time.
"""

import json
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests.embedded_server import release_embedded_server
from bench.environment import NOW, TimedCommand, build_symbols, run_command, run_sandbox

SYMBOLS, SESSIONS = 5000, 247
LIMIT_MB = 600
NO_LIMIT = {"EODHD_REQUESTS_PER_MINUTE": "100000", "EODHD_DAILY_CALLS": "1000000"}
COMMANDS = (
    *("report --format json", "report --start 2025-06-02 --end 2026-06-02", "status", "plan", "verify --format json"),
    *("run --quiet --format json", "report"),
)

BARS = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
SELECT symbol_id, '30m', stamp, 100, 101, 99, 100.5, 1000, '127.0.0.1', '5m', 6, true, now()
FROM generate_series(1, %s) AS symbol_id, unnest(%s::timestamptz[]) AS stamp ORDER BY symbol_id, stamp
"""
EVIDENCE = """
INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day, requested_at,
                                       request_count, no_new_data_since, source_rows, data_until, is_published,
                                       published_at, not_returned)
SELECT symbol_id, '30m', '5m', day, day + interval '28 hours', 1, NULL, 79, day + interval '20 hours', true,
       day + interval '28 hours', '{}'
FROM generate_series(1, %s) AS symbol_id, unnest(%s::date[]) AS day
"""


def main() -> None:
    """Print a line per command, and whether the peak memory is within the limit."""
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        began = time.perf_counter()
        bars = fill_store(start_embedded_database(home, "bars_sandbox"))
        print(f"{bars:,} bars of {SYMBOLS:,} tickers stored in {time.perf_counter() - began:.0f} s")
        with run_sandbox(
            "--symbols", "10000", "--now", NOW, "--latency-ms", "5", "20", "--per-minute", "100000"
        ) as url:
            timed = {"sensor tick": run_command(home, url, module="bench.sensor_tick", **NO_LIMIT)}
            timed |= {command: run_command(home, url, *command.split(), **NO_LIMIT) for command in COMMANDS}
        release_embedded_server(home)
    for command, done in timed.items():
        print(format_result(command, done))
    worst = max(done.megabytes for done in timed.values())
    print(f"peak memory {worst:.0f} MB of {LIMIT_MB}: {'within' if worst < LIMIT_MB else 'OVER'} the limit")


def format_result(command: str, done: TimedCommand) -> str:
    """Format the figures of one command, for a run also its requests and slots."""
    text = f"{command:<42} exit {done.code}  {done.seconds:6.1f} s  {done.megabytes:4.0f} MB"
    if command.startswith("run"):
        result = json.loads(done.out)
        text += f"  {result['requests']:,} requests, {result['stored']:,} of {result['planned']:,} slots stored"
    return text


def fill_store(url: str) -> int:
    """Store history up to the last session before the two missing ones; return the number of bars."""
    database = Database(url)
    migrate(database)
    sessions = list_sessions(US, date(2025, 1, 2), date(2026, 5, 29))[-SESSIONS:]
    stamps = [datetime.fromtimestamp(at, UTC) for at in build_slot_grid(sessions, INTERVALS["30m"]).starts.tolist()]
    symbols = build_symbols(2 * SYMBOLS)[:SYMBOLS]
    with psycopg.connect(url, autocommit=True) as connection:
        insert = "INSERT INTO market_symbols (symbol_id, symbol) SELECT row, symbol FROM unnest(%s::text[])"
        connection.execute(f"{insert} WITH ORDINALITY AS u (symbol, row)".encode(), [symbols])
        connection.execute(
            "ALTER TABLE market_data DROP CONSTRAINT market_data_pkey"
        )  # faster than an index update per row
        stored = connection.execute(BARS.encode(), [SYMBOLS, stamps]).rowcount
        connection.execute("ALTER TABLE market_data ADD PRIMARY KEY (symbol_id, interval_type, timestamp)")
        connection.execute(EVIDENCE.encode(), [SYMBOLS, [s.day for s in sessions]])
        connection.execute("VACUUM ANALYZE")
    database.close()
    return stored


if __name__ == "__main__":
    main()
