"""One pass of metrics over 5,000 symbols and two sessions, as a scrape makes it (``python -m bench metrics``).

Two states of the store: both sessions published (the night and the morning), and the newest one absent for every
symbol, as from its open until the vendor publishes it. The time of the statements is measured beside that of the whole
pass, and beside a bare count of the same rows: the least that a statement over them can take. Times are the best of
many rounds, and processor times, so that other programs of the machine count little.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import load_settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session, list_overlapping_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.metrics.reader import format_metrics, read_families
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from bench.coverage import NOW, SYMBOLS, fill_store
from bench.environment import TOKEN
from bench.figures import Figure, Section

COMPLETE = datetime(2026, 6, 3, 13, 0, tzinfo=UTC)  # 09:00 in New York, before the open: both sessions are there
SESSIONS = 20  # stored; so many tell which symbols are thin
ROUNDS, QUICK_ROUNDS = 60, 10
MARK_SECONDS = 0.1
# As the pass counts, but without a look at rows: an index has all of it.
_COUNT = """
SELECT count(*) FROM market_data d WHERE d.symbol_id = ANY ((SELECT array_agg(symbol_id) FROM market_symbols)::int[])
   AND d.interval_type = ANY (%(spellings)s) AND d.timestamp >= %(first)s AND d.timestamp < %(after)s
"""


@dataclass
class Spent:
    """Seconds that statements took: by the clock, and of the server's processor."""

    wall: float = 0.0
    processor: float = 0.0


def measure(*, quick: bool) -> Section:
    """Measure passes over a store with the evidence of 20 sessions, of which two are looked at."""
    days = list_overlapping_sessions(US, NOW - timedelta(days=2 * SESSIONS), NOW)[-SESSIONS:]
    rounds = QUICK_ROUNDS if quick else ROUNDS
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        database = Database(start_embedded_database(Path(folder), "survey"))
        migrate(database)
        fill_store(database, SYMBOLS, days)
        vacuum(database)
        figures = [
            *measure_state(database, "both sessions published", COMPLETE, days[-3:-1], rounds),
            *measure_state(database, "the newest absent for all", NOW, days[-2:], rounds),
        ]
        database.close()
    return Section(f"One pass of metrics, {SYMBOLS:,} symbols × 2 sessions", figures)


def vacuum(database: Database) -> None:
    """As autovacuum does in a store that has been there for a while."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("VACUUM market_data, backfill.session_evidence")


def measure_state(
    database: Database, state: str, now: datetime, sessions: tuple[Session, ...], rounds: int
) -> list[Figure]:
    """Figures of passes as of ``now``, and of counting the rows of its ``sessions``; each the best of ``rounds``."""
    engine = Engine(database, load_settings(as_of=now, token=TOKEN))
    whole, client = [], []
    statements: list[Spent] = []
    counts: list[Spent] = []
    for _ in range(rounds):
        with clock_statements() as spent:
            count_rows(database, sessions)
        counts.append(spent)
        with clock_statements() as spent:
            began, began_processor = time.perf_counter(), time.process_time()
            format_metrics(read_families(engine))
            whole.append(time.perf_counter() - began)
            client.append(time.process_time() - began_processor)
        statements.append(spent)
    server, least = (min(spent.processor for spent in of) for of in (statements, counts))
    return [
        Figure(f"statements of a pass, {state}", "s", [min(spent.wall for spent in statements)]),
        Figure("… processor time of the server", "s", [server], at_most=MARK_SECONDS),
        Figure("… relative to a bare count of the same rows", "×", [server / least]),
        Figure("… processor time of this program, text included", "s", [min(client)]),
        Figure("… both, relative to that count", "×", [(server + min(client)) / least]),
        Figure("whole pass", "s", [min(whole)]),
        Figure("bare count, processor time of the server", "s", [least]),
    ]


def count_rows(database: Database, sessions: tuple[Session, ...]) -> None:
    """Count the rows of ``sessions``, and do nothing else with them."""
    values = {"spellings": list(INTERVALS["30m"].spellings), "first": sessions[0].open, "after": sessions[-1].close}
    with database.transaction() as connection:
        connection.execute("SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off; SET LOCAL jit = off")
        connection.execute(_COUNT, values).fetchall()


@contextmanager
def clock_statements() -> Iterator[Spent]:
    """What all statements of this process take within."""
    spent = Spent()
    execute: Callable[..., Any] = psycopg.Cursor.execute

    def execute_clocked(cursor: psycopg.Cursor[Any], *arguments: Any, **options: Any) -> Any:
        backend = Path(f"/proc/{cursor.connection.info.backend_pid}/schedstat")
        began, began_processor = time.perf_counter(), _read_processor_seconds(backend)
        try:
            return execute(cursor, *arguments, **options)
        finally:
            spent.wall += time.perf_counter() - began
            spent.processor += _read_processor_seconds(backend) - began_processor

    psycopg.Cursor.execute = execute_clocked  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        psycopg.Cursor.execute = execute  # type: ignore[method-assign]


def _read_processor_seconds(statistics: Path) -> float:
    return int(statistics.read_text().split()[0]) / 1e9
