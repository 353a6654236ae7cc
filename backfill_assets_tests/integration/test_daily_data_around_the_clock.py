"""Crypto pairs and currencies: daily data, actions and the other feed are not asked where no answer means anything."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from backfill_assets.backfill.daily_reading import find_due_reading, read_daily_data
from backfill_assets.backfill.due_work import build_retained_sessions_job
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.listing_filter import ListingFilter
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.backfill.symbol_sync import add_new_symbols, find_new_symbols
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.sandbox.around_the_clock import Withheld
from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.evidence.findings import NO_INTRADAY_DATA
from backfill_assets.store.symbols import add_symbols

MakeEngine = Callable[..., Engine]
StartSandbox = Callable[..., Sandbox]
NOW = datetime(2026, 11, 12, 12, 30, tzinfo=UTC)  # Thursday; Tuesday is overdue everywhere
PAIRS = {"CC": "ETH-USD", "FOREX": "EURUSD"}  # which lack a day: in UTC, and from 17:00 to 17:00 in New York
LOST = {
    "CC": Withheld("ETH-USD", datetime(2026, 11, 10, tzinfo=UTC), datetime(2026, 11, 11, tzinfo=UTC)),
    "FOREX": Withheld("EURUSD", datetime(2026, 11, 9, 22, tzinfo=UTC), datetime(2026, 11, 10, 22, tzinfo=UTC)),
}


@pytest.fixture
def vendor(start_sandbox: StartSandbox) -> Sandbox:
    exchanges = {
        code: ExchangeConfig(symbols=3, withheld=(LOST[code],), history_from=date(2026, 11, 1)) for code in PAIRS
    }
    return start_sandbox(now=NOW, symbols=1, per_minute=100_000, daily=100_000, exchanges=exchanges)


@pytest.fixture
def engine(make_engine: MakeEngine, vendor: Sandbox) -> Engine:
    settings = {"exchanges": tuple(PAIRS), "partition_days": 3, "as_of": NOW, "daily_data": True}
    return make_engine(vendor, (), requests_per_minute=100_000, cross_feed_calls=1000, **settings)


def add_pairs(engine: Engine, vendor: Sandbox, *more: str) -> None:
    tickers = [f"{symbol}.{code}" for code in PAIRS for symbol in vendor.worlds.get_world(code).symbols]
    with engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers([*tickers, *more]))


def count_requests(vendor: Sandbox) -> dict[str, int]:
    counts = vendor.stats()["by_endpoint"]
    return {name: count for name, count in counts.items() if name not in {"intraday", "user"} and count}


def run(engine: Engine, code: str) -> Coverage:
    """Collect the retained sessions of an exchange, as often as the other feed needs before it is asked."""
    market = engine.settings.get_market(code)
    for hours in (0, 1, 30):
        now = NOW + timedelta(hours=hours)
        later = replace(engine, settings=engine.settings.model_copy(update={"as_of": now}))
        run_backfill(later, build_retained_sessions_job(later, market, DEFAULT_INTERVAL), lambda _: None)
    return engine.measure(build_retained_sessions_job(engine, market, DEFAULT_INTERVAL))


def test_an_absent_day_stays_missing_and_nothing_is_looked_up(engine: Engine, vendor: Sandbox) -> None:
    add_pairs(engine, vendor)
    for code, symbol in PAIRS.items():
        coverage = run(engine, code)
        row = [str(item.ticker) for item in coverage.symbols].index(f"{symbol}.{code}")
        day = [session.day for session in coverage.grid.sessions].index(date(2026, 11, 10))
        missing = coverage.count_by_session(coverage.has_state(SlotState.MISSING))
        assert missing[row, day] == 48, code
        assert not coverage.has_state(SlotState.NO_TRADE).any()
    assert count_requests(vendor) == {}  # no daily history, no list of renamed symbols, no file of the exchange
    assert {interval for _, interval in list_sources(engine)} == {"1m", "5m"}
    assert len(list_sources(engine)) == 2  # one source an exchange: the other feed is not asked


def list_sources(engine: Engine) -> set[tuple[str, str]]:
    with engine.database.transaction() as connection:
        rows = connection.execute(
            "SELECT DISTINCT exchange, source_interval FROM backfill.session_evidence JOIN market_symbols"
            " USING (symbol_id)"
        )
        return set(rows.fetchall())


def test_the_morning_reads_candles_of_coins_and_nothing_of_currencies(engine: Engine, vendor: Sandbox) -> None:
    add_pairs(engine, vendor)
    crypto, forex = (engine.settings.get_market(code) for code in PAIRS)
    assert find_due_reading(engine, crypto)
    assert not find_due_reading(engine, forex)
    assert not read_daily_data(engine, forex)
    assert count_requests(vendor) == {}
    assert read_daily_data(engine, crypto).requested == 3
    assert count_requests(vendor) == {"eod": 3}  # and no splits or dividends
    assert not find_due_reading(engine, crypto)


def test_a_pair_that_the_vendor_does_not_know_is_still_found_out(engine: Engine, vendor: Sandbox) -> None:
    add_pairs(engine, vendor, "BTCUSD.CC")
    run(engine, "CC")
    assert count_requests(vendor)["eod"] >= 1
    assert [ticker for ticker in vendor.stats()["per_ticker"] if ticker == "BTCUSD.CC"]
    with engine.database.transaction() as connection:
        found = connection.execute("SELECT kind, subject FROM backfill.findings WHERE subject LIKE '%.CC'").fetchall()
    assert (NO_INTRADAY_DATA, "BTCUSD.CC") in found


def test_pairs_of_the_vendors_list_are_added_whatever_their_type(engine: Engine, vendor: Sandbox) -> None:
    for code in PAIRS:
        sync = find_new_symbols(engine, code, ListingFilter())
        assert len(sync.new) == 3, sync.filtered.left_out
        assert add_new_symbols(engine, sync).added == 3
        assert "a day" in sync.describe_new()
