"""Is the whole store complete? The answer from the census, of 20,000 tickers over ten years.

The census is generated: each month of each ticker has exactly the bars of the calendar, but for some that lack a bar.
No bar is stored, because none is looked at.
"""

import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import psycopg

from backfill_assets.config.garbage_collection import collect_less_often
from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.expected_months import count_expected
from backfill_assets.quality.census.scope import read_scope
from backfill_assets.quality.census.whole_store import (
    LackingMonths,
    build_scopes,
    examine_stored_months,
    find_lacking_months,
)
from backfill_assets.store.census.scopes import write_scopes
from backfill_assets.store.job_universe import JobUniverse, build_job_universe
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import read_universe
from bench.figures import Figure, Section
from bench.machine import read_processor_seconds

NOW = datetime(2026, 6, 3, 14, 0, tzinfo=UTC)
FIRST_DAY = date(2016, 6, 1)
M30 = INTERVALS["30m"]
ROUNDS = 9

_SYMBOLS = "INSERT INTO market_symbols (symbol) SELECT 'S' || lpad(i::text, 5, '0') FROM generate_series(1, %s) i"
_COUNTED = "INSERT INTO backfill.census_symbols (symbol_id, uncounted) SELECT symbol_id, '{}' FROM market_symbols"
_MONTHS = """
INSERT INTO backfill.census_months (symbol_id, interval_type, month, final, minute_squares, expected, expected_squares,
                                    missing, no_trade, vendor_gap, suspect, measured_at)
SELECT s, '30m', (date 'epoch' + month * interval '1 month')::date, slots - lacks, squares, slots, squares,
       CASE WHEN lacks = 1 THEN 1 END, CASE WHEN lacks = 1 THEN 0 END, CASE WHEN lacks = 1 THEN 0 END,
       CASE WHEN lacks = 1 THEN 0 END, CASE WHEN lacks = 1 THEN now() END
FROM generate_series(1, %(symbols)s) AS s
CROSS JOIN unnest(%(months)s::int[], %(slots)s::int[], %(squares)s::bigint[]) AS m (month, slots, squares)
CROSS JOIN LATERAL (SELECT (hashint8(s * 1000 + month) %% 1000 = 0)::integer AS lacks) l
"""


def measure(*, quick: bool) -> Section:
    """Measure the answer about the months that are over, with some holes, and after bars of some symbols changed."""
    count = 2000 if quick else 20_000
    collect_less_often()  # as the commands and the code location do
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        database = Database(start_embedded_database(Path(folder), "whole"))
        migrate(database)
        settings = load_settings(history_from=FIRST_DAY, as_of=NOW, source_interval="1m")  # that feed is older
        rows = _fill(database, settings, count)
        times, processor, lacking = _time(database, settings)
        with database.transaction() as connection:
            universe = build_job_universe(connection, read_universe(connection, US.exchange).symbols)
        _, known, _ = _time(database, settings, universe)
        with database.transaction() as connection:
            connection.execute(
                "INSERT INTO backfill.census_deltas SELECT i, '30m', '2020-01-01', 0, 0, 0, 0, 0"
                " FROM generate_series(1, %s) i",
                [count // 100],
            )
        changed, _, _ = _time(database, settings)
        database.close()
    holes = int(lacking.missing.sum())
    return Section(
        f"Is the whole store complete? {count:,} tickers, {rows / 1e6:.1f} M symbol-months",
        [
            Figure(f"the answer: {holes:,} bars missing", "ms", times, at_most=None if quick else 100),
            Figure("… by processor time, of the program and the server", "ms", processor),
            Figure("… where the symbols are known, as in status", "ms", known),
            Figure("… while the bars of one ticker in a hundred changed since", "ms", changed),
        ],
    )


def _fill(database: Database, settings: Settings, count: int) -> int:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("ALTER TABLE backfill.census_months SET UNLOGGED")
        connection.execute(_SYMBOLS, [count])
        connection.execute(_COUNTED)
    with database.transaction() as connection:
        scope = read_scope(connection, settings, US, M30, NOW)
        expected = count_expected(scope.monthly, np.zeros(1, np.int64), np.full(1, scope.monthly.size))
        months = scope.monthly.months[: scope.closed_months]
        columns: dict[str, Any] = {"months": months, "slots": expected.slots[0], "squares": expected.square_sum[0]}
        values = {name: column[: len(months)].tolist() for name, column in columns.items()}
        rows = connection.execute(_MONTHS, values | {"symbols": count}).rowcount
        write_scopes(connection, M30, build_scopes(scope))
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE backfill.census_months")
        connection.execute("VACUUM ANALYZE backfill.census_scopes")
        connection.execute("VACUUM ANALYZE market_symbols")
    return rows


def _answer(connection: Connection, settings: Settings, universe: JobUniverse | None) -> LackingMonths:
    scope = read_scope(connection, settings, US, M30, NOW, universe)
    return find_lacking_months(connection, examine_stored_months(connection, scope))


def _time(
    database: Database, settings: Settings, universe: JobUniverse | None = None
) -> tuple[list[float], list[float], LackingMonths]:
    """Milliseconds of each round after one to warm up, and those of the processor."""
    times, processor = [], []
    with database.snapshot() as connection:
        server = psutil.Process(connection.info.backend_pid)
        lacking = _answer(connection, settings, universe)
        for _ in range(ROUNDS):
            before, own, began = read_processor_seconds(server), time.process_time(), time.perf_counter()
            lacking = _answer(connection, settings, universe)
            times.append(1000 * (time.perf_counter() - began))
            processor.append(1000 * (time.process_time() - own + read_processor_seconds(server) - before))
    return times, processor, lacking
