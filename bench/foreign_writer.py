"""What the triggers that keep versions of bars, and those that count bars, cost another program that writes bars.

The same statements in turns without any of them, with those that keep versions, and with those of the census, in
databases of one server: new bars, the other program's own bars, our bars, which it overwrites, and its own columns
beside our bars. A row at a time means one statement a bar, sent in a pipeline, as drivers do; at once means one
statement for all bars.

A ratio is the processor time of client and server with the triggers over that without them: on a machine that does
other work, elapsed time says little.
"""

import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg

from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.postgres.schema_check import CENSUS_TRIGGERS, HISTORY_TRIGGERS
from bench.figures import Figure, Section

MOST_TIMES = 1.1
FIRST = datetime(2025, 1, 2, 14, 30, tzinfo=UTC)
SLOTS = 2000  # of a symbol
_COLUMNS = "symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume"
_UPSERT = f"""
INSERT INTO market_data ({_COLUMNS}) VALUES (%s, '30m', %s, 100, 101, 99, %s, 1000)
ON CONFLICT (symbol_id, interval_type, timestamp) DO UPDATE SET close_price = EXCLUDED.close_price,
    volume = EXCLUDED.volume
"""
_UPSERT_AT_ONCE = f"""
INSERT INTO market_data ({_COLUMNS})
SELECT symbol_id, '30m', at, 100, 101, 99, close, 1000
FROM unnest(%s::int[], %s::timestamptz[], %s::float8[]) AS t (symbol_id, at, close)
ON CONFLICT (symbol_id, interval_type, timestamp) DO UPDATE SET close_price = EXCLUDED.close_price,
    volume = EXCLUDED.volume
"""
_OUR_BARS = f"""
INSERT INTO market_data ({_COLUMNS}, source, source_interval, source_rows, is_final, fetched_at)
SELECT symbol_id, '30m', at, 100, 101, 99, 100.5, 1000, 'eodhd.com', '5m', 6, true, clock_timestamp()
FROM unnest(%s::int[], %s::timestamptz[], %s::float8[]) AS t (symbol_id, at, close)
"""
_FILL_OWN_COLUMN = "UPDATE market_data SET vwap = close_price"
_DELETE_SESSION = "DELETE FROM market_data WHERE symbol_id = %s AND interval_type = '30m' AND timestamp = ANY (%s)"
_EMPTY = "TRUNCATE market_data"
_EMPTY_VERSIONS = "TRUNCATE backfill.bar_versions"
_EMPTY_DELTAS = "TRUNCATE backfill.census_deltas"
_BARS_OF_A_SESSION = 13

Rows = Sequence[tuple[int, datetime, float]]
Write = Callable[[psycopg.Connection[Any], Rows], None]


def measure(*, quick: bool) -> Section:
    """Time each kind of write in turns with and without the triggers."""
    size, rounds = (4_000, 3) if quick else (20_000, 5)
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        without = _create(Path(folder), "plain", HISTORY_TRIGGERS | CENSUS_TRIGGERS)
        keeping, counting = (
            _create(Path(folder), name, dropped)
            for name, dropped in (("keeping", CENSUS_TRIGGERS), ("counting", HISTORY_TRIGGERS))
        )
        with without, keeping, counting:
            connections = (without, keeping, counting)
            figures = [
                figure
                for name, stored, write, mark in _KINDS
                for figure in _compare(name, stored, write, mark, connections, size, rounds)
            ]
    notes = (
        "Ratios of processor time of client and server, with the triggers over without them. The census appends a row"
        " for each statement, symbol and month, which no single row hides: 11 to 18 µs a statement. Overwriting or "
        "deleting our bars writes each old version: one more row with one more index entry, which no trigger does for"
        " a tenth of the row that is overwritten. A deletion at once is the cheapest write of all, 0.2 µs a row; a "
        "trigger for rows looks at each, even if it keeps nothing.",
    )
    return Section("11. What keeping versions costs another program", figures, notes)


def _create(folder: Path, name: str, dropped: Collection[str]) -> psycopg.Connection[Any]:
    url = start_embedded_database(folder, name)
    database = Database(url)
    migrate(database)
    database.close()
    connection = psycopg.connect(url, autocommit=True)
    connection.execute("ALTER TABLE market_data ADD COLUMN vwap double precision")
    for trigger in sorted(dropped):
        connection.execute(f"DROP TRIGGER {trigger} ON market_data".encode())
    return connection


def _upsert_each(connection: psycopg.Connection[Any], rows: Rows) -> None:
    connection.cursor().executemany(_UPSERT.encode(), [(key, at, close + 0.1) for key, at, close in rows])


def _upsert_at_once(connection: psycopg.Connection[Any], rows: Rows) -> None:
    ids, stamps, closes = zip(*rows, strict=True)
    connection.execute(_UPSERT_AT_ONCE.encode(), [list(ids), list(stamps), [close + 0.1 for close in closes]])


def _store(statement: str) -> Write:
    def store(connection: psycopg.Connection[Any], rows: Rows) -> None:
        connection.execute(statement.encode(), [list(column) for column in zip(*rows, strict=True)])

    return store


def _fill_own_column(connection: psycopg.Connection[Any], _: Rows) -> None:
    connection.execute(_FILL_OWN_COLUMN)


def _delete_at_once(connection: psycopg.Connection[Any], _: Rows) -> None:
    connection.execute("DELETE FROM market_data")


def _delete_sessions(connection: psycopg.Connection[Any], rows: Rows) -> None:
    cursor = connection.cursor()
    for begin in range(0, len(rows), _BARS_OF_A_SESSION):
        session = rows[begin : begin + _BARS_OF_A_SESSION]
        cursor.execute(_DELETE_SESSION, [session[0][0], [at for _, at, _ in session]])


def _store_nothing(_: psycopg.Connection[Any], __: Rows) -> None:
    pass


_THEIRS, _OURS = _store(_UPSERT_AT_ONCE), _store(_OUR_BARS)
# What is written; which bars the table has before; how; the mark, if there is one.
_KINDS: Sequence[tuple[str, Write, Write, float | None]] = (
    ("new bars, a row at a time", _store_nothing, _upsert_each, MOST_TIMES),
    ("new bars, at once", _store_nothing, _upsert_at_once, MOST_TIMES),
    ("upserts over its own bars, a row at a time", _THEIRS, _upsert_each, MOST_TIMES),
    ("upserts over its own bars, at once", _THEIRS, _upsert_at_once, MOST_TIMES),
    ("its own column beside our bars", _OURS, _fill_own_column, MOST_TIMES),
    ("deletions of its own bars, a session at a time", _THEIRS, _delete_sessions, MOST_TIMES),
    ("deletions of its own bars, at once", _THEIRS, _delete_at_once, None),
    ("upserts over our bars, a row at a time", _OURS, _upsert_each, None),
    ("upserts over our bars, at once", _OURS, _upsert_at_once, None),
    ("deletions of our bars, a session at a time", _OURS, _delete_sessions, None),
    ("deletions of our bars, at once", _OURS, _delete_at_once, None),
)


def _compare(
    name: str,
    stored: Write,
    write: Write,
    mark: float | None,
    connections: Sequence[psycopg.Connection[Any]],
    size: int,
    rounds: int,
) -> list[Figure]:
    rows = [(i // SLOTS, FIRST + timedelta(minutes=30 * (i % SLOTS)), 100.5) for i in range(size)]
    seconds: list[list[float]] = []  # of each connection, by round
    for number in range(rounds + 1):
        turn = connections if number % 2 else connections[::-1]
        taken = {connection: _measure_write(connection, rows, stored, write) for connection in turn}
        seconds.append([taken[connection] for connection in connections])
    measured = seconds[1:]  # the first round warms caches up
    return [
        Figure(name, "µs a row", [1e6 * plain / size for plain, _, _ in measured]),
        Figure("… with the triggers", "×", [keeping / plain for plain, keeping, _ in measured], at_most=mark),
        Figure("… with those of the census", "×", [counting / plain for plain, _, counting in measured]),
    ]


def _measure_write(connection: psycopg.Connection[Any], rows: Rows, stored: Write, write: Write) -> float:
    """The processor seconds of a write in one transaction."""
    for statement in (_EMPTY, _EMPTY_VERSIONS, _EMPTY_DELTAS):
        connection.execute(statement)
    stored(connection, rows)
    connection.execute("ANALYZE market_data")
    began = _read_processor_seconds(connection)
    with connection.transaction():
        write(connection, rows)
    return _read_processor_seconds(connection) - began


def _read_processor_seconds(connection: psycopg.Connection[Any]) -> float:
    """Of this process and of the server's for it; in steps of 0.01 s where the system has no finer clock for others."""
    server, fine = connection.info.backend_pid, Path(f"/proc/{connection.info.backend_pid}/schedstat")
    of_server = int(fine.read_text().split()[0]) / 1e9 if fine.exists() else sum(psutil.Process(server).cpu_times()[:2])
    return time.process_time() + of_server
