"""Reads of daily rows: states, what is returned and refused, adjustments, points in time."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.exchanges.registry import US
from backfill_assets.reading import IncompleteBars, MissingFactor, PendingSessions, read_daily
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.conftest import NOW
from backfill_assets_tests.integration.stored_actions import Store

SESSIONS = list_sessions(US, date(2026, 5, 27), date(2026, 6, 2))
WEDNESDAY, THURSDAY, FRIDAY, MONDAY, TUESDAY = (session.day for session in SESSIONS)
MORNING = timedelta(hours=13)  # after a close


@pytest.fixture
def engine(database: Database, settings: Settings) -> Engine:
    return Engine(database, settings)  # the clock stands on Wednesday, June 3, at 10:00 in New York


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    with database.transaction() as connection:
        yield Store(connection)


def add_rows(store: Store, symbol: str, closes: dict[date, float], **values: Any) -> int:
    """Settled rows, each read on the morning after."""
    symbol_id = store.add_symbol(symbol)
    for day, close in closes.items():
        add_row(store, symbol_id, day, close, **values)
    return symbol_id


def add_row(store: Store, symbol_id: int, day: date, close: float, **values: Any) -> None:
    read_at = next(session.close for session in SESSIONS if session.day == day) + MORNING
    prices = {"open_price": close - 1, "high_price": close + 1, "low_price": close - 2, "close_price": close}
    figures = {**prices, "adjusted_close": close, "reported_volume": 1000, "volume": 1000, "read_at": read_at}
    store.insert("backfill.daily_prices", symbol_id=symbol_id, day=day, **{**figures, **values})


def add_complete_rows(store: Store) -> None:
    add_rows(store, "MSFT", {day: 400.0 + position for position, day in enumerate((FRIDAY, MONDAY))})
    add_rows(store, "AAPL", {FRIDAY: 200.0, MONDAY: 210.0})
    store.connection.commit()


@pytest.fixture
def complete_store(store: Store) -> Store:
    add_complete_rows(store)
    return store


@pytest.fixture(scope="module")
def complete(create_database: Callable[..., str], home: Path) -> Iterator[Engine]:
    """An engine over a complete store that no test changes."""
    database = Database(create_database())
    with database.transaction() as connection:
        add_complete_rows(Store(connection))
    yield Engine(database, load_settings(home=home, as_of=NOW))
    database.close()


def list_days(frame: pd.DataFrame) -> list[date]:
    return [stamp.date() for stamp in frame["session"]]


def test_rows_are_in_the_order_asked_for(complete: Engine) -> None:
    result = read_daily(["MSFT", "AAPL"], "2026-05-29", "2026-06-02", settings=complete)
    frame = result.frame
    assert frame["symbol"].tolist() == ["MSFT.US", "MSFT.US", "AAPL.US", "AAPL.US"]
    assert list_days(frame) == [FRIDAY, MONDAY] * 2
    assert frame["close"].tolist() == [400.0, 401.0, 200.0, 210.0]
    assert frame["volume"].tolist() == [1000] * 4
    assert frame["timestamp"][0] == pd.Timestamp("2026-05-29T13:30Z")
    assert frame["slot_end"][0] == pd.Timestamp("2026-05-29T20:00Z")
    assert frame["read_at"][0] == pd.Timestamp("2026-05-30T09:00Z")
    assert result.health.is_complete
    assert result.health.totals["present"] == 4


def test_a_session_is_in_if_it_has_closed_by_the_end(complete: Engine) -> None:
    frame = read_daily("AAPL", "2026-05-29", "2026-06-01T20:00Z", settings=complete).frame
    assert list_days(frame) == [FRIDAY, MONDAY]
    frame = read_daily("AAPL", "2026-05-29T13:31Z", "2026-06-01T20:00Z", settings=complete).frame
    assert list_days(frame) == [MONDAY]
    frame = read_daily(
        "AAPL", "2026-05-29", "2026-06-01T19:59Z", settings=complete, columns=["close"], format="arrow"
    ).frame
    assert frame.to_pylist() == [{"close": 200.0}]


def test_sessions_without_a_final_row(engine: Engine, store: Store) -> None:
    """Wednesday has none although the vendor was asked, nothing traded on Thursday, Friday's was read too early."""
    symbol_id = add_rows(store, "AAPL", {MONDAY: 210.0})
    store.insert("backfill.daily_prices", symbol_id=symbol_id, day=THURSDAY, volume=0, no_row_reason="as usual")
    add_row(store, symbol_id, FRIDAY, 200.0, read_at=SESSIONS[2].close + timedelta(hours=1))
    answered = {"answered_at": SESSIONS[0].close + MORNING, "read_from": WEDNESDAY}
    store.insert("backfill.daily_reads", symbol_id=symbol_id, **answered)
    store.connection.commit()
    with pytest.raises(IncompleteBars) as refused:
        read_daily("AAPL", "2026-05-27", "2026-06-03", settings=engine)
    found = {problem.session: problem.state for problem in refused.value.problems}
    assert refused.value.problems[0].command.startswith("backfill-assets why AAPL 2026-0")
    assert "--interval" not in refused.value.problems[0].command
    assert found == {WEDNESDAY: "vendor_gap", FRIDAY: "provisional", TUESDAY: "missing"}
    assert refused.value.health.totals["no_trade"] == 1
    frame = read_daily("AAPL", "2026-05-27", "2026-05-29", require="explained", settings=engine).frame
    assert frame.empty
    frame = read_daily("AAPL", "2026-05-29", "2026-06-02", provisional=True, settings=engine).frame
    assert frame["state"].tolist() == ["provisional", "present"]
    frame = read_daily("AAPL", "2026-05-27", "2026-06-03", require="any", settings=engine).frame
    assert list_days(frame) == [MONDAY]
    frame = read_daily("AAPL", "2026-05-27", "2026-06-03", require="any", grid=True, settings=engine).frame
    assert frame["state"].tolist() == ["vendor_gap", "no_trade", "provisional", "present", "missing"]
    assert frame["close"].isna().tolist() == [True, True, True, False, True]


def test_a_row_is_awaited_for_twelve_hours(complete: Engine) -> None:
    evening = datetime(2026, 6, 2, 21, tzinfo=UTC)
    engine = Engine(complete.database, complete.settings.model_copy(update={"as_of": evening}))
    with pytest.raises(PendingSessions) as pending:
        read_daily("AAPL", "2026-06-01", "2026-06-03", settings=engine)
    assert pending.value.sessions == (TUESDAY,)
    assert pending.value.next_request_at == datetime(2026, 6, 3, 8, tzinfo=UTC)


def test_incomplete_symbols_are_dropped_whole_and_named(engine: Engine, complete_store: Store) -> None:
    add_rows(complete_store, "GAPS", {FRIDAY: 10.0})
    complete_store.connection.commit()
    window = ("2026-05-29", "2026-06-02")
    result = read_daily(["GAPS", "AAPL"], *window, on_incomplete="drop", settings=engine)
    assert result.health.dropped == ("GAPS.US",)
    assert set(result.frame["symbol"]) == {"AAPL.US"}
    with pytest.raises(IncompleteBars):
        read_daily("GAPS", *window, on_incomplete="drop", settings=engine)


def test_adjusted_like_bars(engine: Engine, store: Store) -> None:
    symbol_id = store.add_symbol("NVDA")
    later = SESSIONS[4].close + MORNING
    store.add_split(symbol_id, MONDAY, 10)
    store.connection.execute("UPDATE backfill.split_reads SET read_at = %s", [later])
    add_row(store, symbol_id, FRIDAY, 1000.0, read_at=later, adjusted_close=100.0, reported_volume=10_000, volume=1)
    add_row(store, symbol_id, MONDAY, 101.0)
    store.connection.commit()
    window = ("2026-05-29", "2026-06-02")
    raw = read_daily("NVDA", *window, settings=engine).frame
    assert raw["close"].tolist() == [1000.0, 101.0]
    assert raw["volume"].tolist() == [1000, 1000]
    adjusted = read_daily("NVDA", *window, adjustment="splits", settings=engine).frame
    assert adjusted[["open", "close", "volume"]].values.tolist() == [[99.9, 100.0, 10_000.0], [100.0, 101.0, 1000.0]]
    then = read_daily("NVDA", *window, adjustment="splits", point_in_time="2026-05-31T00:00Z", settings=engine)
    assert then.frame["close"].tolist() == [1000.0]  # the split was still to come, and so was Monday
    assert (then.health.assumed, then.health.not_public) == (1, 1)  # Friday's row was read later than that


def test_a_close_is_public_after_the_delay(complete: Engine) -> None:
    def read(moment: str, **options: Any) -> list[date]:
        window = ("2026-05-29", "2026-06-02")
        result = read_daily("AAPL", *window, point_in_time=moment, settings=complete, **options)
        assert all(result.frame["slot_end"] <= pd.Timestamp(moment))
        return list_days(result.frame)

    assert read("2026-06-01T20:14Z") == [FRIDAY]
    assert read("2026-06-01T20:15Z") == [FRIDAY, MONDAY]
    assert read("2026-06-01T20:15Z", publication_delay=timedelta(hours=1)) == [FRIDAY]
    assert read("2026-06-01T20:00Z", publication_delay=timedelta()) == [FRIDAY, MONDAY]


def test_a_missing_factor_is_an_error(engine: Engine, complete_store: Store) -> None:
    complete_store.connection.execute("DELETE FROM backfill.split_reads")
    complete_store.connection.commit()
    with pytest.raises(MissingFactor, match="cannot be adjusted for its splits"):
        read_daily("AAPL", "2026-05-29", "2026-06-02", adjustment="splits", settings=engine)


def test_prices_that_may_be_adjusted_are_suspect(engine: Engine, store: Store) -> None:
    symbol_id = store.add_symbol("GE")
    store.add_spinoff(symbol_id, TUESDAY, 0.8)
    add_row(store, symbol_id, FRIDAY, 80.0, read_at=SESSIONS[4].close + MORNING)
    add_row(store, symbol_id, MONDAY, 100.0, read_at=SESSIONS[3].close + timedelta(hours=13))
    store.connection.commit()
    with pytest.raises(IncompleteBars, match=r"GE\.US 2026-06-01: 1 slot suspect"):
        read_daily("GE", "2026-05-29", "2026-06-02", settings=engine)
    frame = read_daily("GE", "2026-05-29", "2026-06-02", require="any", settings=engine).frame
    assert frame["close"].tolist() == [100.0, 100.0]  # Friday's is as traded again


def test_unknown_volumes_are_null_and_noted(engine: Engine, store: Store) -> None:
    symbol_id = add_rows(store, "AAPL", {FRIDAY: 100.0}, adjusted_close=90.0, read_at=SESSIONS[4].close + MORNING)
    store.connection.execute("UPDATE backfill.split_reads SET read_at = %s", [SESSIONS[0].close])
    store.connection.commit()
    result = read_daily("AAPL", "2026-05-29", "2026-05-30", settings=engine)
    assert result.frame["volume"].isna().tolist() == [True]
    assert "1 volumes are null" in str(result.health)
    assert symbol_id


@pytest.mark.parametrize("columns", [["nothing"], ["source"], []])
def test_columns_are_those_of_daily_rows(complete: Engine, columns: list[str]) -> None:
    with pytest.raises(UsageError, match="columns"):
        read_daily("AAPL", "2026-05-29", "2026-06-02", columns=columns, settings=complete)


def test_an_empty_window_is_said(complete: Engine) -> None:
    result = read_daily("AAPL", "2026-05-30", "2026-06-01", settings=complete, format="polars")
    assert result.frame.is_empty()
    assert "no session lies in the window" in str(result.health)
