"""``--verify-existing`` compares external bars with bars of the vendor, on managed and external tables."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.columns import Columns
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.sandbox.config import Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.bars.bar_writer import WriteCounts
from backfill_assets.store.bars.external_bars import read_external_bars, verify_external_bars
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import list_symbols
from backfill_assets_tests import external_tables
from backfill_assets_tests.conftest import make_job, make_monday_tuesday_job, read_stored_bars
from backfill_assets_tests.integration.test_backfill_engine import MONDAY, TUESDAY, build_expected_bars, ignore_progress

StartSandbox = Callable[..., Sandbox]
FRIDAY = date(2026, 5, 29)  # before the window: read again, never verified
GRID = build_slot_grid(list_sessions(US, MONDAY, TUESDAY), INTERVALS["30m"])


@pytest.fixture(params=["managed", "external"])
def database_with_symbols(request: pytest.FixtureRequest, create_database: Callable[..., str]) -> Iterator[Database]:
    url = create_database(None)
    if request.param == "external":
        external_tables.create_external_tables(url)
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol) VALUES ('AAPL'), ('MSFT')")
    yield database
    database.close()


def write_external_bars(database: Database, symbol: str, bars: list[tuple[Any, ...]]) -> None:
    """Write bars like another program: (epoch, open, high, low, close, volume)."""
    with database.transaction() as connection:
        for epoch, *values in bars:
            connection.execute(
                "INSERT INTO market_data (symbol_id, timestamp, interval_type, open_price, high_price, low_price,"
                " close_price, volume) SELECT symbol_id, %s, '30min', %s, %s, %s, %s, %s FROM market_symbols"
                " WHERE symbol = %s ON CONFLICT (symbol_id, timestamp, interval_type) DO UPDATE SET"
                " volume = EXCLUDED.volume",
                [datetime.fromtimestamp(epoch, UTC), *values, symbol],
            )


def build_bars(sandbox: Sandbox, *days: date) -> list[tuple[Any, ...]]:
    return [
        tuple(getattr(value, "expected", value) for value in bar) for bar in build_expected_bars(sandbox, "AAPL", *days)
    ]


def create_engine(database: Database, sandbox: Sandbox, settings: Settings) -> Engine:
    return Engine(database, settings.model_copy(update={"base_url": sandbox.base_url}))


def read_revisions(database: Database) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        return connection.execute(
            "SELECT extract(epoch FROM timestamp)::bigint, open_price, high_price, low_price, close_price, volume,"
            " source_interval FROM backfill.revisions ORDER BY 1"
        ).fetchall()


def test_equal_bars_are_verified_and_different_bars_are_replaced(
    database_with_symbols: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    sandbox = start_sandbox()
    monday, tuesday, friday = (build_bars(sandbox, day) for day in (MONDAY, TUESDAY, FRIDAY))
    different = [(epoch, 5.0, 6.0, 4.0, 5.5, 77) for epoch, *_ in (monday[1], tuesday[2], friday[3])]
    write_external_bars(database_with_symbols, "AAPL", [monday[0], *different])
    engine = create_engine(database_with_symbols, sandbox, settings)

    unverified = run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    assert (
        unverified.written.protected,
        engine.measure(make_monday_tuesday_job(engine)).count_slots(SlotState.UNVERIFIED),
    ) == (
        4,
        3,
    )
    request_count = sandbox.stats()["by_endpoint"]["intraday"]

    verified = run_backfill(engine, make_monday_tuesday_job(engine, verify_existing=True), ignore_progress)
    assert sandbox.stats()["by_endpoint"]["intraday"] == request_count + 1  # MSFT has no bar to verify
    assert (verified.written.verified, verified.written.replaced) == (1, 2)
    assert (verified.written.protected, verified.written.inserted, verified.written.revised) == (1, 0, 0)
    assert (verified.planned, verified.stored, verified.absent) == (3, 3, {})
    assert engine.measure(make_monday_tuesday_job(engine)).count_slots(SlotState.PRESENT) == 52
    assert read_stored_bars(database_with_symbols, "AAPL", "30min") == [
        different[2],
        *build_expected_bars(sandbox, "AAPL", MONDAY, TUESDAY),
    ]
    assert read_revisions(database_with_symbols) == [(*different[0], None), (*different[1], None)]

    second = run_backfill(engine, make_monday_tuesday_job(engine, verify_existing=True), ignore_progress)
    assert second.requests == 0


def test_bars_missing_at_the_vendor_stay_external(
    database_with_symbols: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    sandbox = start_sandbox(publication=Publication(never_published=frozenset({("AAPL", TUESDAY)})))
    tuesday = [(epoch, 5.0, 6.0, 4.0, 5.5, 77) for epoch in GRID.starts[13:].tolist()]
    write_external_bars(database_with_symbols, "AAPL", tuesday)
    engine = create_engine(database_with_symbols, sandbox, settings)
    result = run_backfill(
        engine, make_job(engine, start=TUESDAY, end=TUESDAY, symbols=["AAPL"], verify_existing=True), ignore_progress
    )
    assert result.absent == {"external bar, not verified": 13}
    assert (
        result.exit_code,
        read_stored_bars(database_with_symbols, "AAPL", "30min"),
        read_revisions(database_with_symbols),
    ) == (0, tuesday, [])


def build_vendor_bar(database: Database) -> Columns:
    """Build the bar of the vendor for the first slot of AAPL, with the fingerprint of the stored external bar."""
    with database.transaction() as connection:
        symbols = list_symbols(connection, "US")
        external_bars = read_external_bars(connection, symbols, GRID)
    assert external_bars.slot_key.tolist() == [0]
    values = {"open": 2.0, "high": 3.0, "low": 1.0, "close": 2.5, "volume": 9, "source_rows": 6}
    key = {"symbol_id": symbols[0].symbol_id, "timestamp": int(GRID.starts[0])}
    columns = {name: [value] for name, value in {**key, **values}.items()}
    return Columns({**columns, "fingerprint": external_bars.fingerprint})


def verify_bars(database: Database, bars: Columns) -> dict[int, WriteCounts]:
    with database.transaction() as connection:
        interval = INTERVALS["30m"]
        return verify_external_bars(connection, bars, interval=interval, source="vendor", source_interval="5m").counts


def test_a_bar_changed_since_it_was_read_is_not_replaced(database_with_symbols: Database) -> None:
    bar = (int(GRID.starts[0]), 5.0, 6.0, 4.0, 5.5, 77)
    write_external_bars(database_with_symbols, "AAPL", [bar])
    bars = build_vendor_bar(database_with_symbols)
    write_external_bars(database_with_symbols, "AAPL", [(*bar[:5], 78)])
    assert verify_bars(database_with_symbols, bars) == {}
    assert (read_stored_bars(database_with_symbols, "AAPL", "30min"), read_revisions(database_with_symbols)) == (
        [(*bar[:5], 78)],
        [],
    )
    write_external_bars(database_with_symbols, "AAPL", [bar])  # the original bar
    assert list(verify_bars(database_with_symbols, bars).values()) == [WriteCounts(replaced=1)]


def test_an_external_copy_of_a_verified_bar_is_not_changed(
    database_with_symbols: Database, start_sandbox: StartSandbox, settings: Settings
) -> None:
    engine = create_engine(database_with_symbols, start_sandbox(), settings)
    run_backfill(engine, make_monday_tuesday_job(engine), ignore_progress)
    bar = (int(GRID.starts[0]), 5.0, 6.0, 4.0, 5.5, 77)
    write_external_bars(database_with_symbols, "AAPL", [bar])
    verified = run_backfill(engine, make_monday_tuesday_job(engine, verify_existing=True), ignore_progress)
    assert verified.requests == 0
    assert read_stored_bars(database_with_symbols, "AAPL", "30min") == [bar]


def test_no_symbols_or_no_slots_gives_no_external_bars(database_with_symbols: Database) -> None:
    with database_with_symbols.transaction() as connection:
        assert not len(read_external_bars(connection, [], GRID).slot_key)
        assert not len(
            read_external_bars(
                connection, list_symbols(connection, "US"), build_slot_grid((), INTERVALS["30m"])
            ).slot_key
        )
        assert read_external_bars(connection, list_symbols(connection, "US"), GRID).fingerprint.dtype == np.int64
