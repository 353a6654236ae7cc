"""Reading bars as they were known at a moment beside reading the table: a year of 30-minute bars of many symbols.

Of every fourth bar an earlier version is kept, as live bars leave one. Both are read into arrays with the same columns,
in turns.
"""

import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.bars.bar_stream import PRICES, BarQuery, stream_bars
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from bench.figures import Figure, Section

YEAR = (date(2025, 1, 2), date(2025, 12, 31))
MOST_TIMES = 2  # as long as the table
SLOTS_OF_A_MONTH = 21 * 13
_SYMBOLS = "INSERT INTO market_symbols (symbol) SELECT 'S' || i FROM generate_series(1, %s) i"
_BARS = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
SELECT symbol_id, '30m', at, 100, 101, 99, 100.5, 1000, '127.0.0.1', '5m', 6, symbol_id %% 4 > 0, at + interval '1 day'
FROM market_symbols, unnest(%s::timestamptz[]) AS at ORDER BY symbol_id, at
"""
_AS_OF_THEN = "SET LOCAL session_replication_role = replica"  # known since its fetched_at, not since now
_SETTLE = "UPDATE market_data SET is_final = true, fetched_at = clock_timestamp() WHERE NOT is_final"
_ANALYZE = ("ANALYZE market_data", "ANALYZE backfill.bar_versions")
MOMENTS = {"now": None, "today": datetime(2100, 1, 1, tzinfo=UTC), "a year ago": datetime(2026, 1, 15, tzinfo=UTC)}


def measure(*, quick: bool) -> Section:
    """Time both reads in turns, of everything and of one symbol's month."""
    symbols, rounds = (40, 3) if quick else (500, 5)
    grid = build_slot_grid(list_sessions(US, *YEAR), INTERVALS["30m"])
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        database = Database(start_embedded_database(Path(folder), "known_at"))
        migrate(database)
        _fill(database, symbols, grid)
        ids = list(range(1, symbols + 1))
        everything = _time_reads(database, grid, ids, rounds, grid.size)
        month = _time_reads(database, grid, ids[:1], 10 * rounds, SLOTS_OF_A_MONTH)
        database.close()
    figures = [Figure(f"{symbols * grid.size / 1e6:.2f} M bars of the table", "s", everything["now"])]
    figures += [
        Figure(f"… as known {name}", "×", _divide(seconds, everything["now"]), at_most=MOST_TIMES)
        for name, seconds in everything.items()
        if name != "now"
    ]
    figures += [Figure("one symbol and month of the table", "ms", [1000 * seconds for seconds in month["now"]])]
    figures += [
        Figure(f"… as known {name}", "×", _divide(seconds, month["now"]), at_most=MOST_TIMES)
        for name, seconds in month.items()
        if name != "now"
    ]
    return Section(f"12. Bars as known at a moment, {symbols} symbols over a year, a version of every fourth", figures)


def _fill(database: Database, symbols: int, grid: SlotGrid) -> None:
    with database.transaction() as connection:
        connection.execute(_SYMBOLS, [symbols])
        connection.execute(_AS_OF_THEN)
        connection.execute(_BARS, [[datetime.fromtimestamp(at, UTC) for at in grid.starts.tolist()]])
    for statement in (_SETTLE, *_ANALYZE):
        with database.transaction() as connection:
            connection.execute(statement.encode())


def _time_reads(database: Database, grid: SlotGrid, ids: list[int], rounds: int, slots: int) -> dict[str, list[float]]:
    """The seconds of each read but the first, which warms caches up."""
    seconds: dict[str, list[float]] = {name: [] for name in MOMENTS}
    for _ in range(rounds + 1):
        for name, samples in seconds.items():
            query = BarQuery(
                symbol_ids=ids,
                interval=INTERVALS["30m"],
                slots=grid.starts[:slots],
                known_at=MOMENTS[name],
                values=(*PRICES, "volume"),
                has_moments=True,
                with_others=False,
            )
            with database.transaction() as connection:
                began = time.perf_counter()
                found = sum(len(batch.stamp) for batch in stream_bars(connection, query))
                samples.append(time.perf_counter() - began)
            assert found == len(ids) * slots, (name, found)
    return {name: samples[1:] for name, samples in seconds.items()}


def _divide(seconds: list[float], plain: list[float]) -> list[float]:
    return [one / other for one, other in zip(seconds, plain, strict=True)]
