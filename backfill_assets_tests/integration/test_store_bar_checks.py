"""Rows that break a rule are found in the table as it is, ours or other people's; closes are compared."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.quality.bar_validity import evaluate_bars, evaluate_closes
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.daily_data import record_daily_rows
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests import external_tables
from backfill_assets_tests.conftest import monday_and_tuesday
from backfill_assets_tests.integration.test_backfill_engine import MONDAY, TUESDAY, ignore_progress
from backfill_assets_tests.unit.coverage_builders import coverage_of
from backfill_assets_tests.unit.market_builders import grid_of

COLUMNS = "(symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume)"
BOTH = grid_of("2026-06-01", "2026-06-02")
LOOSE = """
CREATE TABLE market_symbols (symbol_id serial PRIMARY KEY, symbol varchar(10) UNIQUE, exchange varchar(20) DEFAULT 'US',
    is_active boolean DEFAULT true, updated_at timestamptz);
CREATE TABLE market_data (symbol_id integer, timestamp timestamptz, interval_type varchar(20), open_price float8,
    high_price float8, low_price float8, close_price float8, volume bigint,
    UNIQUE (symbol_id, timestamp, interval_type));
INSERT INTO market_symbols (symbol) VALUES ('AAPL'), ('MSFT');
"""


@pytest.fixture
def loose(new_database: Callable[..., str]) -> Iterator[Database]:
    """Contract tables without constraints, as another program created them."""
    url = new_database(None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(LOOSE.encode())
    database = Database(url)
    migrate(database)
    yield database
    database.close()


def put(database: Database, *rows: str) -> None:
    with database.transaction() as connection:
        for row in rows:
            connection.execute(f"INSERT INTO market_data {COLUMNS} VALUES ({row})".encode())


def faults(database: Database) -> tuple[float, tuple[str, ...]]:
    criterion = evaluate_bars(database, coverage_of("AAPL", BOTH, {}))
    assert criterion.passed == (criterion.figure == 0)
    return criterion.figure, criterion.offenders


GOOD = "1, '30m', '2026-06-01 13:30+00', 10, 11, 9, 10, 5"
BAD = {
    "invalid price": [
        "1, '30m', '2026-06-01 14:00+00', 0, 11, 0, 10, 5",
        "1, '30m', '2026-06-01 14:30+00', 'NaN', 'NaN', 9, 10, 5",
        "1, '30m', '2026-06-01 15:00+00', 10, 'inf', 9, 10, 5",
        "1, '30m', '2026-06-01 15:30+00', 10, 11, 9, NULL, 5",
    ],
    "OHLC out of order": [
        "1, '30min', '2026-06-01 14:00+00', 10, 9.5, 9, 9.2, 5",
        "1, '30m', '2026-06-01 14:30+00', 10, 11, 10.2, 10.5, 5",
    ],
    "invalid volume": [
        "2, '30m', '2026-06-02 13:30+00', 10, 11, 9, 10, -1",
        "2, '30m', '2026-06-02 14:00+00', 10, 11, 9, 10, NULL",
    ],
    "off the grid": ["1, '30m', '2026-06-02 13:45+00', 10, 11, 9, 10, 5"],
    "no symbol": ["77, '30m', '2026-06-02 13:30+00', 10, 11, 9, 10, 5"],
}


@pytest.mark.parametrize("kind", BAD)
def test_find_bar_faults_finds_each_broken_rule(loose: Database, kind: str) -> None:
    put(loose, GOOD, *BAD[kind])
    figure, offenders = faults(loose)
    found = [f"{said.split(': ')[1].split(', first')[0]}" for said in offenders]
    assert figure >= len(BAD[kind])
    assert f"{len(BAD[kind])} {kind}" in found


def test_offenders_name_the_symbol_and_the_first_row(loose: Database) -> None:
    put(loose, *BAD["no symbol"], *BAD["off the grid"])
    assert faults(loose) == (
        2,
        (
            "AAPL.US: 1 off the grid, first 2026-06-02 13:45 UTC",
            "symbol_id 77: 1 no symbol, first 2026-06-02 13:30 UTC",
        ),
    )


def test_a_slot_stored_under_both_spellings_is_a_duplicate(loose: Database) -> None:
    put(loose, GOOD, GOOD.replace("30m", "30min"))
    assert faults(loose) == (2, ("AAPL.US: 2 duplicate, first 2026-06-01 13:30 UTC",))


def test_other_windows_other_intervals_and_extended_hours_of_other_programs_are_not_checked(loose: Database) -> None:
    put(
        loose,
        GOOD,
        "1, '30m', '2026-06-01 08:00+00', 10, 11, 9, 10, 5",  # before the window
        "1, '30m', '2026-06-02 08:00+00', 10, 11, 9, 10, 5",  # extended hours of another program
        "1, '1d', '2026-06-02 00:00+00', 0, 0, 0, 0, 5",  # another interval
        "77, '30m', '2026-05-02 13:30+00', 10, 11, 9, 10, 5",  # an orphan before the window
    )
    assert faults(loose) == (0, ())


def test_a_bar_of_this_program_outside_the_sessions_is_off_the_grid(loose: Database) -> None:
    put(loose, "1, '30m', '2026-06-02 08:00+00', 10, 11, 9, 10, 5")
    with loose.transaction() as connection:
        connection.execute("UPDATE market_data SET source = 'eodhd.com'")
    assert faults(loose) == (1, ("AAPL.US: 1 off the grid, first 2026-06-02 08:00 UTC",))


def test_bars_that_a_run_stores_are_valid_in_both_forms_of_the_table(
    engine_on: Callable[..., Engine], sandboxed: Callable[..., Sandbox], new_database: Callable[..., str]
) -> None:
    engine = engine_on(sandboxed(), ("AAPL", "MSFT"))
    run_backfill(engine, monday_and_tuesday(engine), ignore_progress)
    criterion = evaluate_bars(engine.database, engine.measure(monday_and_tuesday(engine)))
    assert (criterion.passed, criterion.meaning) == (True, "0 rule violations in 52 bars")
    external_tables.build(url := new_database(None))
    taken_over = Database(url)
    migrate(taken_over)
    assert faults(taken_over) == (0, ())
    taken_over.close()


def test_closes_are_compared_with_the_daily_data_that_are_stored(
    engine_on: Callable[..., Engine], sandboxed: Callable[..., Sandbox]
) -> None:
    engine = engine_on(sandboxed(), ("AAPL", "MSFT"))
    run_backfill(engine, monday_and_tuesday(engine), ignore_progress)
    coverage = engine.measure(monday_and_tuesday(engine))

    def judged() -> tuple[float, str]:
        criterion = evaluate_closes(engine.database, coverage, INTERVALS["5m"], tolerance_bps=15)
        assert "(4 closes are stored)" in criterion.meaning
        return criterion.figure, criterion.meaning.split(" compared")[0]

    assert judged() == (0, "0 of 0")
    with engine.database.transaction() as connection:
        rows = connection.execute(
            "SELECT symbol_id, session_day, official_close, 1 FROM backfill.session_evidence WHERE session_day >= %s",
            [MONDAY],
        ).fetchall()
        record_daily_rows(connection, rows)
    assert judged() == (0, "0 of 4")
    with engine.database.transaction() as connection:
        connection.execute("UPDATE backfill.daily_prices SET close_price = close_price * 1.005 WHERE symbol_id = 1")
        connection.execute(
            "UPDATE backfill.daily_prices SET close_price = NULL WHERE symbol_id = 2 AND day = %s", [TUESDAY]
        )
    assert judged() == (2, "2 of 3")
