"""Daily rows as they were traded: what the vendor adjusts is undone."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.store.evidence.daily_series import DailySeries, read_daily_series
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.integration.stored_actions import READ, Store

SESSIONS = list_sessions(US, date(2025, 6, 2), date(2025, 6, 6))
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (session.day for session in SESSIONS)


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    with database.transaction() as connection:
        yield Store(connection)


def add_row(store: Store, symbol_id: int, day: date, read_at: datetime | None = READ, **figures: object) -> None:
    prices = {"open_price": 99.0, "high_price": 101.0, "low_price": 98.0, "close_price": 100.0, "adjusted_close": 100.0}
    figures = {**prices, "reported_volume": 1000, "volume": 1000, **figures}
    store.insert("backfill.daily_prices", symbol_id=symbol_id, day=day, read_at=read_at, **figures)


def read(store: Store, *symbol_ids: int) -> DailySeries:
    return read_daily_series(store.connection, symbol_ids, SESSIONS)


def test_volumes_are_in_shares_of_their_day(store: Store) -> None:
    """The vendor multiplies those before a split that was read after it."""
    symbol_id = store.add_symbol("AAPL")
    store.add_split(symbol_id, WEDNESDAY, 4)
    at_once = datetime(2025, 6, 3, 12, tzinfo=UTC)
    add_row(store, symbol_id, MONDAY, at_once)
    add_row(store, symbol_id, TUESDAY, adjusted_close=25.0, reported_volume=4000, volume=4000)
    add_row(store, symbol_id, WEDNESDAY)
    assert read(store, symbol_id).volume[0].tolist()[:3] == [1000.0, 1000.0, 1000.0]


def test_volumes_whose_splits_are_not_known_are_unknown(store: Store) -> None:
    symbol_id = store.add_symbol("AAPL", known_after=None)
    add_row(store, symbol_id, MONDAY, adjusted_close=50.0)
    add_row(store, symbol_id, TUESDAY)
    assert np.isnan(read(store, symbol_id).volume[0, 0])
    assert read(store, symbol_id).volume[0, 1] == 1000.0


def test_prices_are_as_traded_before_a_spin_off(store: Store) -> None:
    """A row that was read before it is as traded, one read after it is multiplied, one of the day is unclear."""
    symbol_id = store.add_symbol("GE")
    store.add_spinoff(symbol_id, FRIDAY, 0.8)
    add_row(store, symbol_id, MONDAY, datetime(2025, 6, 3, 12, tzinfo=UTC))
    add_row(store, symbol_id, TUESDAY)
    add_row(store, symbol_id, WEDNESDAY, datetime(2025, 6, 6, 12, tzinfo=UTC))
    add_row(store, symbol_id, THURSDAY, None)
    add_row(store, symbol_id, FRIDAY)
    series = read(store, symbol_id)
    assert series.close[0].tolist() == [100.0, 125.0, 100.0, 100.0, 100.0]
    assert series.open[0, 1] == pytest.approx(99 / 0.8)
    assert series.is_unclear[0].tolist() == [False, False, True, True, False]


def test_a_spin_off_of_the_new_ticker_is_the_old_one_s_too(store: Store) -> None:
    old, new = store.add_symbol("FB"), store.add_symbol("META")
    store.add_listings((old, None, TUESDAY), (new, WEDNESDAY, None))
    store.add_spinoff(new, FRIDAY, 0.5)
    add_row(store, old, MONDAY)
    add_row(store, old, WEDNESDAY)
    add_row(store, new, WEDNESDAY)
    series = read(store, old, new)
    assert series.close[:, 0].tolist()[0] == 200.0
    assert series.close[:, 2].tolist() == [100.0, 200.0]  # FB is another company's by then
    assert series.is_listed.tolist() == [[True, True, False, False, False], [False, False, True, True, True]]


def test_what_is_known_of_days_without_figures(store: Store) -> None:
    symbol_id = store.add_symbol("THIN")
    add_row(store, symbol_id, MONDAY, SESSIONS[0].close + timedelta(hours=1))
    add_row(store, symbol_id, TUESDAY, reported_volume=0, volume=0)
    store.insert("backfill.daily_prices", symbol_id=symbol_id, day=WEDNESDAY, volume=0, no_row_reason="as usual")
    store.insert(
        "backfill.daily_reads",
        symbol_id=symbol_id,
        answered_at=SESSIONS[3].close + timedelta(hours=13),
        read_from=MONDAY,
    )
    series = read(store, symbol_id)
    assert series.has_row[0].tolist() == [True, True, False, False, False]
    assert series.is_settled[0].tolist() == [False, True, False, False, False]
    assert series.is_without_trade[0].tolist() == [False, True, True, False, False]
    assert series.is_answered[0].tolist() == [True, True, True, True, False]
