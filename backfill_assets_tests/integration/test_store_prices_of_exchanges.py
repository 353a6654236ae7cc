"""Prices of a million won, of four decimals of a penny, and fractional daily volumes: exactly, or refused by name."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import pandas as pd
import psycopg
import pytest

from backfill_assets.market.columns import Columns
from backfill_assets.market.daily_prices import build_daily_prices
from backfill_assets.store.bars.bar_writer import write_bars
from backfill_assets.store.bars.stored_bars import read_bars
from backfill_assets.store.evidence.daily_prices import read_daily_price, read_daily_revisions, record_daily_rows
from backfill_assets.store.evidence.daily_series import read_daily_series
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.integration.two_exchanges import (
    AU,
    INTERVAL,
    NOW,
    THURSDAY,
    WITH_BOTH_IN_THE_KEY,
    execute,
    get_market,
    open_store,
)
from backfill_assets_tests.unit.market_builders import make_daily_rows

NAME = "BHP"


@pytest.fixture(params=["own", "external"])
def form(request: pytest.FixtureRequest, create_database: Callable[..., str]) -> Iterator[tuple[str, Database]]:
    """A store in each form of the tables: double precision, and numeric(12,6)."""
    if request.param == "external":
        url = create_database(None)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(WITH_BOTH_IN_THE_KEY.encode())
    else:
        url = create_database()
    for database in open_store(url):
        yield request.param, database


def write(database: Database, prices: Sequence[float]) -> tuple[list[float | None], list[str]]:
    """Write a bar for each price; returns the closes that are stored, and what refused the others."""
    market = get_market(database, AU)
    starts = [int(market.grid.starts[at]) for at in range(len(prices))]
    bars = pd.DataFrame(
        {
            **{"symbol_id": market.ids[NAME], "timestamp": starts},
            **{name: list(prices) for name in ("open", "high", "low", "close")},
            **{"volume": 2_000_000_000_000, "source_rows": 6, "is_final": True, "may_insert": True},
        }
    )
    with database.transaction() as connection:
        written = write_bars(
            connection, Columns(bars), interval=INTERVAL, spelling=INTERVAL.name, source="test", source_interval="5m",
            requested_at=datetime(2026, 1, 16, tzinfo=UTC),
        )  # fmt: skip
        stored = read_bars(connection, market.ids[NAME], INTERVAL, market.grid.first_start, market.grid.last_start)
    return [bar.close for bar in stored], [bar.describe() for bar in written.refused]


def test_prices_are_stored_exactly_or_refused_by_name(form: tuple[str, Database]) -> None:
    """Own columns hold what float64 holds; numeric(12,6) refuses a million, and the others are stored without it."""
    name, database = form
    closes, refused = write(database, [123.4567, 1_000_000.0, 0.0001, 999_999.999999, 123_456_789.123456])
    if name == "own":
        assert (closes, refused) == ([123.4567, 1_000_000.0, 0.0001, 999_999.999999, 123_456_789.123456], [])
    else:
        assert closes == [123.4567, 0.0001, 999_999.999999]
        assert len(refused) == 2
        assert all("numeric field overflow" in words for words in refused)
    again, _ = write(database, [123.4567, 1_000_000.0, 0.0001, 999_999.999999, 123_456_789.123456])
    assert again == closes  # nothing is revised
    assert execute(database, "SELECT count(*) FROM backfill.revisions") == [(0,)]


def test_daily_volumes_keep_their_fraction(form: tuple[str, Database]) -> None:
    database, market = form[1], get_market(form[1], AU)
    key = market.ids[NAME]

    def record(volume: float | None) -> None:
        rows = build_daily_prices([key], make_daily_rows((THURSDAY, 1.0, 1.0, 1.0, 1.0, 1.0, volume)), [0])
        with database.transaction() as connection:
            record_daily_rows(connection, rows, NOW)

    def read() -> tuple[float | None, list[float | None], list[tuple[int, int | None, float | None]]]:
        with database.transaction() as connection:
            price = read_daily_price(connection, key, THURSDAY)
            revisions = read_daily_revisions(connection, key, THURSDAY)
        columns = execute(database, "SELECT volume, reported_volume, fractional_volume FROM backfill.daily_prices")
        assert price is not None
        return price.volume, [revision.volume for revision in revisions], columns

    record(1_765_967.53)
    assert read() == (1_765_967.53, [], [(1_765_968, 1_765_968, 1_765_967.53)])
    with database.transaction() as connection:
        assert read_daily_series(connection, [key], market.sessions).volume[0, -1] == 1_765_967.53
    record(1_765_967.25)  # rounded it is the same
    assert read() == (1_765_967.25, [1_765_967.53], [(1_765_968, 1_765_968, 1_765_967.25)])
    record(1_765_968)
    assert read() == (1_765_968, [1_765_967.53, 1_765_967.25], [(1_765_968, 1_765_968, None)])
    assert isinstance(read()[0], int)
    record(None)  # not known: not the same as 0
    assert read()[2] == [(None, None, None)]
    record(0.25)  # something traded
    assert read()[2] == [(1, 1, 0.25)]
