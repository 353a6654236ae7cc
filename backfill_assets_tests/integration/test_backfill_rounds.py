"""Rounds of requests around the clock: whom a run is started for, and how many requests are left to others."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from backfill_assets.backfill.due_work import DueWork, find_due_work
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.scarce_requests import count_turns, count_unsettled, rank_requests
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.calendar.windows import build_session_window
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, list_symbols

ASKED_AT = datetime(2026, 11, 3, 9, tzinfo=UTC)
CRYPTO, INTERVAL = get_profile("CC"), INTERVALS["30m"]
INSERT = """
INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day, requested_at,
    request_count, source_rows, data_until, is_published, not_returned)
SELECT symbol_id, '30m', '5m', %s, %s, 1, 288, %s, false, '{}' FROM market_symbols WHERE symbol = %s
"""


@pytest.fixture
def make_engine_at(database: Database, settings: Settings) -> Callable[[datetime], Engine]:
    """Make an engine at a time, over a store with two pairs that were requested at ``ASKED_AT``, and AAPL."""
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["BTC-USD.CC", "ETH-USD.CC", "AAPL"]))
    request(database, {"BTC-USD": ASKED_AT, "ETH-USD": ASKED_AT})
    return lambda now: Engine(
        database, settings.model_copy(update={"exchanges": ("US", "CC"), "as_of": now, "partition_days": 3})
    )


def request(database: Database, asked: Mapping[str, datetime], day: date | None = None) -> None:
    with database.transaction() as connection:
        for symbol, at in asked.items():
            connection.execute(INSERT, [day or at.date(), at, at - timedelta(hours=8), symbol])


def find(engine: Engine) -> DueWork:
    return find_due_work(engine, CRYPTO, "30m")


def list_due(engine: Engine) -> list[str]:
    return [one.symbol.ticker.symbol for one in find(engine).ranges]


def test_a_round_every_half_hour_takes_all_whose_turn_has_come(
    make_engine_at: Callable[[datetime], Engine], database: Database
) -> None:
    minutes, hours = timedelta(minutes=1), timedelta(hours=1)
    assert list_due(make_engine_at(ASKED_AT + 29 * minutes)) == []
    assert list_due(make_engine_at(ASKED_AT + 30 * minutes)) == ["BTC-USD"]
    request(database, {"BTC-USD": ASKED_AT + 5.75 * hours}, date(2026, 11, 2))
    waiting = find(make_engine_at(ASKED_AT + 6 * hours))
    assert (list(waiting.ranges), waiting.reason) == (
        [],
        "1 symbol waits for the next round; there is one every half hour",
    )
    assert list_due(make_engine_at(ASKED_AT + 6.25 * hours)) == ["BTC-USD", "ETH-USD"]
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["SOL-USD.CC"]))
    assert list_due(make_engine_at(ASKED_AT + 6 * hours)) == ["ETH-USD", "SOL-USD"]  # a new one goes at once


def test_nobody_waits_longer_than_half_an_hour_for_a_round(
    make_engine_at: Callable[[datetime], Engine], database: Database
) -> None:
    """A person who requests one pair again and again delays no round of the others."""
    minutes = timedelta(minutes=1)
    turn = ASKED_AT + timedelta(hours=6)
    request(database, {"BTC-USD": turn + 15 * minutes}, date(2026, 11, 2))
    assert list_due(make_engine_at(turn + 29 * minutes)) == []
    assert list_due(make_engine_at(turn + 30 * minutes)) == ["ETH-USD"]


@pytest.mark.parametrize(("requests_left", "due"), [(6, []), (7, ["BTC-USD"])])
def test_the_probe_takes_no_call_that_a_turn_of_the_day_needs(
    make_engine_at: Callable[[datetime], Engine], requests_left: int, due: list[str]
) -> None:
    """Two pairs have three turns each until midnight."""
    engine = make_engine_at(ASKED_AT + timedelta(minutes=30))
    scarce = {"exchanges": ("CC",), "daily_calls": 5 * requests_left, "collector_reserve": 0.0}
    engine = replace(engine, settings=engine.settings.model_copy(update=scarce))
    assert list_due(engine) == due
    if not due:
        turn = "every symbol waits for its turn, or for the retry schedule; the first is due at 2026-11-03 15:00 UTC"
        assert find(engine).reason == turn


def test_what_is_due_is_the_range_of_a_run_and_no_older_gap(
    make_engine_at: Callable[[datetime], Engine], database: Database
) -> None:
    with database.transaction() as connection:
        connection.execute("UPDATE backfill.session_evidence SET no_new_data_since = requested_at - interval '3 days'")
        for day, symbol in ((day, symbol) for day in (1, 2) for symbol in ("BTC-USD", "ETH-USD")):
            at = ASKED_AT
            connection.execute(INSERT, [date(2026, 11, day), at, at - timedelta(days=3 - day), symbol])
        connection.execute(
            "UPDATE backfill.session_evidence SET no_new_data_since = requested_at - interval '3 days',"
            " published_at = requested_at - interval '3 days', is_published = true, not_returned = '{[0,48)}'"
            " WHERE session_day < '2026-11-03'"
        )
    due = find(make_engine_at(ASKED_AT + timedelta(minutes=30)))
    assert [(one.first_session, one.last_session) for one in due.ranges] == [(2, 2)]


def test_each_turn_until_the_calls_are_renewed_is_left_to_the_market(
    make_engine_at: Callable[[datetime], Engine],
) -> None:
    engine, midnight = make_engine_at(ASKED_AT), datetime(2026, 11, 4, tzinfo=UTC)
    assert count_turns(engine, CRYPTO, INTERVAL, 2, midnight) == 2 * 3 + 30  # 15 hours: 3 turns each, 30 of the probe
    assert count_turns(engine, get_profile("US"), INTERVAL, 2, midnight) == 0
    assert count_unsettled(engine, CRYPTO, INTERVAL) == 36


def test_a_request_is_overdue_by_its_slots_not_by_its_day(make_engine_at: Callable[[datetime], Engine]) -> None:
    now = datetime(2026, 11, 3, 20, tzinfo=UTC)
    engine = make_engine_at(now)
    with engine.database.transaction() as connection:
        connection.execute("DELETE FROM backfill.session_evidence")
        symbols = list_symbols(connection, "CC")

    def rank(days: int) -> list[int]:
        window = build_session_window(CRYPTO, now, days)
        job = BackfillJob(window, tuple(symbols), INTERVAL, INTERVALS["5m"])
        coverage = engine.measure(job)
        return rank_requests(engine.plan(job, coverage).requests, coverage, window.sessions[0].open).tolist()

    assert rank(1) == [1, 1]  # today's slots are not a day old
    assert rank(2) == [0, 0]  # yesterday's until 20:00 are, though yesterday as a whole is not
