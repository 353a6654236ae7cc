"""Bars whose interval another program spells in its own way: read, counted and written under that name."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.bars.interval_spellings import (
    adopt_spellings,
    find_interval_spelling,
    find_unknown_intervals,
)
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests import external_tables
from backfill_assets_tests.conftest import make_monday_tuesday_job, read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import MONDAY, TUESDAY, build_expected_bars, ignore_progress

INSERT_BAR = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume)
VALUES (%s, %s, %s, 5, 6, 4, 5.5, 77)
"""
FIRST_SLOT = "2026-06-01 13:30+00"
INDEXES = {  # of the tables as another program may have them
    "by interval": 'PRIMARY KEY (symbol_id, interval_type, "timestamp")',
    "by time": 'UNIQUE (symbol_id, "timestamp", interval_type)',
    "time first": 'UNIQUE ("timestamp", symbol_id, interval_type)',
    "time and interval first": 'UNIQUE ("timestamp", interval_type, symbol_id)',
    "interval first": 'UNIQUE (interval_type, "timestamp", symbol_id)',
}


def insert_bars(database: Database, *bars: tuple[int, str, str]) -> None:
    with database.transaction() as connection:
        connection.cursor().executemany(INSERT_BAR.encode(), bars)


@pytest.fixture(params=INDEXES.values(), ids=INDEXES)
def keyed_database(request: pytest.FixtureRequest, create_database: Callable[..., str]) -> Iterator[Database]:
    """A database whose bars have one of the keys above, and three symbols."""
    url = create_database(None)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            'CREATE TABLE market_data (symbol_id int, interval_type text, "timestamp" timestamptz, open_price float8,'
            f" high_price float8, low_price float8, close_price float8, volume bigint, {request.param})".encode()
        )
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol) VALUES ('AAPL'), ('IBM'), ('MSFT')")
    yield database
    database.close()


def test_spellings_are_found_with_any_key(keyed_database: Database) -> None:
    insert_bars(
        keyed_database,
        *[(1, "1800", FIRST_SLOT), (2, "1800", FIRST_SLOT), (3, "30T", FIRST_SLOT), (3, "half-hourly", FIRST_SLOT)],
        *[(1, "1d", "2026-06-01"), (2, "1h", FIRST_SLOT), (2, "60", FIRST_SLOT)],
    )
    with keyed_database.transaction() as connection:
        adopted = adopt_spellings(connection, [INTERVALS["30m"], INTERVALS["1h"]])
        spelling = find_interval_spelling(connection, INTERVALS["30m"])
        unknown = find_unknown_intervals(connection)
    assert [set(interval.spellings) for interval in adopted] == [{"30m", "30min", "1800", "30T"}, {"1h", "60min"}]
    assert (spelling, sorted(unknown)) == ("1800", ["60", "half-hourly"])


def test_spellings_are_found_among_many_bars_of_other_intervals(keyed_database: Database) -> None:
    """Years of daily bars before them, a session of minutes after them, and in the middle of the table."""
    with keyed_database.transaction() as connection:
        for interval, first, step, count in [
            ("1d", "2000-01-01", "1 day", 9_000),
            ("30Min", "2026-06-01 13:30+00", "30 minutes", 13),
            ("1Min", "2026-06-01 13:30+00", "1 minute", 390),
        ]:
            connection.execute(
                "INSERT INTO market_data SELECT symbol_id, %s, %s::timestamptz + n * %s::interval, 5, 6, 4, 5.5, 77"
                " FROM generate_series(0, %s - 1) AS n CROSS JOIN generate_series(1, 3) AS symbol_id",
                (interval, first, step, count),
            )
    with keyed_database.transaction() as connection:
        adopted = adopt_spellings(connection, [INTERVALS["30m"], INTERVALS["1m"]])
        spelling = find_interval_spelling(connection, INTERVALS["30m"])
    assert [interval.spellings[-1] for interval in adopted] == ["30Min", "1Min"]
    assert spelling == "30Min"


@pytest.mark.parametrize("odd_time", ["294276-12-31", "infinity", "-infinity", "4713-01-02 BC"])
def test_spellings_are_found_beside_a_bar_of_an_impossible_time(keyed_database: Database, odd_time: str) -> None:
    insert_bars(keyed_database, *[(n, "1800", FIRST_SLOT) for n in (1, 2, 3)], (1, "1d", odd_time), (2, "1d", odd_time))
    with keyed_database.transaction() as connection:
        assert find_interval_spelling(connection, INTERVALS["30m"]) == "1800"


def test_an_empty_table_gets_this_programs_spelling(database: Database) -> None:
    with database.transaction() as connection:
        assert find_interval_spelling(connection, INTERVALS["30m"]) == "30m"
        assert adopt_spellings(connection, [INTERVALS["30m"]])[0].spellings == ("30m", "30min")


@pytest.mark.parametrize("spelling", ["1800", "30Min"])
def test_a_run_continues_a_history_in_its_own_spelling(
    spelling: str, create_database: Callable[..., str], start_sandbox: Callable[..., Sandbox], settings: Settings
) -> None:
    """Symbols, exchange and interval are all spelled in another way; nothing is bought twice."""
    url = create_database(None)
    external_tables.create_external_tables(url)
    sandbox = start_sandbox()
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol, exchange) VALUES ('aapl', 'NASDAQ'), ('MSFT.US', 'US')")
    insert_bars(database, (1, spelling, FIRST_SLOT), (2, spelling, FIRST_SLOT))
    engine = Engine(database, settings.model_copy(update={"base_url": sandbox.base_url}))
    result = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    coverage = engine.measure(make_monday_tuesday_job(engine))
    assert (result.calls, result.written.inserted, coverage.duplicates) == (10, 50, 0)
    assert (coverage.count_slots(SlotState.UNVERIFIED), coverage.count_slots(SlotState.PRESENT)) == (2, 50)
    for stored, symbol in (("aapl", "AAPL"), ("MSFT.US", "MSFT")):
        expected = build_expected_bars(sandbox, symbol, MONDAY, TUESDAY)
        assert read_stored_bars(database, stored, spelling)[1:] == expected[1:]
    assert run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress).requests == 0
    verified = run_backfill(engine, make_monday_tuesday_job(engine, verify_existing=True), ignore_progress)
    assert (verified.written.replaced, verified.written.inserted) == (2, 0)
    database.close()
