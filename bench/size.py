"""A large store of our own form: the newest sessions, whatever the history, and what storing costs (``bench size``).

20,000 symbols, and as many sessions as ``--bars`` makes (towards 655 million bars: ten years). The server itself
generates them, newest year last, as a history that was loaded ticker by ticker, and the last ten sessions as they
arrived. ``--folder`` keeps the store: the next run measures it as it is, and an interrupted generation goes on where
it stood. What the census says of it is in ``size_census``.
"""

import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg

from backfill_assets.config.garbage_collection import collect_less_often
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests.embedded_server import release_embedded_server
from backfill_assets_tests.plain_table import MARKET_DATA
from bench import bar_writing
from bench.figures import Figure, Section
from bench.gap_detection import Store
from bench.size_census import (
    CensusAnswers,
    CensusCosts,
    LackingBars,
    ask_census,
    draw_lacking_bars,
    list_census_figures,
    load_census_settings,
    prepare_census,
    time_rounds,
    to_ms,
)

SYMBOLS, QUICK_SYMBOLS, SOME_SYMBOLS = 20_000, 500, 5_000
BARS_OF_TEN_YEARS, MOST_BARS = 655_000_000, 100_000_000
BYTES_NEEDED = 500  # a bar, with evidence, WAL, a quarter of the store beside it, and half of the disk left
LAST_DAY, FIRST_DAY = date(2026, 6, 2), date(2016, 6, 1)
ARRIVED = 10  # sessions whose bars lie as they came: all symbols of a session together
BLOCK_SESSIONS, YEAR_SESSIONS = 63, 252  # generated in one transaction: a quarter

_SYMBOLS = "INSERT INTO market_symbols (symbol) SELECT 'S' || lpad(i::text, 5, '0') FROM generate_series(1, %s) i"
_BARS = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
                         source, source_interval, source_rows, is_final, fetched_at)
SELECT symbol_id, '30m', at, price, price + 1, price - 1, price + 0.25, 1000 + symbol_id, '127.0.0.1', '5m', 6, true,
       at + interval '1 day'
FROM market_symbols CROSS JOIN unnest(%s::timestamptz[]) AS t (at)
CROSS JOIN LATERAL (SELECT 20 + symbol_id %% 400 + extract(hour FROM at)::float8 / 8) AS p (price)
ORDER BY symbol_id, at
"""
_EVIDENCE = """
INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day, requested_at,
                                       source_rows, data_until, is_published, published_at, not_returned)
SELECT symbol_id, '30m', '5m', d, d + interval '30 h', 79, d + interval '20 h', true, d + interval '30 h', '{}'
FROM market_symbols CROSS JOIN unnest(%s::date[]) d ORDER BY d, symbol_id
"""
_CREATE_BLOCKS = "CREATE TABLE IF NOT EXISTS backfill.generated (first_day date PRIMARY KEY, bars bigint NOT NULL)"
_SELECT_BLOCKS = "SELECT first_day FROM backfill.generated"
_SELECT_KEPT = "SELECT (SELECT min(first_day) FROM backfill.generated), (SELECT count(*) FROM market_symbols)"
_RECORD_BLOCK = "INSERT INTO backfill.generated VALUES (%s, %s)"
_COUNT_GENERATED = "SELECT coalesce(sum(bars), 0)::bigint FROM backfill.generated"
# Nobody reads meanwhile, and what is generated was counted: no trigger, and no wait for the disk.
_IN_BULK = "SET session_replication_role = replica; SET synchronous_commit = off; SET maintenance_work_mem = '1GB'"
_SELECT_SIZES = """
SELECT (SELECT sum(pg_table_size(relid)) FROM pg_partition_tree('market_data')),
       (SELECT sum(pg_indexes_size(relid)) FROM pg_partition_tree('market_data') WHERE isleaf)
"""
_DROP_TRIGGERS_OF_CENSUS = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'market_data'::regclass AND tgname LIKE 'backfill_count%'
    LOOP EXECUTE format('DROP TRIGGER %I ON market_data', name); END LOOP;
END $$
"""


def measure(*, quick: bool, bars: int | None = None, folder: Path | None = None) -> Section:
    """Generate what is missing of the store, then measure; first with a quarter of the history.

    Of a kept store ``bars`` and ``quick`` say nothing.
    """
    count = QUICK_SYMBOLS if quick else SYMBOLS
    collect_less_often()  # as the commands and the code location do
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as temporary:
        home = folder or Path(temporary)
        home.mkdir(exist_ok=True, parents=True)
        wanted = bars or (600_000 if quick else min(MOST_BARS, shutil.disk_usage(home).free // BYTES_NEEDED))
        sessions = list_sessions(US, FIRST_DAY, LAST_DAY)[-max(2 * ARRIVED, wanted // (13 * count)) :]
        small = _measure_store(home, count, sessions[-max(ARRIVED, len(sessions) // 4) :], "quarter")
        large = _measure_store(home, count, sessions, "whole", has_year=True)
        storing = _measure_storing(rounds=2 if quick else 6)
        if folder is not None:
            release_embedded_server(home)
    return Section(
        f"The store at size: {large.symbols:,} symbols, {large.bars / 1e6:,.1f} M bars in {large.sessions:,} sessions",
        _build_figures(small, large, storing, is_full=not quick),
        [
            _describe_generation(small.seconds + large.seconds),
            f"A bar takes {large.table_bytes / large.bars:.0f} B and {large.index_bytes / large.bars:.0f} B of index:"
            f" {BARS_OF_TEN_YEARS / 1e6:,.0f} M bars, 20,000 symbols over ten years, would take"
            f" {BARS_OF_TEN_YEARS * (large.table_bytes + large.index_bytes) / large.bars / 1e9:,.0f} GB"
            " (computed, not measured).",
        ],
    )


def _describe_generation(seconds: float) -> str:
    return f"Generated in {seconds:,.0f} s." if seconds else "Generated by an earlier run."


class _Measured:
    """A store as generated, and how long looks at its newest sessions take.

    Attributes:
        symbols: how many it has.
        sessions: how many it has of each.
        bars: how many it holds.
        seconds: that generating took; 0 if it was kept.
        table_bytes: of all partitions.
        index_bytes: of their keys.
        some_symbols: how many symbols are some of them.
        some: seconds of looks at the last 2 sessions of these.
        all: seconds of looks at those of all symbols.
        year_sessions: how many sessions a year has, or the store if they are fewer.
        costs: of its census.
        census: what that says; None: it was not asked.
    """

    census: CensusAnswers | None = None

    def __init__(
        self, database: Database, seconds: float, sessions: Sequence[Session], costs: CensusCosts, *, has_year: bool
    ) -> None:
        self.seconds, self.costs, self.sessions = seconds, costs, len(sessions)
        with database.transaction() as connection:
            self.bars: int = connection.execute(_COUNT_GENERATED).fetchall()[0][0]
            self.table_bytes, self.index_bytes = map(float, connection.execute(_SELECT_SIZES).fetchall()[0])
        grid, store = build_slot_grid(sessions[-2:], INTERVALS["30m"]), Store(database)
        every = store.symbols
        self.symbols = len(every)
        self.all = _time_looks(store, grid)
        self.all_processor = [store.measure_processor_seconds(grid) for _ in range(5)]
        store.symbols = every[:: max(1, len(every) // SOME_SYMBOLS)][:SOME_SYMBOLS]
        self.some_symbols = len(store.symbols)
        self.some = _time_looks(store, grid)
        self.some_processor = [store.measure_processor_seconds(grid) for _ in range(5)]
        self.year_sessions = min(YEAR_SESSIONS, len(sessions))
        if has_year:
            year, settings = (
                build_slot_grid(sessions[-YEAR_SESSIONS:], INTERVALS["30m"]),
                load_census_settings(sessions),
            )
            self.census = ask_census(database, settings, store, year, _draw_lacking(self.symbols, sessions))


def _time_looks(store: Store, grid: SlotGrid, rounds: int = 9) -> list[float]:
    """Seconds of each look, after one to warm up that must find nothing missing."""
    assert store.count_missing(grid) == 0
    return time_rounds(lambda: store.measure(grid), rounds)


def _draw_lacking(count: int, sessions: Sequence[Session]) -> LackingBars:
    """Of months that are over: the newest sessions have all bars."""
    return draw_lacking_bars(count, sessions[:-ARRIVED] or sessions[:1])


def _measure_store(
    home: Path, count: int, sessions: Sequence[Session], name: str, *, has_year: bool = False
) -> _Measured:
    """Measure the kept store in a database of its own, or one that is generated of these sessions."""
    began = time.perf_counter()
    with closing(Database(start_embedded_database(home, name))) as database:
        migrate(database)
        with database.transaction() as connection:
            connection.execute(_CREATE_BLOCKS)
            first_day, kept = connection.execute(_SELECT_KEPT).fetchall()[0]
        if first_day is not None:
            count, sessions = kept, list_sessions(US, first_day, LAST_DAY)
        has_changed = _generate(database.url, count, sessions)
        seconds = time.perf_counter() - began if has_changed else 0.0
        costs = prepare_census(database, load_census_settings(sessions), _draw_lacking(count, sessions))
        return _Measured(database, seconds, sessions, costs, has_year=has_year)


def _generate(url: str, count: int, sessions: Sequence[Session]) -> bool:
    """Generate the blocks that are missing; whether any was."""
    older, arrived = sessions[:-ARRIVED], sessions[-ARRIVED:]
    blocks = [older[i : i + BLOCK_SESSIONS] for i in range(0, len(older), BLOCK_SESSIONS)]
    blocks += [[session] for session in arrived]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_IN_BULK)
        there = {day for (day,) in connection.execute(_SELECT_BLOCKS)}
        missing = [block for block in blocks if block[0].day not in there]
        for block in missing:
            with connection.transaction():
                _generate_block(connection, count, block)
        if missing:
            connection.execute("VACUUM (ANALYZE, FREEZE)")
    return bool(missing)


def _generate_block(connection: psycopg.Connection[tuple[int, ...]], count: int, block: Sequence[Session]) -> None:
    if connection.execute("SELECT EXISTS (SELECT FROM market_symbols)").fetchall() == [(False,)]:
        connection.execute(_SYMBOLS, [count])
    starts = build_slot_grid(block, INTERVALS["30m"]).starts.tolist()
    bars = connection.execute(_BARS, [[datetime.fromtimestamp(at, UTC) for at in starts]]).rowcount
    connection.execute(_EVIDENCE, [[session.day for session in block]])
    connection.execute(_RECORD_BLOCK, [block[0].day, bars])


def _measure_storing(rounds: int) -> dict[str, list[float]]:
    """Bars a processor second, round by round: our own form, and a plain table without the census."""
    tables = {"own": None, "plain": MARKET_DATA}
    rates: dict[str, list[float]] = {name: [] for name in tables}
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        databases = {name: bar_writing.create_database(Path(folder), name, table) for name, table in tables.items()}
        with databases["plain"].transaction() as connection:
            connection.execute(_DROP_TRIGGERS_OF_CENSUS)
        for number in range(rounds):
            for name, database in databases.items():
                rates[name].append(bar_writing.measure_rate(database, number, "inserted")[1])
        for database in databases.values():
            database.close()
    return rates


def _build_figures(
    small: _Measured, large: _Measured, storing: dict[str, list[float]], *, is_full: bool
) -> list[Figure]:
    assert large.census is not None
    shares = [own / plain for own, plain in zip(storing["own"], storing["plain"], strict=True)]
    return [
        Figure(
            f"last 2 sessions of {large.some_symbols:,} of them",
            "ms",
            to_ms(large.some),
            at_most=80 if is_full else None,
        ),
        Figure("… by processor time", "ms", to_ms(large.some_processor)),
        Figure("… of all", "ms", to_ms(large.all), at_most=300 if is_full else None),
        Figure("… by processor time", "ms", to_ms(large.all_processor)),
        Figure(
            "… with four times the history, by processor time",
            "×",
            [min(large.all_processor) / min(small.all_processor)],
            at_most=1.15,
        ),
        *list_census_figures(
            large.costs,
            large.census,
            large.bars,
            f"{large.year_sessions} sessions of {large.some_symbols:,} symbols",
            is_full=is_full,
        ),
        Figure("new bars, our own form with the census, by processor time", "k/s", [r / 1000 for r in storing["own"]]),
        Figure("new bars, a plain table without it", "k/s", [r / 1000 for r in storing["plain"]]),
        Figure("… the former of the latter", "×", shares, at_least=0.9),
    ]
