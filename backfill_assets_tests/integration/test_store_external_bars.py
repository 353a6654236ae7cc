"""``--verify-existing``: bars of somebody else against the vendor's, on both forms of the tables."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.sandbox.config import Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.bars.bar_writer import WriteCounts
from backfill_assets.store.bars.external_bars import read_external_bars, verify_external_bars
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import list_symbols
from backfill_assets_tests import external_tables
from backfill_assets_tests.conftest import bars_in, job, monday_and_tuesday
from backfill_assets_tests.integration.test_backfill_engine import MONDAY, TUESDAY, ignore_progress, truth

Sandboxed = Callable[..., Sandbox]
FRIDAY = date(2026, 5, 29)  # before the window: re-read, never verified
GRID = build_slot_grid(list_sessions("US", MONDAY, TUESDAY), INTERVALS["30m"])


@pytest.fixture(params=["lean", "theirs"])
def tables(request: pytest.FixtureRequest, new_database: Callable[..., str]) -> Iterator[Database]:
    url = new_database(None)
    if request.param == "theirs":
        external_tables.build(url)
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        connection.execute("INSERT INTO market_symbols (symbol) VALUES ('AAPL'), ('MSFT')")
    yield database
    database.close()


def collect(database: Database, symbol: str, bars: list[tuple[Any, ...]]) -> None:
    """Write bars as another program would: (epoch, open, high, low, close, volume)."""
    with database.transaction() as connection:
        for epoch, *values in bars:
            connection.execute(
                "INSERT INTO market_data (symbol_id, timestamp, interval_type, open_price, high_price, low_price,"
                " close_price, volume) SELECT symbol_id, %s, '30min', %s, %s, %s, %s, %s FROM market_symbols"
                " WHERE symbol = %s ON CONFLICT (symbol_id, timestamp, interval_type) DO UPDATE SET"
                " volume = EXCLUDED.volume",
                [datetime.fromtimestamp(epoch, UTC), *values, symbol],
            )


def true_bars(sandbox: Sandbox, *days: date) -> list[tuple[Any, ...]]:
    return [tuple(getattr(v, "expected", v) for v in bar) for bar in truth(sandbox, "AAPL", *days)]


def engine_over(database: Database, sandbox: Sandbox, settings: Settings) -> Engine:
    return Engine(database, settings.model_copy(update={"base_url": sandbox.base_url}))


def revisions(database: Database) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        return connection.execute(
            "SELECT extract(epoch FROM timestamp)::bigint, open_price, high_price, low_price, close_price, volume,"
            " source_interval FROM backfill.revisions ORDER BY 1"
        ).fetchall()


def test_equal_bars_are_verified_and_different_ones_replaced(
    tables: Database, sandboxed: Sandboxed, settings: Settings
) -> None:
    sandbox = sandboxed()
    monday, tuesday, friday = (true_bars(sandbox, day) for day in (MONDAY, TUESDAY, FRIDAY))
    wrong = [(epoch, 5.0, 6.0, 4.0, 5.5, 77) for epoch, *_ in (monday[1], tuesday[2], friday[3])]
    collect(tables, "AAPL", [monday[0], *wrong])
    engine = engine_over(tables, sandbox, settings)

    plain = run_backfill(engine, monday_and_tuesday(engine), ignore_progress)
    assert (plain.written.protected, engine.measure(monday_and_tuesday(engine)).count_slots(SlotState.UNVERIFIED)) == (
        4,
        3,
    )
    asked = sandbox.stats()["by_endpoint"]["intraday"]

    verified = run_backfill(engine, monday_and_tuesday(engine, verify_existing=True), ignore_progress)
    assert sandbox.stats()["by_endpoint"]["intraday"] == asked + 1  # MSFT has nothing to verify
    assert (verified.written.verified, verified.written.replaced) == (1, 2)
    assert (verified.written.protected, verified.written.inserted, verified.written.revised) == (1, 0, 0)
    assert (verified.planned, verified.stored, verified.absent) == (3, 3, {})
    assert engine.measure(monday_and_tuesday(engine)).count_slots(SlotState.PRESENT) == 52
    assert bars_in(tables, "AAPL", "30min") == [wrong[2], *truth(sandbox, "AAPL", MONDAY, TUESDAY)]
    assert revisions(tables) == [(*wrong[0], None), (*wrong[1], None)]

    again = run_backfill(engine, monday_and_tuesday(engine, verify_existing=True), ignore_progress)
    assert again.requests == 0


def test_bars_that_the_vendor_does_not_have_stay_external(
    tables: Database, sandboxed: Sandboxed, settings: Settings
) -> None:
    sandbox = sandboxed(publication=Publication(never_published=frozenset({("AAPL", TUESDAY)})))
    tuesday = [(epoch, 5.0, 6.0, 4.0, 5.5, 77) for epoch in GRID.starts[13:].tolist()]
    collect(tables, "AAPL", tuesday)
    engine = engine_over(tables, sandbox, settings)
    result = run_backfill(
        engine, job(engine, start=TUESDAY, end=TUESDAY, symbols=["AAPL"], verify_existing=True), ignore_progress
    )
    assert result.absent == {"external bar, not verified": 13}
    assert (result.exit_code, bars_in(tables, "AAPL", "30min"), revisions(tables)) == (0, tuesday, [])


def one_bar(database: Database) -> pd.DataFrame:
    """The vendor's bar for AAPL's first slot, with the fingerprint of the bar that ``collect`` wrote there."""
    with database.transaction() as connection:
        symbols = list_symbols(connection, "US")
        theirs = read_external_bars(connection, symbols, GRID)
    assert theirs.slot_key.tolist() == [0]
    values = {"open": 2.0, "high": 3.0, "low": 1.0, "close": 2.5, "volume": 9, "source_rows": 6}
    key = {"symbol_id": symbols[0].symbol_id, "timestamp": int(GRID.starts[0])}
    return pd.DataFrame([{**key, **values}]).assign(fingerprint=theirs.fingerprint)


def verify(database: Database, bars: pd.DataFrame) -> dict[int, WriteCounts]:
    with database.transaction() as connection:
        return verify_external_bars(connection, bars, interval=INTERVALS["30m"], source="vendor", source_interval="5m")


def test_a_bar_that_was_changed_since_it_was_read_stays(tables: Database) -> None:
    bar = (int(GRID.starts[0]), 5.0, 6.0, 4.0, 5.5, 77)
    collect(tables, "AAPL", [bar])
    bars = one_bar(tables)
    collect(tables, "AAPL", [(*bar[:5], 78)])
    assert verify(tables, bars) == {}
    assert (bars_in(tables, "AAPL", "30min"), revisions(tables)) == ([(*bar[:5], 78)], [])
    collect(tables, "AAPL", [bar])  # as it was
    assert list(verify(tables, bars).values()) == [WriteCounts(replaced=1)]


def test_an_external_copy_of_a_verified_bar_is_left_alone(
    tables: Database, sandboxed: Sandboxed, settings: Settings
) -> None:
    engine = engine_over(tables, sandboxed(), settings)
    run_backfill(engine, monday_and_tuesday(engine), ignore_progress)
    bar = (int(GRID.starts[0]), 5.0, 6.0, 4.0, 5.5, 77)
    collect(tables, "AAPL", [bar])
    verified = run_backfill(engine, monday_and_tuesday(engine, verify_existing=True), ignore_progress)
    assert verified.requests == 0
    assert bars_in(tables, "AAPL", "30min") == [bar]


def test_no_symbols_or_no_slots_gives_no_external_bars(tables: Database) -> None:
    with tables.transaction() as connection:
        assert not len(read_external_bars(connection, [], GRID).slot_key)
        assert not len(
            read_external_bars(
                connection, list_symbols(connection, "US"), build_slot_grid((), INTERVALS["30m"])
            ).slot_key
        )
        assert read_external_bars(connection, list_symbols(connection, "US"), GRID).fingerprint.dtype == np.int64
