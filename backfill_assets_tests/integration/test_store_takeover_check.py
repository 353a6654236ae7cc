"""Runs on external tables with an active external writer: no row is lost or overwritten, no writer is blocked."""

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import Settings
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.checks import evaluate_window
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests import external_tables
from backfill_assets_tests.conftest import make_monday_tuesday_job, read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import MONDAY, TUESDAY, build_expected_bars, ignore_progress

StartSandbox = Callable[..., Sandbox]
UPSERT = """
INSERT INTO market_data (symbol_id, timestamp, interval_type, open_price, high_price, low_price, close_price, volume)
VALUES (1, %s, '30min', 5, 6, 4, 5.5, 77)
ON CONFLICT (symbol_id, timestamp, interval_type) DO UPDATE SET open_price = EXCLUDED.open_price,
    high_price = EXCLUDED.high_price, low_price = EXCLUDED.low_price, close_price = EXCLUDED.close_price,
    volume = EXCLUDED.volume
"""


@pytest.fixture
def external_database(create_database: Callable[..., str]) -> Iterator[Database]:
    """A database of another program with some history and a foreign key to bars."""
    url = create_database(None)
    external_tables.create_external_tables(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO market_symbols (symbol, house_rating) VALUES ('AAPL', 'A+'), ('MSFT', 'B')")
        connection.execute(UPSERT.encode(), ["2026-06-01 13:30+00"])
        connection.execute(
            "INSERT INTO market_data (symbol_id, timestamp, interval_type, open_price, high_price, low_price,"
            " close_price, volume, vwap) VALUES (1, '2026-06-01', '1d', 1, 2, 1, 2, 3, 1.5),"
            " (2, '2026-06-01 13:30+00', '5min', 1, 2, 1, 2, 3, 1.5)"
        )
        connection.execute("INSERT INTO house_signals (data_id, note) SELECT data_id, 'kept' FROM market_data")
    database = Database(url)
    migrate(database)
    yield database
    database.close()


def create_engine(external_database: Database, sandbox: Sandbox, settings: Settings) -> Engine:
    return Engine(external_database, settings.model_copy(update={"base_url": sandbox.base_url}))


def fetch(database: Database, query: str) -> list[tuple[object, ...]]:
    with database.transaction() as connection:
        return connection.execute(query.encode()).fetchall()


def test_a_run_preserves_all_columns_and_rows_of_an_external_table(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    columns = (
        "SELECT column_name, data_type, is_nullable, column_default FROM information_schema.columns"
        " WHERE table_name IN ('market_data', 'market_symbols') AND column_name NOT IN"
        " ('source', 'source_interval', 'source_rows', 'is_final', 'fetched_at') ORDER BY 1, 2"
    )
    before = fetch(external_database, columns)
    rows = fetch(external_database, "SELECT * FROM market_data ORDER BY data_id")
    engine = create_engine(external_database, start_sandbox(), settings)
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert fetch(external_database, columns) == before
    assert fetch(external_database, "SELECT * FROM market_data ORDER BY data_id LIMIT 3") == rows
    assert fetch(external_database, "SELECT house_rating FROM market_symbols ORDER BY symbol_id") == [("A+",), ("B",)]
    assert fetch(external_database, "SELECT count(*) FROM house_signals JOIN market_data USING (data_id)") == [(3,)]


def test_external_bars_are_unverified_and_not_missing(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    engine = create_engine(external_database, start_sandbox(), settings)
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    coverage = engine.measure(make_monday_tuesday_job(engine))
    assert (
        coverage.count_slots(SlotState.UNVERIFIED),
        coverage.count_slots(SlotState.PRESENT),
        int(coverage.missing.sum()),
    ) == (1, 51, 0)
    assert all(c.passed for c in evaluate_window(external_database, coverage))


def test_an_externally_overwritten_bar_loses_its_provenance(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    engine = create_engine(external_database, start_sandbox(), settings)
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    with external_database.transaction() as connection:
        connection.execute(UPSERT.encode(), ["2026-06-02 13:30+00"])
    assert engine.measure(make_monday_tuesday_job(engine)).count_slots(SlotState.UNVERIFIED) == 2
    forced = run_backfill(engine, make_monday_tuesday_job(engine, force=True), ignore_progress)
    assert forced.written.protected == 2
    assert fetch(
        external_database,
        "SELECT close_price::float8 FROM market_data WHERE timestamp = '2026-06-02 13:30+00' AND symbol_id = 1",
    ) == [(5.5,)]


def test_an_update_that_changes_no_value_preserves_the_provenance(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    engine = create_engine(external_database, start_sandbox(), settings)
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    with external_database.transaction() as connection:
        connection.execute("UPDATE market_data SET vwap = 1 WHERE source IS NOT NULL")
    assert engine.measure(make_monday_tuesday_job(engine)).count_slots(SlotState.UNVERIFIED) == 1


def test_a_concurrent_writer_is_neither_overwritten_nor_blocked(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    """It writes every Monday slot of AAPL during the run; a lock wait of a minute makes it fail."""
    sandbox = start_sandbox(latency_ms=(5, 20))
    engine = create_engine(external_database, sandbox, settings)
    stamps = [
        stamp
        for (stamp,) in fetch(
            external_database,
            "SELECT generate_series(timestamptz '2026-06-01 13:30+00', '2026-06-01 19:30+00', '30 minutes')",
        )
    ]
    failures: list[Exception] = []

    def write_bars() -> None:
        try:
            with psycopg.connect(external_database.url, autocommit=True) as connection:
                connection.execute("SET lock_timeout = '60s'")
                for stamp in stamps * 5:
                    connection.execute(UPSERT.encode(), [stamp])
        except psycopg.Error as error:
            failures.append(error)

    thread = threading.Thread(target=write_bars)
    thread.start()
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    thread.join()
    assert failures == []
    assert {row[5] for row in read_stored_bars(external_database, "AAPL", "30min")[:13]} == {77}
    assert read_stored_bars(external_database, "AAPL", "30min")[13:] == build_expected_bars(sandbox, "AAPL", TUESDAY)
    assert read_stored_bars(external_database, "MSFT", "30min") == build_expected_bars(sandbox, "MSFT", MONDAY, TUESDAY)


def test_a_slot_under_two_spellings_counts_the_bar_with_provenance(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    engine = create_engine(external_database, start_sandbox(), settings)
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    with external_database.transaction() as connection:
        connection.execute(UPSERT.replace("'30min'", "'30m'").encode(), ["2026-06-02 13:30+00"])
    coverage = engine.measure(make_monday_tuesday_job(engine))
    assert (
        coverage.duplicates,
        coverage.count_slots(SlotState.UNVERIFIED),
        coverage.count_slots(SlotState.PRESENT),
    ) == (1, 1, 51)
    assert run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress).requests == 0


def test_unchanged_bars_are_not_written_again(
    external_database: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    engine = create_engine(external_database, start_sandbox(), settings)
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    versions = fetch(external_database, "SELECT data_id, xmin, xmax, ctid FROM market_data ORDER BY 1")
    forced = run_backfill(engine, make_monday_tuesday_job(engine, force=True), ignore_progress)
    assert (forced.written.unchanged, forced.written.protected) == (51, 1)
    assert fetch(external_database, "SELECT data_id, xmin, xmax, ctid FROM market_data ORDER BY 1") == versions
