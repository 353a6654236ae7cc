"""A tick of the sensor that heals what is no partition, 5,000 symbols and 250 sessions (``python -m bench healing``).

Each tick looks at a block of symbols. A fifth of the symbols has no older session, the others have all. Nothing is
requested: the time is that of measuring, planning and counting the calls that are left over.
"""

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import psutil
import psycopg

from backfill_assets.backfill.due_work import build_watched_partitions_job, find_due_work
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.older_sessions import OlderSessions, find_older_sessions, find_older_work
from backfill_assets.config.settings import load_settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from bench.environment import TOKEN, set_unlogged
from bench.figures import Figure, Section
from bench.gap_detection import NOW
from bench.machine import read_processor_seconds

SESSIONS = 250
MARK_SECONDS = 10

_SYMBOLS = "INSERT INTO market_symbols (symbol) SELECT 'S' || lpad(i::text, 5, '0') FROM generate_series(1, %s) i"
_BARS = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
SELECT symbol_id, '30m', at, 100, 101, 99, 100.5, 1000, '127.0.0.1', '5m', 6, true, at + interval '1 day'
FROM market_symbols CROSS JOIN unnest(%s::timestamptz[]) AS t (at)
WHERE symbol_id <= %s OR at >= %s ORDER BY symbol_id, at
"""
_EVIDENCE = """
INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day, requested_at,
                                       source_rows, data_until, is_published, published_at, not_returned)
SELECT symbol_id, '30m', '5m', d, d + interval '30 h', 79, d + interval '20 h', true, d + interval '30 h', '{}'
FROM market_symbols CROSS JOIN unnest(%s::date[]) d WHERE symbol_id <= %s OR d >= %s ORDER BY d, symbol_id
"""


def measure(*, quick: bool) -> Section:
    """Measure ticks over blocks that are complete and blocks without any older session, and one without the setting."""
    count = 500 if quick else 5000
    sessions = list_sessions(US, date(2025, 1, 2), date(2026, 6, 2))[-SESSIONS:]
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        database = Database(start_embedded_database(Path(folder), "healing"))
        migrate(database)
        partitions = min(90, 100_000 // count)
        _fill(database.url, count, sessions, sessions[-partitions])
        engine = Engine(database, load_settings(as_of=NOW, token=TOKEN, heal_sessions=SESSIONS))
        retained = build_watched_partitions_job(engine, US, "30m")
        older = find_older_sessions(engine, retained)
        assert older is not None
        complete = [_time(database, lambda: _look(engine, older, "")) for _ in range(5)]
        absent = [_time(database, lambda: _look(engine, older, f"S{count * 9 // 10:05d}.US")) for _ in range(5)]
        unset = Engine(database, load_settings(as_of=NOW, token=TOKEN))
        idle = [_time(database, lambda: _look_without_setting(unset)) for _ in range(5)]
        gap_sensor = [_time(database, lambda: find_due_work(engine, US, "30m")) for _ in range(5)]
        database.close()
    return Section(
        f"A tick of healing_sensor, {count:,} symbols × {SESSIONS} sessions",
        [
            Figure("a block that is complete", "s", complete, at_most=MARK_SECONDS),
            Figure("a block without older sessions", "s", absent, at_most=MARK_SECONDS),
            Figure("without BACKFILL_HEAL_SESSIONS", "s", idle),
            Figure("the gap sensor, for comparison", "s", gap_sensor),
        ],
        ["By processor time, the server's included."],
    )


def _look(engine: Engine, older: OlderSessions, after: str) -> None:
    find_older_sessions(engine, build_watched_partitions_job(engine, US, "30m"))
    find_older_work(engine, older, after, may_spend_spare=True)


def _look_without_setting(engine: Engine) -> None:
    assert find_older_sessions(engine, build_watched_partitions_job(engine, US, "30m")) is None


def _fill(url: str, count: int, sessions: tuple[Session, ...], first_partition: Session) -> None:
    """Store bars and evidence of all sessions for four fifths of the symbols, of the partitions for the others."""
    starts = [datetime.fromtimestamp(at, UTC) for at in build_slot_grid(sessions, INTERVALS["30m"]).starts.tolist()]
    full = count * 4 // 5
    with psycopg.connect(url, autocommit=True) as connection:
        set_unlogged(connection, ("market_data", "backfill.session_evidence"))
        connection.execute(_SYMBOLS, [count])
        connection.execute(_BARS, [starts, full, first_partition.open])
        connection.execute(_EVIDENCE, [[s.day for s in sessions], full, first_partition.day])
        connection.execute("VACUUM ANALYZE")


def _time(database: Database, work: Callable[[], object]) -> float:
    """Processor seconds of the work and of the server's processes that serve this database."""
    with database.transaction() as connection:
        server = psutil.Process(connection.info.backend_pid).parent()
    assert server is not None
    before, own = _read_server_seconds(server), time.process_time()
    work()
    return time.process_time() - own + _read_server_seconds(server) - before


def _read_server_seconds(server: psutil.Process) -> float:
    return sum(read_processor_seconds(child) for child in server.children())
