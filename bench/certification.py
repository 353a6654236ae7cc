"""How long certificates take: the first of 90 sessions, a look at which nothing changed, and one session's hash."""

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backfill_assets.backfill.engine import Engine
from backfill_assets.certification.certify import certify_due
from backfill_assets.certification.comparison import hash_bars
from backfill_assets.certification.verification import verify_newest
from backfill_assets.config.settings import load_settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session, list_overlapping_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.bars.certified_bars import read_certified_sessions
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import list_symbols
from bench.environment import TOKEN
from bench.figures import Figure, Section

NOW = datetime(2026, 6, 3, 13, 0, tzinfo=UTC)  # before Wednesday's session
ROUNDS = 5
SYMBOLS, SESSIONS = 500, 90
_SYMBOLS = "INSERT INTO market_symbols (symbol) SELECT 'S' || lpad(i::text, 5, '0') FROM generate_series(1, %s) i"
_BARS = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
SELECT symbol_id, '30m', at, p, p + 1, p - 1, p + 0.5, 1000 + n, '127.0.0.1', '5m', 6, true, at + interval '1 day'
FROM market_symbols, unnest(%(starts)s::timestamptz[]) WITH ORDINALITY AS t (at, n),
     LATERAL (SELECT round((100 + 50 * sin(symbol_id * n))::numeric, 4) AS p) price
ORDER BY at::date, symbol_id, at  -- in the order of arrival
"""
_EVIDENCE = """
INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day, requested_at,
                                       source_rows, data_until, is_published, published_at, not_returned)
SELECT symbol_id, '30m', '5m', d, %(now)s::timestamptz - interval '20 h', 79, d + interval '20 h', true,
       d + interval '26 h', '{}'
FROM market_symbols CROSS JOIN unnest(%(days)s::date[]) AS d ORDER BY d, symbol_id
"""
_REVISE = """
UPDATE market_data SET close_price = close_price + 0.25, fetched_at = clock_timestamp()
WHERE symbol_id = (SELECT min(symbol_id) FROM market_symbols) AND timestamp::date = %(day)s
"""
_NOTE_REQUEST = "UPDATE backfill.session_evidence SET request_count = request_count + 1 WHERE session_day = %(day)s"


def measure(*, quick: bool) -> Section:  # noqa: ARG001 - has only one size
    """Measure looks at 90 sessions of 500 symbols."""
    days = list_overlapping_sessions(US, NOW - timedelta(days=2 * SESSIONS), NOW)[-SESSIONS:]
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        database = Database(start_embedded_database(Path(folder), "certificates"))
        migrate(database)
        _fill_store(database, days)
        engine = Engine(database, load_settings(as_of=NOW, token=TOKEN, partition_days=SESSIONS))
        figures = [
            Figure(f"first certificates of {SESSIONS} sessions", "s", [_time(lambda: certify_due(engine))]),
            Figure("nothing changed", "ms", [1000 * _time(lambda: certify_due(engine)) for _ in range(ROUNDS)]),
            Figure("a session revised", "s", [_time_revision(engine, days[-n]) for n in range(1, ROUNDS + 1)]),
            Figure("requested, nothing new", "s", [_time_request(engine, days[-1]) for _ in range(ROUNDS)]),
            Figure("hash of one session", "ms", [1000 * _time_hash(database, days[-n]) for n in range(1, ROUNDS + 1)]),
            Figure("all verified", "s", [_time(lambda: verify_newest(engine, "US", INTERVALS["30m"]))]),
        ]
        database.close()
    return Section(f"13. Certificates, {SYMBOLS:,} symbols × {SESSIONS} sessions", figures)


def _fill_store(database: Database, days: tuple[Session, ...]) -> None:
    grid = build_slot_grid(days, INTERVALS["30m"])
    with database.transaction() as connection:
        connection.execute(_SYMBOLS, [SYMBOLS])
        connection.execute(_BARS, {"starts": [datetime.fromtimestamp(at, UTC) for at in grid.starts.tolist()]})
        connection.execute(_EVIDENCE, {"now": NOW, "days": [s.day for s in days]})
    for table in ("market_data", "backfill.session_evidence", "market_symbols"):
        with database.transaction() as connection:
            connection.execute(f"ANALYZE {table}".encode())


def _time(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _time_revision(engine: Engine, session: Session) -> float:
    with engine.database.transaction() as connection:
        connection.execute(_REVISE, {"day": session.day})
        connection.execute(_NOTE_REQUEST, {"day": session.day})
    written = []
    seconds = _time(lambda: written.extend(certify_due(engine).written))
    assert len(written) == 1
    return seconds


def _time_request(engine: Engine, session: Session) -> float:
    with engine.database.transaction() as connection:
        connection.execute(_NOTE_REQUEST, {"day": session.day})
    return _time(lambda: certify_due(engine))


def _time_hash(database: Database, session: Session) -> float:
    """Without the query."""
    with database.transaction() as connection:
        tickers = {s.symbol_id: str(s.ticker) for s in list_symbols(connection, "US")}
        stored = read_certified_sessions(connection, tickers, build_slot_grid([session], INTERVALS["30m"]))
    return _time(lambda: hash_bars(stored))
