"""Inactive symbols with bars: their actions are read once, so that their bars can be adjusted."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from backfill_assets.backfill.actions.action_reading import create_action_readings
from backfill_assets.backfill.daily_reading import find_due_reading, read_daily_data
from backfill_assets.backfill.delisted_symbols import add_delisted
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.sandbox.actions import Split
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.actions.action_reads import find_unread_ended_symbols
from backfill_assets_tests.integration.test_backfill_absence_lookup import query
from backfill_assets_tests.integration.test_backfill_actions import pay, read_calls
from backfill_assets_tests.integration.test_backfill_daily_reading import move_to

TUESDAY, THURSDAY, FRIDAY = date(2026, 5, 26), date(2026, 5, 28), date(2026, 5, 29)
ACTIONS = (pay(date(2026, 5, 28)), Split(FRIDAY, 2))


@pytest.fixture
def open_market(make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]) -> Callable[..., Any]:
    def make(symbols: tuple[str, ...] = ("AAPL",), **config: Any) -> tuple[Engine, Sandbox]:
        sandbox = start_sandbox(splits={}, per_minute=100_000, **config)
        settings = {"daily_data": True, "partition_days": 3, "requests_per_minute": 100_000}
        return make_engine(sandbox, symbols, **settings), sandbox

    return make


def fill(engine: Engine, symbol: str) -> None:
    job, _ = build_job(engine, JobRequest(start=TUESDAY, end=FRIDAY, symbols=[symbol]))
    assert run_backfill(engine, job, lambda _: None).after.missing == 0


def read_day(engine: Engine, sandbox: Sandbox, day: int) -> tuple[int, int, int]:
    """Lists of splits and of dividends, and closes, that were requested on a day of June; and the calls for them."""
    at = move_to(engine, sandbox, datetime(2026, 6, day, 14, tzinfo=UTC))
    reading = read_daily_data(at, US)
    assert reading.stopped is None
    calls = read_calls(at, at.settings.now())
    spent = calls.get("splits", 0) + calls.get("dividends", 0)
    assert spent == reading.splits_requested + reading.dividends_requested + reading.closes_requested
    return reading.splits_requested, reading.dividends_requested, reading.closes_requested


def read_adjusted(engine: Engine, symbol: str) -> list[Any]:
    """The ratios of adjusted and raw closes, one for each session."""
    statement = (
        "SELECT round((min(b.close_price / m.close_price))::numeric, 3)::text"
        " FROM backfill.adjusted_bars('splits_and_dividends') b JOIN market_data m USING (symbol_id, \"timestamp\")"
        f" JOIN market_symbols s USING (symbol_id) WHERE s.symbol = '{symbol}' GROUP BY b.session_day"
        " ORDER BY b.session_day"
    )
    return query(engine, statement)


def test_a_delisted_tickers_actions_are_read_once(open_market: Callable[..., Any]) -> None:
    engine, sandbox = open_market(delisted={"GONE": FRIDAY}, actions={"GONE": ACTIONS})
    add_delisted(engine, parse_tickers(["GONE"]), "ann@a")
    assert read_day(engine, sandbox, 3) == (1, 1, 0)  # of AAPL; GONE has no bars
    fill(engine, "GONE")
    assert read_day(engine, sandbox, 4) == (1, 1, 1)
    ratios = [float(ratio) for (ratio,) in read_adjusted(engine, "GONE")]
    assert ratios[2:] == [0.5, 1.0]
    assert 0 < ratios[0] == ratios[1] < 0.5
    later = [read_day(engine, sandbox, day) for day in (5, 9, 10, 11, 12, 17, 18)]
    assert later == [(0, 0, 0), (0, 0, 0), (1, 1, 0), (0, 0, 0), (0, 0, 0), (1, 1, 0), (0, 0, 0)]  # AAPL's are weekly


def test_a_deactivated_symbols_actions_are_read_once(open_market: Callable[..., Any]) -> None:
    engine, sandbox = open_market(("AAPL", "MSFT"), actions={"MSFT": ACTIONS})
    fill(engine, "MSFT")
    with engine.database.transaction() as connection:
        connection.execute("UPDATE market_symbols SET is_active = false WHERE symbol = 'MSFT'")
    assert [read_day(engine, sandbox, day) for day in (3, 4, 10, 11)] == [
        (2, 2, 0), (0, 0, 1), (1, 1, 0), (0, 0, 0),
    ]  # fmt: skip
    assert [float(ratio) for (ratio,) in read_adjusted(engine, "MSFT")][2:] == [0.5, 1.0]


def test_a_list_from_before_the_end_is_read_again(open_market: Callable[..., Any]) -> None:
    engine, sandbox = open_market(("AAPL", "MSFT"), actions={"MSFT": ACTIONS})
    fill(engine, "MSFT")
    assert read_day(engine, sandbox, 3) == (2, 2, 0)
    with engine.database.transaction() as connection:
        connection.execute("UPDATE market_symbols SET is_active = false WHERE symbol = 'MSFT'")
        for table in ("split_reads", "dividend_reads"):
            statement = f"UPDATE backfill.{table} SET known_until = '2026-05-28' WHERE symbol_id = 2"
            connection.execute(statement.encode())
        now = engine.settings.now()
        assert find_unread_ended_symbols(connection, "split_reads", [2], now, 9) == [2]
    assert [read_day(engine, sandbox, day)[:2] for day in (4, 9, 10, 11, 17)] == [
        (0, 0), (0, 0), (2, 2), (0, 0), (1, 1),
    ]  # fmt: skip


def test_a_renamed_ticker_is_asked_under_its_present_one_and_an_unknown_one_weekly(
    open_market: Callable[..., Any],
) -> None:
    engine, sandbox = open_market(("AAPL", "FB", "NOSUCH"), renamed={"FB": ("META", FRIDAY)}, actions={"META": ACTIONS})
    with engine.database.transaction() as connection:
        connection.execute("UPDATE market_symbols SET is_active = false WHERE symbol <> 'AAPL'")
        connection.execute("INSERT INTO market_symbols (symbol, exchange, is_active) VALUES ('META', 'US', false)")
        connection.execute(
            "INSERT INTO backfill.listings (instrument_id, symbol_id, listed_from, listed_until, source, recorded_by,"
            " recorded_at) SELECT 1, symbol_id, CASE symbol WHEN 'META' THEN date '2026-05-29' END,"
            " CASE symbol WHEN 'FB' THEN date '2026-05-28' END, 'told', 'ann@a', now()"
            " FROM market_symbols WHERE symbol IN ('FB', 'META')"
        )
        connection.execute(
            "INSERT INTO market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price,"
            " close_price, volume)"
            " SELECT symbol_id, '30m', '2026-05-26 14:00+00', 9, 9, 9, 9, 9 FROM market_symbols"
            " WHERE symbol IN ('FB', 'NOSUCH')"
        )
    asked = []
    for day in (3, 4, 9, 10, 11):
        at = move_to(engine, sandbox, datetime(2026, 6, day, 14, tzinfo=UTC))
        before = len(query(engine, "SELECT ticker FROM backfill.requests WHERE endpoint = '/splits'"))
        read_daily_data(at, US)
        rows = query(engine, "SELECT ticker FROM backfill.requests WHERE endpoint = '/splits' ORDER BY at")
        asked.append([ticker.removesuffix(".US") for (ticker,) in rows[before:]])
    assert asked == [["AAPL", "FB", "META", "NOSUCH"], [], [], ["AAPL", "NOSUCH"], []]


def test_a_week_is_seven_dates_whatever_the_hour(open_market: Callable[..., Any]) -> None:
    engine, sandbox = open_market()

    def has_due(at: Engine) -> bool:
        due = find_due_reading(at, US)
        return any(r.has_due() for r in create_action_readings(at, due.job.symbols, due.settled, uses_file=False))

    assert has_due(engine) is False  # no daily rows
    at = move_to(engine, sandbox, datetime(2026, 6, 8, 14, tzinfo=UTC))  # a Monday
    read_daily_data(at, US)
    hours = [(8, 23), (14, 2), (14, 23), (15, 0)]
    assert [has_due(move_to(engine, sandbox, datetime(2026, 6, day, hour, 1, tzinfo=UTC))) for day, hour in hours] == [
        False, False, False, True,
    ]  # fmt: skip
