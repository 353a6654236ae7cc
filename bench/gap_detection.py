"""Gap detection in a large store: its time, and that the time depends on the window and not on the history.

The store has a year of 5,000 symbols, a tenth of them with gaps; then also the year before; then gaps in all symbols.
``EXPLAIN ANALYZE`` of the queries shows the work of the database. The sequential script's report, which reads all rows
and counts nights and weekends as missing, runs over the same rows.
"""

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import psycopg

from backfill_assets.config.settings import load_settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.store.census.upkeep import keep_census
from backfill_assets.store.census.verification import verify_census
from backfill_assets.store.coverage import measure_coverage
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import list_symbols
from bench.baselines.sequential_script import REPORT_QUERY
from bench.environment import set_unlogged
from bench.figures import Figure, Section
from bench.machine import read_processor_seconds

NOW = datetime(2026, 6, 3, 14, 0, tzinfo=UTC)
YEAR, YEAR_BEFORE = (date(2025, 6, 9), date(2026, 6, 2)), (date(2024, 6, 10), date(2025, 6, 6))
PUBLISHED = "22.7 M symbol-sessions in 152 s end to end, 18.5 s in the server"
SOURCE = INTERVALS["5m"]
BY_PROCESSOR = "by processor time"

_SYMBOLS = "INSERT INTO market_symbols (symbol) SELECT 'S' || lpad(i::text, 5, '0') FROM generate_series(1, %s) i"
_BARS = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
SELECT symbol_id, '30m', at, 100, 101, 99, 100.5, 1000, '127.0.0.1', '5m', 6, true, at + interval '1 day'
FROM market_symbols CROSS JOIN unnest(%s::timestamptz[]) WITH ORDINALITY AS t (at, n)
WHERE NOT (symbol_id %% 10 = 3 AND hashint8(n * 7919 + symbol_id) %% 50 = 0) ORDER BY symbol_id, at
"""
_EVIDENCE = """
INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day, requested_at,
                                       source_rows, data_until, is_published, published_at, not_returned)
SELECT symbol_id, '30m', '5m', d, d + interval '30 h', 79, d + interval '20 h', true, d + interval '30 h', '{}'
FROM market_symbols CROSS JOIN unnest(%s::date[]) d ORDER BY d, symbol_id
"""
_DAYS = """
INSERT INTO backfill.daily_prices (symbol_id, day, close_price, volume)
SELECT symbol_id, d, 100.5, 26000 FROM market_symbols CROSS JOIN unnest(%s::date[]) d ORDER BY d, symbol_id
"""
_GAPS_IN_ALL = """
DELETE FROM market_data
WHERE timestamp >= %s AND hashint8(extract(epoch FROM timestamp)::bigint + symbol_id) %% 50 = 0
"""
_EXPLAIN = b"EXPLAIN (ANALYZE, COSTS OFF, BUFFERS OFF, TIMING OFF, SUMMARY ON) "
_TABLES = ("market_data", "backfill.session_evidence", "backfill.daily_prices")


def measure(*, quick: bool) -> Section:
    """Measure with a year of bars, then with two years, then with gaps in all symbols."""
    count = 500 if quick else 5000
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        database = Database(start_embedded_database(Path(folder), "detection"))
        migrate(database)
        with psycopg.connect(database.url, autocommit=True) as connection:
            set_unlogged(connection, _TABLES)
            connection.execute(_SYMBOLS, [count])
        year = list_sessions(US, *YEAR)
        bars = _fill(database.url, year, has_triggers=False)  # as before the first count
        recent, whole = build_slot_grid(year[-2:], INTERVALS["30m"]), build_slot_grid(year, INTERVALS["30m"])
        store = Store(database)
        uncounted_days = _time_rounds(lambda: store.measure(recent), 9)
        uncounted = _time_rounds(lambda: store.measure(whole), 3)
        missing = store.count_missing(whole)
        _count_census(database, blocks=count)
        days = _time_rounds(lambda: store.measure(recent), 9)
        idle = [store.measure_processor_seconds(recent) for _ in range(9)]
        in_server, plan = _explain(database.url, store, recent)
        slots = _time_rounds(lambda: store.measure(whole), 3)
        assert store.count_missing(whole) == missing
        recount = _time_rounds(lambda: [one for block in verify_census(database) for one in block], 1)
        report = [_time_report(database.url) for _ in range(1 if quick else 3)]
        assert store.count_missing(recent) == _count_absent(database.url, recent, count)
        twice = bars + _fill(database.url, list_sessions(US, *YEAR_BEFORE))
        _count_census(database, blocks=0)  # as every run does at its end
        doubled = [store.measure_processor_seconds(recent) for _ in range(9)]
        with psycopg.connect(database.url) as connection:
            connection.execute(_GAPS_IN_ALL, [year[0].open])
        hard, hard_year = _time_rounds(lambda: store.measure(recent), 5), _time_rounds(lambda: store.measure(whole), 1)
        assert store.count_missing(recent) == _count_absent(database.url, recent, count)
        database.close()
    pace = [count * len(year) / s for s in slots]
    ms = _to_milliseconds(days)
    full, least = not quick, 3 if quick else 10
    return Section(
        f"4. Gap detection, {count:,} symbols over {bars / 1e6:.1f} M bars",
        [
            Figure("the last 2 sessions", "ms", ms, at_most=80 if full else None),
            Figure(f"… {BY_PROCESSOR}", "ms", _to_milliseconds(idle), at_most=80 if full else None),
            Figure("… its queries, in the server", "ms", [in_server]),
            Figure(
                "… from the bars, as long as nothing is counted",
                "ms",
                _to_milliseconds(uncounted_days),
                at_most=80 if full else None,
            ),
            Figure(f"all {len(year)} sessions, slot by slot", "s", slots, at_most=1.5 if full else None),
            Figure("… symbol-sessions a second", "k/s", [p / 1000 for p in pace]),
            Figure("… from the bars, as long as nothing is counted", "s", uncounted, at_most=3 if full else None),
            Figure("a count of all bars, which it must equal", "s", recount),
            Figure(
                f"the last 2 sessions over {twice / 1e6:.1f} M bars, {BY_PROCESSOR}", "ms", _to_milliseconds(doubled)
            ),
            Figure("the last 2 sessions, a gap in nearly all symbols", "ms", _to_milliseconds(hard)),
            Figure(f"all {len(year)} sessions, gaps in all symbols", "s", hard_year),
            Figure("time with twice the history", "×", [min(doubled) / min(idle)], at_most=1.10),
            Figure(f"the sequential script's report, {BY_PROCESSOR}", "ms", _to_milliseconds(report)),
            Figure("faster than the sequential script's report", "×", [median(report) / median(idle)], at_least=least),
        ],
        [f"Best published figure found: {PUBLISHED}.", *(["```text\n" + plan + "\n```"] if full else [])],
    )


class Store:
    """The universe, measured as the engine does."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.transaction() as connection:
            self.symbols: list[Symbol] = list_symbols(connection, "US")
        self.rules = load_settings().build_gap_rules(US, SOURCE)

    def measure(self, grid: SlotGrid, connection: Any = None) -> Coverage:
        """Measure the state of every slot."""
        if connection is not None:
            return measure_coverage(connection, self.symbols, grid, SOURCE, self.rules, NOW)
        with self.database.transaction() as own:
            return measure_coverage(own, self.symbols, grid, SOURCE, self.rules, NOW)

    def measure_processor_seconds(self, grid: SlotGrid, rounds: int = 5) -> float:
        """Measure the processor seconds per round over several rounds; the server's clock has steps of 10 ms."""
        with self.database.transaction() as connection:
            server = psutil.Process(connection.info.backend_pid)
            before, own = read_processor_seconds(server), time.process_time()
            for _ in range(rounds):
                self.measure(grid, connection)
            return (time.process_time() - own + read_processor_seconds(server) - before) / rounds

    def count_missing(self, grid: SlotGrid) -> int:
        """Count missing slots."""
        return int(self.measure(grid).missing.sum())


class _Recording(psycopg.Cursor[Any]):
    """Records the queries that are sent."""

    sent: list[tuple[Any, Any]] = []  # noqa: RUF012 - emptied before each use

    def execute(self, query: Any, params: Any = None, **more: Any) -> Any:
        self.sent.append((query, params))
        return super().execute(query, params, **more)


def _explain(url: str, store: Store, grid: SlotGrid) -> tuple[float, str]:
    """Return the milliseconds of the queries in the server, and the plan of the slowest."""
    _Recording.sent.clear()
    with psycopg.connect(url, cursor_factory=_Recording, prepare_threshold=None) as connection:
        store.measure(grid, connection)
        plans = list(_iter_plans(connection, list(_Recording.sent)))
    return sum(milliseconds for milliseconds, _ in plans), max(plans)[1]


def _iter_plans(connection: psycopg.Connection[Any], sent: list[tuple[Any, Any]]) -> Iterator[tuple[float, str]]:
    """Send all statements again, queries with ``EXPLAIN ANALYZE`` and settings unchanged."""
    for query, params in sent:
        text = query if isinstance(query, bytes) else str(query).encode()
        cursor = psycopg.Cursor(connection)
        if not text.lstrip().upper().startswith((b"SELECT", b"WITH")):
            cursor.execute(text, params)
            continue
        lines = [row[0] for row in cursor.execute(_EXPLAIN + text, params)]
        times = re.findall(r"(?:Planning|Execution) Time: ([\d.]+)", "\n".join(lines))
        yield sum(float(found) for found in times), "\n".join(line[:140] for line in lines)


def _count_census(database: Database, blocks: int) -> None:
    keep_census(database, blocks=blocks)
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE) backfill.census_deltas, backfill.census_months")


def _fill(url: str, sessions: tuple[Session, ...], *, has_triggers: bool = True) -> int:
    """Store bars and evidence of sessions and analyze the tables; return the number of bars."""
    starts = [datetime.fromtimestamp(at, UTC) for at in build_slot_grid(sessions, INTERVALS["30m"]).starts.tolist()]
    with psycopg.connect(url, autocommit=True) as connection:
        if not has_triggers:
            connection.execute("SET session_replication_role = replica")
        bars = connection.execute(_BARS, [starts]).rowcount
        for statement in (_EVIDENCE, _DAYS):
            connection.execute(statement.encode(), [[s.day for s in sessions]])
        for table in _TABLES:
            connection.execute(f"VACUUM (ANALYZE) {table}")
    return bars


def _count_absent(url: str, grid: SlotGrid, symbols: int) -> int:
    """Count missing bars with a plain query."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM market_data WHERE timestamp BETWEEN to_timestamp(%s) AND to_timestamp(%s)",
            [int(grid.starts[0]), int(grid.starts[-1])],
        ).fetchone()
    return symbols * grid.size - (row[0] if row else 0)


def _time_report(url: str) -> float:
    """Return the processor seconds of the report."""
    with psycopg.connect(url) as connection:
        server = psutil.Process(connection.info.backend_pid)
        before, own = read_processor_seconds(server), time.process_time()
        connection.execute(REPORT_QUERY.encode()).fetchall()
        return time.process_time() - own + read_processor_seconds(server) - before


def _to_milliseconds(seconds: list[float]) -> list[float]:
    return [s * 1000 for s in seconds]


def _time_rounds(work: Callable[[], object], rounds: int) -> list[float]:
    """Return the seconds of each round, after one round to warm up."""
    work()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times
