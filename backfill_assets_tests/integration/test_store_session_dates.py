"""The session date of a bar where a day begins on the evening before: in SQL, and in what is asked with a date."""

from datetime import UTC, date, datetime, timedelta

import pytest

from backfill_assets.market.calendar.intervals import parse_interval
from backfill_assets.market.calendar.sessions import find_session_day, list_sessions
from backfill_assets.market.calendar.tickers import Symbol, parse_tickers
from backfill_assets.market.exchanges.registry import PROFILES, US
from backfill_assets.store.bars.listing_bars import BarsAround, find_bars_around, read_last_closes
from backfill_assets.store.evidence.requested_days import read_requested_days
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests.integration.two_exchanges import execute

FOREX = PROFILES["FOREX"]
INTERVAL = parse_interval("30m")
HALF_HOUR = timedelta(minutes=30)
# Two days on each side of the change of clocks, and the one after Christmas
SESSIONS = [s for s in list_sessions(FOREX, date(2026, 3, 5), date(2026, 12, 28)) if (s.day.month, s.day.day) in
            {(3, 5), (3, 6), (3, 9), (3, 10), (12, 28)}]  # fmt: skip
MOMENTS = [moment for session in SESSIONS for moment in (session.open, session.close - HALF_HOUR)]
_INSERT_BAR = """
INSERT INTO market_data (symbol_id, interval_type, "timestamp", open_price, high_price, low_price, close_price, volume)
SELECT %s, '30m', moment, 1, 99, 1, extract(day FROM moment AT TIME ZONE 'UTC'), 0 FROM unnest(%s::timestamptz[]) moment
"""
_ADD_REQUEST = """
INSERT INTO backfill.session_evidence (symbol_id, interval_type, source_interval, session_day, requested_at,
    request_count, is_published, not_returned, source_rows)
SELECT %(id)s, '30m', '1m', day, now(), 1, true, '{}', 1 FROM unnest(%(days)s::date[]) day
"""
_REFUSE = """
INSERT INTO backfill.rejects (symbol_id, interval_type, source_interval, "timestamp", reason)
VALUES (%s, '30m', '1m', %s, 'refused_by_table')
"""


@pytest.fixture
def pair(database: Database) -> Symbol:
    """EURUSD with the first and the last bar of each session."""
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["EURUSD.FOREX", "AAPL.US"]))
        (share,), (pair,) = list_symbols(connection, "US"), list_symbols(connection, "FOREX")
        for symbol in (share, pair):
            connection.execute(_INSERT_BAR, [symbol.symbol_id, MOMENTS])
    return pair


def list_days(database: Database, symbol: str) -> list[date]:
    select = f"""SELECT session_day FROM backfill.adjusted_bars('splits') JOIN market_symbols USING (symbol_id)
                 WHERE symbol = '{symbol}' ORDER BY "timestamp"
"""
    return [day for (day,) in execute(database, select)]


def test_a_bar_of_the_evening_has_its_trade_date_in_sql(database: Database, pair: Symbol) -> None:
    assert list_days(database, str(pair.ticker.symbol)) == [session.day for session in SESSIONS for _ in range(2)]
    assert list_days(database, "AAPL") == [moment.astimezone(US.zone).date() for moment in MOMENTS]
    for session in SESSIONS:
        begin, day = (
            f"backfill.session_day_begin('{session.day}', 'fx')",
            f"backfill.session_day('{session.open}', 'FX')",
        )
        assert execute(database, f"SELECT {begin}, {day}") == [(session.open, session.day)]
    begin = "SELECT backfill.session_day_begin('2026-06-01', 'US'), backfill.session_day_begin('2026-06-01')"
    assert execute(database, begin) == [(datetime(2026, 6, 1, 4, tzinfo=UTC),) * 2]


@pytest.mark.parametrize("exchange", ["US", "CC", "FOREX", "AU"])
def test_python_and_sql_have_the_same_dates(database: Database, exchange: str) -> None:
    market = PROFILES[exchange]
    moments = [moment + shift for moment in MOMENTS for shift in (timedelta(hours=-7), -HALF_HOUR, timedelta(0))]
    values = ", ".join(f"('{moment}'::timestamptz)" for moment in moments)
    found = execute(database, f"SELECT backfill.session_day(t.at, '{exchange}') FROM (VALUES {values}) t (at)")
    assert [day for (day,) in found] == [find_session_day(market, moment) for moment in moments]


def test_bars_around_a_day_are_told_by_their_trade_dates(database: Database, pair: Symbol) -> None:
    monday = SESSIONS[2]
    with database.transaction() as connection:
        around = find_bars_around(connection, pair.symbol_id, monday.open, FOREX)
        closes = read_last_closes(connection, pair.symbol_id, ["30m"], SESSIONS[0].open, SESSIONS[3].close, FOREX)
    assert around == BarsAround(date(2026, 3, 6), date(2026, 3, 9))
    assert closes == {session.day: (session.close - HALF_HOUR).day for session in SESSIONS[:4]}


def test_a_bar_that_the_table_refused_is_of_its_trade_date(database: Database, pair: Symbol) -> None:
    friday, monday = SESSIONS[1:3]
    with database.transaction() as connection:
        connection.execute(_ADD_REQUEST, {"id": pair.symbol_id, "days": [friday.day, monday.day]})
        connection.execute(_REFUSE, [pair.symbol_id, friday.open])
        known = read_requested_days(connection, [pair], INTERVAL, SESSIONS[:3])
    assert known.refused.tolist() == [[False, True, False]]
