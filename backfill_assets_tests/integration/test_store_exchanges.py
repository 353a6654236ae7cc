"""What the database knows of exchanges and of single symbols: zones, units, the hours of sessions, keys that refuse."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.forex_calendar import get_day_begin
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.names import list_exchange_names
from backfill_assets.market.exchanges.profile import CalendarOverrides
from backfill_assets.market.exchanges.registry import PROFILES, US
from backfill_assets.store.bars.adjusted_bars import MissingFactor, translate_missing_factor
from backfill_assets.store.evidence.session_fingerprints import (
    find_contradicting_sessions,
    record_session_fingerprints,
    replace_session_fingerprints,
)
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.database import open_database
from backfill_assets.store.postgres.exchange_profiles import record_exchanges
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests import external_tables
from backfill_assets_tests.integration.two_exchanges import (
    AU,
    DAYS,
    NOW,
    THURSDAY,
    execute,
    get_market,
    open_store,
    publish,
)


@pytest.fixture
def store(create_database: Callable[..., str]) -> Iterator[Database]:
    """A store with symbols of New York and Sydney in this program's own form."""
    yield from open_store(create_database())


def test_the_seeded_exchanges_are_the_profiles(database: Database) -> None:
    seeded = {
        row[0]: row[1:]
        for row in execute(
            database,
            "SELECT exchange, zone, currency, price_unit, has_actions, day_begin, names FROM backfill.exchanges",
        )
    }
    assert seeded.keys() == PROFILES.keys()
    for code, profile in PROFILES.items():
        *facts, names = seeded[code]
        day_begin = get_day_begin(profile.calendar)
        assert facts == [profile.zone.key, profile.currency, profile.price_unit, profile.has_actions, day_begin]
        assert set(names) <= list_exchange_names(code)


def test_the_database_learns_what_a_user_corrects_of_a_profile(database: Database) -> None:
    corrected = replace(AU, zone=ZoneInfo("Australia/Perth"), price_unit="AUX")
    select = "SELECT backfill.exchange_zone('Sydney'), backfill.price_currency('AU')"
    record_exchanges(database, [US, AU])
    assert execute(database, select) == [("Australia/Sydney", "AUD")]
    record_exchanges(database, [US, corrected])
    assert execute(database, select) == [("Australia/Perth", "AUX")]


def test_nothing_is_unread_of_symbols_that_have_no_actions(database: Database) -> None:
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["AAPL", "EURUSD.FOREX", "BTC-USD.CC", "BHP.AU"]))
        connection.execute("UPDATE market_symbols SET exchange = 'crypto' WHERE exchange = 'CC'")
    select = "SELECT symbol FROM market_symbols s WHERE EXISTS (SELECT FROM backfill.unread_actions(s.symbol_id))"
    assert sorted(execute(database, select)) == [("AAPL",), ("BHP",)]
    record_exchanges(database, [US, replace(AU, has_actions=False)])
    assert execute(database, select) == [("AAPL",)]


def test_a_store_of_the_us_alone_is_opened_without_asking_for_exchanges(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(Database, "transaction", lambda *_: asked.append(1))
    database = Database(settings.database_url.get_secret_value() if settings.database_url else "")
    record_exchanges(database, [US])
    database.close()
    monkeypatch.undo()
    assert asked == []
    open_database(settings).close()


def test_hours_are_kept_with_the_first_evidence_and_others_contradict(store: Database) -> None:
    au = get_market(store, AU)
    publish(store, au, ["BHP", "CBA"], NOW)
    assert execute(store, "SELECT exchange, session_day FROM backfill.session_fingerprints") == [("AU", THURSDAY)]
    shorter = tuple(replace(s, segments=((s.open, s.close - timedelta(hours=1)),)) for s in au.sessions)
    with store.transaction() as connection:
        assert find_contradicting_sessions(connection, au.sessions) == []
        assert find_contradicting_sessions(connection, get_market(store, US).sessions) == []
        (found,) = find_contradicting_sessions(connection, shorter)
        assert (found.day, found.opened_at, found.closed_at) == (THURSDAY, au.sessions[-1].open, au.sessions[-1].close)
        assert found.session == shorter[-1]
        (gone,) = find_contradicting_sessions(
            connection, (au.sessions[0], replace(au.sessions[1], day=date(2026, 1, 16)))
        )
        assert gone.session is None
        assert record_session_fingerprints(connection, shorter) == 2  # Thursday is known
        replace_session_fingerprints(connection, "AU", shorter)
        assert find_contradicting_sessions(connection, shorter) == []


def test_a_day_that_the_user_corrects_contradicts_nothing(store: Database) -> None:
    au = get_market(store, AU)
    publish(store, au, ["BHP"], NOW)
    closed = replace(AU, overrides=CalendarOverrides(closures=frozenset({THURSDAY})))
    with store.transaction() as connection:
        sessions = list_sessions(closed, DAYS[0], date(2026, 1, 16))
        assert THURSDAY not in {session.day for session in sessions}
        assert find_contradicting_sessions(connection, sessions) == []


@pytest.mark.parametrize(("unit", "factor"), [(None, 0.99), ("GBX", 0.99), ("GBP", None), ("USD", "prices are in USD")])
def test_a_dividend_in_pounds_is_a_share_of_a_price_in_the_symbol_s_unit(
    database: Database, unit: str | None, factor: float | str | None
) -> None:
    """0.1 GBP are 10 pence of a close of 1,000: a hundredth. Prices in pounds would be 1,000 GBP."""
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["VOD.LSE"]))
        (symbol,) = list_symbols(connection, "LSE")
    key, cum_day = symbol.symbol_id, date(2026, 1, 14)
    if unit:
        execute(
            database,
            "INSERT INTO backfill.symbol_currencies (symbol_id, price_unit, source, recorded_at)"
            " VALUES (%s, %s, 'test', now())",
            [key, unit],
        )
    execute(
        database,
        "INSERT INTO backfill.dividends (symbol_id, ex_date, period, cum_day, amount, currency, source, first_seen)"
        " VALUES (%s, %s, 'final', %s, 0.1, 'GBP', '/div', '2025-01-01')",
        [key, THURSDAY, cum_day],
    )
    execute(
        database,
        "INSERT INTO backfill.daily_prices (symbol_id, day, close_price, volume, read_at)"
        " VALUES (%s, %s, 1000, 1, '2026-01-16')",
        [key, cum_day],
    )
    ((found, missing),) = execute(database, "SELECT price_factor, missing FROM backfill.counted_actions(%s)", [key])
    if isinstance(factor, str):
        assert factor in missing
    else:
        assert found == pytest.approx(factor or 0.9999)


def test_a_symbol_of_a_second_exchange_is_refused_with_two_ways_out(create_database: Callable[..., str]) -> None:
    url = create_database(None)
    external_tables.create_external_tables(url)
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(["BHP.US", "AAPL.US"]))
    with pytest.raises(UsageError) as refusal, database.transaction() as connection:
        add_symbols(connection, parse_tickers(["CBA.AU", "BHP.AU"]))
    assert str(refusal.value) == (
        "the table has these symbols for another exchange ('US'): BHP. Its key is the symbol alone, so it cannot have"
        " both. Either change the key: ALTER TABLE market_symbols DROP CONSTRAINT market_symbols_symbol_key;"
        " ALTER TABLE market_symbols ADD UNIQUE (symbol, exchange); or keep AU in a database of its own"
        " (DATABASE_URL, with BACKFILL_EXCHANGES='[\"AU\"]')"
    )
    assert execute(database, "SELECT symbol FROM market_symbols ORDER BY 1") == [("AAPL",), ("BHP",)]
    for statement in str(refusal.value).split("change the key: ")[1].split("; or keep")[0].split("; "):
        execute(database, statement)
    with database.transaction() as connection:
        assert add_symbols(connection, parse_tickers(["CBA.AU", "BHP.AU"])) == 2
    database.close()


def test_symbols_have_up_to_20_characters_in_our_own_form(database: Database) -> None:
    with database.transaction() as connection:
        assert add_symbols(connection, parse_tickers(["ABCDEFGHIJ-KLMNOPQRS.AU"])) == 1
        assert [str(s.ticker) for s in list_symbols(connection, "AU")] == ["ABCDEFGHIJ-KLMNOPQRS.AU"]


def test_a_symbol_that_the_column_cannot_hold_is_refused_with_the_way_out(database: Database) -> None:
    execute(database, "ALTER TABLE market_symbols ALTER COLUMN symbol TYPE varchar(10)")
    tickers = parse_tickers(["BHP.AU", "ABCDEFGHIJ-KLM.AU"])
    with pytest.raises(UsageError, match="value too long") as refusal, database.transaction() as connection:
        add_symbols(connection, tickers)
    assert "no room for 'ABCDEFGHIJ-KLM.AU'" in str(refusal.value)
    execute(database, str(refusal.value).split("hinder: ")[1])
    with database.transaction() as connection:
        assert add_symbols(connection, tickers) == 2


def test_a_missing_factor_names_the_ticker_with_its_exchange(store: Database) -> None:
    named = {}
    for symbol_id, symbol, exchange in execute(store, "SELECT symbol_id, symbol, exchange FROM market_symbols"):
        with pytest.raises(MissingFactor) as missing, store.transaction() as connection, translate_missing_factor():
            connection.execute("SELECT backfill.raise_missing_factor(%s, '2026-01-15', 'splits', NULL)", [symbol_id])
        named[symbol, exchange] = missing.value.ticker
    assert named["BHP", "AU"] == "BHP.AU"
    assert named["BHP", "US"] == "BHP"  # as before there were other exchanges
