"""Listings in the store: recorded, withdrawn and restored; lives of one ticker never overlap."""

import threading
from datetime import date

import pytest

from backfill_assets.market.calendar.listings import Listing
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.store.listings import (
    ListingRefused,
    NewListing,
    list_instrument_listings,
    list_listings,
    record_listings,
    restore_listings,
    withdraw_listings,
)
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests.conftest import NOW

FUND_END, FB_END, META_BEGIN = date(2022, 1, 28), date(2022, 6, 8), date(2022, 6, 9)


def _add(connection: Connection, *tickers: str) -> list[int]:
    add_symbols(connection, parse_tickers(tickers))
    ids = {symbol.ticker.symbol: symbol.symbol_id for symbol in list_symbols(connection, "US")}
    return [ids[ticker] for ticker in tickers]


def _record(connection: Connection, *new: NewListing) -> list[Listing]:
    return record_listings(connection, new, source="test", by="ann@host", now=NOW)


def test_listings_of_an_instrument_are_found_by_any_of_its_tickers_and_by_day(database: Database) -> None:
    with database.transaction() as connection:
        fb_id, meta_id = _add(connection, "FB", "META")
        fb, fund = _record(connection, NewListing(fb_id, None, FB_END), NewListing(meta_id, None, FUND_END))
        (meta,) = _record(connection, NewListing(meta_id, META_BEGIN, None, fb.instrument_id))
        assert (fb.instrument_id, fund.instrument_id) == (fb.listing_id, fund.listing_id)
        assert list_instrument_listings(connection, fb_id) == [fb, meta]
        assert list_instrument_listings(connection, meta_id) == [fb, meta]
        assert list_instrument_listings(connection, meta_id, FUND_END) == [fund]
        assert list_instrument_listings(connection, meta_id, FB_END) == []
        assert list_listings(connection) == [fb, fund, meta]
        assert list_listings(connection, [meta_id]) == [fund, meta]


def test_overlapping_lives_are_refused_and_nothing_is_recorded(database: Database) -> None:
    with database.transaction() as connection:
        fb_id, meta_id = _add(connection, "FB", "META")
        (fb,) = _record(connection, NewListing(fb_id, None, FB_END))
    with pytest.raises(ListingRefused, match="one ticker would overlap"), database.transaction() as connection:
        _record(connection, NewListing(fb_id, FB_END, None))
    with pytest.raises(ListingRefused, match="one instrument would overlap"), database.transaction() as connection:
        _record(connection, NewListing(meta_id, FB_END, None, fb.instrument_id))
    with database.transaction() as connection:
        assert list_listings(connection) == [fb]


def test_withdrawn_listings_stay_and_can_be_restored_unless_another_took_their_days(database: Database) -> None:
    with database.transaction() as connection:
        (fb_id,) = _add(connection, "FB")
        (whole,) = _record(connection, NewListing(fb_id, None, None))
        assert withdraw_listings(connection, [whole.listing_id], by="ann@host", now=NOW) == 1
        assert list_listings(connection) == []
        (ended,) = _record(connection, NewListing(fb_id, None, FB_END, whole.instrument_id))
    with pytest.raises(ListingRefused), database.transaction() as connection:
        restore_listings(connection, [whole.listing_id])
    with database.transaction() as connection:
        withdraw_listings(connection, [ended.listing_id], by="ann@host", now=NOW)
        assert restore_listings(connection, [whole.listing_id]) == 1
        assert list_listings(connection) == [whole]
        rows = connection.execute("SELECT count(*), count(withdrawn_by) FROM backfill.listings").fetchall()
    assert rows == [(2, 1)]


def test_two_processes_cannot_record_overlapping_lives(database: Database) -> None:
    with database.transaction() as connection:
        (fb_id,) = _add(connection, "FB")
    refused = []

    def record_other() -> None:
        try:
            with database.transaction() as connection:
                _record(connection, NewListing(fb_id, None, None))
        except ListingRefused as error:
            refused.append(error)

    with database.transaction() as connection:
        _record(connection, NewListing(fb_id, None, FB_END))
        other = threading.Thread(target=record_other)
        other.start()
        other.join(0.2)
        assert other.is_alive()  # waits for the lock, and then sees what was recorded
    other.join(30)
    assert len(refused) == 1
