"""Values that only tables of other programs hold: nulls, prices with few decimals, volumes that are not whole."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import Settings
from backfill_assets.quality.html_report_data import MAX_REVISIONS
from backfill_assets.quality.slot_explanation import explain_slots
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.bars.revisions import read_revisions
from backfill_assets.store.bars.stored_bars import read_bars
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests.conftest import make_job, make_monday_tuesday_job
from backfill_assets_tests.integration.test_backfill_engine import MONDAY, TUESDAY, build_expected_bars, ignore_progress

StartSandbox = Callable[..., Sandbox]
OWN_TYPES = (*["float8"] * 4, "bigint")
TABLES = """
CREATE TABLE market_symbols (
    symbol_id serial PRIMARY KEY, symbol text NOT NULL UNIQUE, exchange text DEFAULT 'US',
    is_active boolean DEFAULT true, updated_at timestamptz
);
INSERT INTO market_symbols (symbol) VALUES ('AAPL'), ('MSFT');
CREATE TABLE market_data (
    symbol_id integer NOT NULL, "timestamp" timestamptz NOT NULL, interval_type text NOT NULL,
    open_price {0}, high_price {1}, low_price {2}, close_price {3}, volume {4},
    UNIQUE (symbol_id, interval_type, "timestamp")
);
"""
INSERT = """
INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume)
VALUES (1, '30m', to_timestamp(%s), %s, %s, %s, %s, %s)
"""
REVISIONS = """
SELECT extract(epoch FROM timestamp)::bigint, open_price, high_price, low_price, close_price, volume
FROM backfill.revisions ORDER BY 1
"""


@pytest.fixture
def make_tables(create_database: Callable[..., str], settings: Settings) -> Iterator[Callable[..., Engine]]:
    """Create tables with value columns of these types, and bars of AAPL in them; returns an engine over them."""
    databases: list[Database] = []

    def make(sandbox: Sandbox, bars: list[tuple[Any, ...]], *types: str) -> Engine:
        url = create_database(None)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(TABLES.format(*types).encode())
            for bar in bars:
                connection.execute(INSERT, bar)
        databases.append(Database(url))
        migrate(databases[-1])
        return Engine(databases[-1], settings.model_copy(update={"base_url": sandbox.base_url}))

    yield make
    for database in databases:
        database.close()


def fetch(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.database.transaction() as connection:
        return connection.execute(query.encode()).fetchall()


def list_bars(sandbox: Sandbox) -> list[tuple[Any, ...]]:
    bars = build_expected_bars(sandbox, "AAPL", MONDAY, TUESDAY)
    return [tuple(getattr(value, "expected", value) for value in bar) for bar in bars]


def test_a_null_differs_from_the_value_of_the_vendor_and_is_kept_as_a_revision(
    start_sandbox: StartSandbox, make_tables: Callable[..., Engine]
) -> None:
    sandbox = start_sandbox()
    bars = list_bars(sandbox)
    stored = [
        (*bars[0][:5], None),  # equal prices
        (bars[1][0], 5.0, 6.0, 4.0, 5.5, None),  # other prices
        (bars[2][0], None, None, None, None, bars[2][5]),
        (bars[3][0], None, None, None, None, None),
        bars[4],
    ]
    engine = make_tables(sandbox, stored, *OWN_TYPES)
    result = run_backfill(engine, make_monday_tuesday_job(engine, verify_existing=True), ignore_progress)
    assert (result.written.verified, result.written.replaced, result.written.protected) == (1, 4, 0)
    assert (result.written.inserted, result.exit_code) == (47, 0)
    assert fetch(engine, REVISIONS) == stored[:4]
    volumes = fetch(engine, "SELECT volume, source IS NOT NULL FROM market_data WHERE symbol_id = 1 ORDER BY timestamp")
    assert volumes == [(bar[5], True) for bar in bars]
    with engine.database.transaction() as connection:
        job = make_monday_tuesday_job(engine)
        coverage = engine.measure(job)
        count, revisions = read_revisions(connection, coverage.symbols, coverage.grid, MAX_REVISIONS)
    assert (count, {revision.old_volume for revision in revisions}) == (4, {None, Decimal(bars[2][5])})


def test_bars_with_nulls_can_be_explained(start_sandbox: StartSandbox, make_tables: Callable[..., Engine]) -> None:
    sandbox = start_sandbox()
    engine = make_tables(sandbox, [(list_bars(sandbox)[0][0], *[None] * 5)], *OWN_TYPES)
    job = make_job(engine, start=MONDAY, end=MONDAY, symbols=["AAPL"])
    session = job.window.sessions[0]
    with engine.database.transaction() as connection:
        bars = read_bars(connection, 1, job.interval, session.open, session.close)
    assert explain_slots(engine.measure(job), bars)[0].evidence == (
        "close null, volume null; written by an external writer"
    )


def test_reading_the_same_data_again_revises_nothing_whatever_the_decimals_of_the_table(
    start_sandbox: StartSandbox, make_tables: Callable[..., Engine]
) -> None:
    sandbox = start_sandbox()
    types = ("numeric(12,4)", "numeric(12,2)", "numeric(6,0)", "numeric", "numeric(20,2)")
    engine = make_tables(sandbox, list_bars(sandbox)[:13], *types)
    verified = run_backfill(engine, make_monday_tuesday_job(engine, verify_existing=True), ignore_progress)
    assert (verified.written.verified, verified.written.replaced, verified.written.inserted) == (13, 0, 39)
    versions = fetch(engine, "SELECT xmin, ctid FROM market_data ORDER BY symbol_id, timestamp")
    for _ in range(2):
        again = run_backfill(engine, make_monday_tuesday_job(engine, force=True), ignore_progress)
        assert (again.written.unchanged, again.written.revised) == (52, 0)
    assert fetch(engine, "SELECT xmin, ctid FROM market_data ORDER BY symbol_id, timestamp") == versions
    assert fetch(engine, REVISIONS) == []


def test_volumes_that_are_not_whole_are_kept_in_the_revision(
    start_sandbox: StartSandbox, make_tables: Callable[..., Engine]
) -> None:
    sandbox = start_sandbox()
    bars = list_bars(sandbox)
    volumes = [Decimal("100.618093"), Decimal("NaN"), Decimal(10) ** 25]
    stored = [(*bar[:5], volume) for bar, volume in zip(bars, volumes, strict=False)]
    engine = make_tables(sandbox, stored, *OWN_TYPES[:4], "numeric")
    result = run_backfill(engine, make_monday_tuesday_job(engine, verify_existing=True), ignore_progress)
    assert result.written.replaced == 3
    assert [f"{row[5]:f}" for row in fetch(engine, REVISIONS)] == [f"{volume:f}" for volume in volumes]


def test_a_price_that_the_table_rounds_to_zero_is_refused(
    start_sandbox: StartSandbox, make_tables: Callable[..., Engine]
) -> None:
    engine = make_tables(start_sandbox(), [], *["numeric(8,-4)"] * 4, "bigint")
    result = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert (result.written.inserted, result.written.refused, result.exit_code) == (0, 52, 3)
    assert result.refusals == {"a price column has so few decimals that the price becomes 0": 52}


def test_an_external_bar_that_such_a_table_cannot_replace_is_counted_once(
    start_sandbox: StartSandbox, make_tables: Callable[..., Engine]
) -> None:
    sandbox = start_sandbox()
    stored = [(bar[0], *[10_000] * 4, 5) for bar in list_bars(sandbox)[:3]]
    engine = make_tables(sandbox, stored, *["numeric(8,-4)"] * 4, "bigint")
    result = run_backfill(engine, make_monday_tuesday_job(engine, verify_existing=True), ignore_progress)
    assert (result.written.inserted, result.written.refused, result.written.protected) == (0, 52, 0)
    assert fetch(engine, "SELECT count(*), count(source) FROM market_data") == [(3, 0)]


def test_a_trigger_that_changes_each_bar_makes_no_revisions(
    start_sandbox: StartSandbox, make_tables: Callable[..., Engine]
) -> None:
    sandbox = start_sandbox()
    engine = make_tables(sandbox, list_bars(sandbox)[:1], *OWN_TYPES)
    with psycopg.connect(engine.database.url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION round_open() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN NEW.open_price := round(NEW.open_price); RETURN NEW; END $$;"
            "CREATE TRIGGER round_open BEFORE INSERT OR UPDATE ON market_data FOR EACH ROW"
            " EXECUTE FUNCTION round_open()"
        )
    run_backfill(engine, make_monday_tuesday_job(engine, verify_existing=True), ignore_progress)
    again = run_backfill(engine, make_monday_tuesday_job(engine, force=True), ignore_progress)
    assert (again.written.unchanged, again.written.revised) == (52, 0)
    assert len(fetch(engine, REVISIONS)) <= 1  # of the bar that was there before the trigger
