"""The checks find invalid bars in managed and external tables, and compare closes with daily data."""

from collections.abc import Callable, Iterator
from datetime import date

import psycopg
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.quality.bar_validity import evaluate_bars, evaluate_closes
from backfill_assets.quality.criteria import Criterion
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.bars.bar_checks import find_bar_faults
from backfill_assets.store.evidence.daily_prices import record_daily_rows
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests import external_tables
from backfill_assets_tests.conftest import make_monday_tuesday_job
from backfill_assets_tests.integration.test_backfill_engine import MONDAY, TUESDAY, ignore_progress
from backfill_assets_tests.unit.coverage_builders import build_coverage
from backfill_assets_tests.unit.market_builders import build_grid, make_daily_prices

COLUMNS = "(symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume)"
GRID = build_grid("2026-06-01", "2026-06-02")
TABLES_WITHOUT_CONSTRAINTS = """
CREATE TABLE market_symbols (symbol_id serial PRIMARY KEY, symbol varchar(10) UNIQUE, exchange varchar(20) DEFAULT 'US',
    is_active boolean DEFAULT true, updated_at timestamptz);
CREATE TABLE market_data (symbol_id integer, timestamp timestamptz, interval_type varchar(20), open_price float8,
    high_price float8, low_price float8, close_price float8, volume bigint,
    UNIQUE (symbol_id, timestamp, interval_type));
INSERT INTO market_symbols (symbol) VALUES ('AAPL'), ('MSFT');
"""


@pytest.fixture
def unconstrained(create_database: Callable[..., str]) -> Iterator[Database]:
    """A database with external contract tables without constraints."""
    url = create_database(None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLES_WITHOUT_CONSTRAINTS.encode())
    database = Database(url)
    migrate(database)
    yield database
    database.close()


def insert_bars(database: Database, *rows: str) -> None:
    with database.transaction() as connection:
        for row in rows:
            connection.execute(f"INSERT INTO market_data {COLUMNS} VALUES ({row})".encode())


def find_violations(database: Database) -> tuple[float, tuple[str, ...]]:
    criterion = evaluate_bars(database, build_coverage("AAPL", GRID, {}))
    assert criterion.passed == (criterion.figure == 0)
    return criterion.figure, criterion.offenders


VALID_BAR = "1, '30m', '2026-06-01 13:30+00', 10, 11, 9, 10, 5"
INVALID_BARS = {
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


@pytest.mark.parametrize("rule", INVALID_BARS)
def test_bar_check_finds_each_violated_rule(unconstrained: Database, rule: str) -> None:
    insert_bars(unconstrained, VALID_BAR, *INVALID_BARS[rule])
    figure, offenders = find_violations(unconstrained)
    found = [offender.split(": ")[1].split(", first")[0] for offender in offenders]
    assert figure >= len(INVALID_BARS[rule])
    assert f"{len(INVALID_BARS[rule])} {rule}" in found


def test_offenders_name_the_symbol_and_the_first_row(unconstrained: Database) -> None:
    insert_bars(unconstrained, *INVALID_BARS["no symbol"], *INVALID_BARS["off the grid"])
    assert find_violations(unconstrained) == (
        2,
        (
            "AAPL.US: 1 off the grid, first 2026-06-02 13:45 UTC",
            "symbol_id 77: 1 no symbol, first 2026-06-02 13:30 UTC",
        ),
    )


def test_a_slot_stored_under_both_interval_spellings_is_a_duplicate(unconstrained: Database) -> None:
    insert_bars(unconstrained, VALID_BAR, VALID_BAR.replace("30m", "30min"))
    assert find_violations(unconstrained) == (2, ("AAPL.US: 2 duplicate, first 2026-06-01 13:30 UTC",))


def test_other_windows_intervals_and_external_extended_hours_are_not_checked(unconstrained: Database) -> None:
    insert_bars(
        unconstrained,
        VALID_BAR,
        "1, '30m', '2026-06-01 08:00+00', 10, 11, 9, 10, 5",  # before the window
        "1, '30m', '2026-06-02 08:00+00', 10, 11, 9, 10, 5",  # extended hours of another program
        "1, '1d', '2026-06-02 00:00+00', 0, 0, 0, 0, 5",  # another interval
        "77, '30m', '2026-05-02 13:30+00', 10, 11, 9, 10, 5",  # an orphan before the window
    )
    assert find_violations(unconstrained) == (0, ())


def test_a_managed_bar_outside_the_sessions_is_off_the_grid(unconstrained: Database) -> None:
    insert_bars(unconstrained, "1, '30m', '2026-06-02 08:00+00', 10, 11, 9, 10, 5")
    with unconstrained.transaction() as connection:
        connection.execute("UPDATE market_data SET source = 'eodhd.com'")
    assert find_violations(unconstrained) == (1, ("AAPL.US: 1 off the grid, first 2026-06-02 08:00 UTC",))


def test_stored_bars_are_valid_in_managed_and_external_tables(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox], create_database: Callable[..., str]
) -> None:
    engine = make_engine(start_sandbox(), ("AAPL", "MSFT"))
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    criterion = evaluate_bars(engine.database, engine.measure(make_monday_tuesday_job(engine)))
    assert (criterion.passed, criterion.meaning) == (True, "0 rule violations in 52 bars")
    external_tables.create_external_tables(url := create_database(None))
    external_database = Database(url)
    migrate(external_database)
    assert find_violations(external_database) == (0, ())
    external_database.close()


def test_closes_are_compared_with_the_stored_daily_data(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> None:
    engine = make_engine(start_sandbox(), ("AAPL", "MSFT"))
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    coverage = engine.measure(make_monday_tuesday_job(engine))

    def compare_closes() -> tuple[float, str]:
        criterion = evaluate_closes(engine.database, coverage, INTERVALS["5m"], tolerance_bps=15)
        assert "(4 closes are stored)" in criterion.meaning
        return criterion.figure, criterion.meaning.split(" compared")[0]

    assert evaluate_closes(engine.database, coverage, INTERVALS["5m"], tolerance_bps=15) == (
        Criterion.create_not_judged(
            "sessions_agree_with_eod", "no daily data of its sessions are stored (official closes: 4)"
        )
    )
    with engine.database.transaction() as connection:
        rows = connection.execute(
            "SELECT symbol_id, session_day, official_close, 1 FROM backfill.session_evidence WHERE session_day >= %s",
            [MONDAY],
        ).fetchall()
        record_daily_rows(connection, make_daily_prices(*rows), coverage.now)
    assert compare_closes() == (0, "0 of 4")
    with engine.database.transaction() as connection:
        connection.execute("UPDATE backfill.daily_prices SET close_price = close_price * 1.005 WHERE symbol_id = 1")
        connection.execute(
            "UPDATE backfill.daily_prices SET close_price = NULL WHERE symbol_id = 2 AND day = %s", [TUESDAY]
        )
    assert compare_closes() == (2, "2 of 3")


def test_bars_of_others_in_a_break_are_none_of_the_session_and_the_first_bar_may_begin_before_an_odd_open(
    unconstrained: Database,
) -> None:
    with unconstrained.transaction() as connection:
        connection.execute("UPDATE market_symbols SET exchange = 'KAR'")
    grid = build_slot_grid(list_sessions(get_profile("KAR"), date(2026, 6, 5), date(2026, 6, 5)), INTERVALS["30m"])
    at = {"first": "04:15", "noon": "08:00", "off": "09:40"}  # of Friday: 9:15, 13:00 and 14:40 in Karachi
    for name, clock in at.items():
        high = 8 if name == "first" else 11  # below the open
        insert_bars(unconstrained, f"1, '30m', '2026-06-05 {clock}+00', 10, {high}, 9, 10, 5")
    with unconstrained.transaction() as connection:
        faults, rows = find_bar_faults(connection, grid)
    assert rows == 3
    assert {(fault.kind, f"{fault.first:%H:%M}") for fault in faults} == {
        ("OHLC out of order", at["first"]),
        ("off the grid", at["off"]),
    }
