"""Which days of a ticker are requested, and under which name: newest listings, and what the vendor said last."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from backfill_assets.backfill.absence.market_file import list_codes
from backfill_assets.market.calendar.tickers import Symbol, Ticker, parse_tickers
from backfill_assets.market.purposes import Purpose
from backfill_assets.store.evidence.daily_data import ListingLife, record_listing_lives
from backfill_assets.store.evidence.listing_lives import read_listing_lives
from backfill_assets.store.listing_bounds import ListingBounds, read_listing_bounds
from backfill_assets.store.listings import NewListing, record_listings
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.quota.request_log import RequestLogEntry, log_requests
from backfill_assets.store.symbols import add_symbols, list_symbols

NOW = datetime(2026, 6, 3, 14, tzinfo=UTC)
FUND_ENDED, LAST_OF_FB, FIRST_OF_META = date(2022, 1, 28), date(2022, 6, 8), date(2022, 6, 9)
FB, META = Ticker("FB"), Ticker("META")


def record_meta(connection: Connection) -> dict[str, Symbol]:
    """AAPL, and FB, which is META since 2022-06-09; a fund was META before."""
    add_symbols(connection, parse_tickers(["AAPL", "FB", "META"]))
    symbols = {symbol.ticker.symbol: symbol for symbol in list_symbols(connection, "US")}
    fb, meta = symbols["FB"].symbol_id, symbols["META"].symbol_id
    new = [NewListing(fb, None, LAST_OF_FB), NewListing(meta, None, FUND_ENDED)]
    old, _ = record_listings(connection, new, source="test", by="ann@a", now=NOW)
    taken_over = [NewListing(meta, FIRST_OF_META, None, old.instrument_id)]
    record_listings(connection, taken_over, source="test", by="ann@a", now=NOW)
    return symbols


def log(connection: Connection, ticker: str, error: str | None, second: int) -> None:
    at = NOW.replace(second=second)
    status = 404 if error else 200
    entry = RequestLogEntry(at, "/intraday", ticker, status, error, 1, None, 0, 0.1, Purpose.GAP)
    log_requests(connection, None, [entry])


def test_the_newest_listing_counts_and_what_the_vendor_said_last(database: Database) -> None:
    with database.transaction() as connection:
        symbols = record_meta(connection)
        names = [(symbol.symbol_id, symbol.ticker) for symbol in symbols.values()]
        fb, meta = symbols["FB"].symbol_id, symbols["META"].symbol_id
        known = {fb: ListingBounds(None, LAST_OF_FB, META), meta: ListingBounds(FIRST_OF_META, None)}
        assert read_listing_bounds(connection, names) == known
        log(connection, "FB.US", "UnknownTicker", 1)
        log(connection, "META.US", "UnknownTicker", 1)  # it has no other ticker to ask
        assert read_listing_bounds(connection, names) == {**known, fb: replace(known[fb], is_unknown=True)}
        log(connection, "FB.US", None, 2)  # the vendor knows it again
        assert read_listing_bounds(connection, names) == known


@pytest.mark.parametrize(
    ("bound", "is_in_vain", "asked"),
    [
        (ListingBounds(None, LAST_OF_FB, META), False, (FB, META)),
        (ListingBounds(None, LAST_OF_FB, META), True, (META,)),
        (ListingBounds(None, LAST_OF_FB, META, is_unknown=True), False, (META,)),
        (ListingBounds(None, LAST_OF_FB), True, (FB,)),
    ],
    ids=["known", "in vain", "unknown", "delisted"],
)
def test_the_present_ticker_is_asked_where_the_old_one_brings_nothing(
    bound: ListingBounds, is_in_vain: bool, asked: tuple[Ticker, ...]
) -> None:
    assert bound.list_tickers(FB, is_in_vain=is_in_vain) == asked


def test_a_daily_file_has_the_old_ticker_under_the_new_code(database: Database) -> None:
    with database.transaction() as connection:
        symbols = record_meta(connection)
        bounds = read_listing_bounds(connection, [(s.symbol_id, s.ticker) for s in symbols.values()])
    aapl, fb, meta = (symbols[name].symbol_id for name in ("AAPL", "FB", "META"))
    assert list_codes(list(symbols.values()), bounds, LAST_OF_FB) == {aapl: ("AAPL",), fb: ("FB", "META")}
    assert list_codes(list(symbols.values()), bounds, FIRST_OF_META) == {aapl: ("AAPL",), meta: ("META",)}


def test_a_confirmed_listing_wins_over_the_days_of_the_daily_data(database: Database) -> None:
    """The vendor gives META the history of FB; rows before its listing feed no bar, stored bars are in no doubt."""
    with database.transaction() as connection:
        symbols = record_meta(connection)
        ids = np.array([symbols[name].symbol_id for name in ("AAPL", "FB", "META")], np.int64)
        lives = [ListingLife(int(key), date(2012, 5, 18), LAST_OF_FB, has_ended=True) for key in ids]
        record_listing_lives(connection, lives, NOW)
        found = read_listing_lives(connection, ids)
        assert found.first_day.astype(str).tolist() == ["2012-05-18", "2012-05-18", "2022-06-09"]
        assert found.last_day.astype(str).tolist() == ["2022-06-08", "2022-06-08", "NaT"]  # the daily data end before
        assert found.is_first_day_confirmed.tolist() == [False, False, True]
        assert found.is_last_day_confirmed.tolist() == [False, True, False]
        stored = read_listing_lives(connection, ids, of_stored=True)
        assert np.isnat(stored.first_day).tolist() == [False, True, True]
