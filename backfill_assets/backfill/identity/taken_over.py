"""Records that another company took over a ticker whose listing has ended, and activates it again.

The new listing is an instrument of its own. Nothing that was recorded of the ticker before changes, and no bar does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from backfill_assets.backfill.identity.activation import deactivate_ticker
from backfill_assets.backfill.identity.lives import describe_ends
from backfill_assets.backfill.identity.recycled import RecycledRefused, undo_lives
from backfill_assets.market.calendar.listings import find_newest_listing
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.store.listings import (
    NewListing,
    list_listings,
    list_related_listings,
    lock_listings,
    record_listings,
)
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import add_symbols, list_active_rows, list_symbols


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A ticker that is another company's from a session on.

    Attributes:
        symbol: the ticker.
        ended: how it ended before, in words: ``renamed to META.US on 2022-06-09``.
        first_day: the first session of the new company.
    """

    symbol: Symbol
    ended: str
    first_day: date

    def __str__(self) -> str:
        return f"{self.symbol.ticker} is another company's from {self.first_day} on"


def find_taken_over(connection: Connection, ticker: Ticker, first_day: date) -> TakenOver:
    """The ticker with how it ended.

    Raises:
        RecycledRefused: it has no listing that has ended, or that one ended on ``first_day`` or later.
    """
    known = list_symbols(connection, ticker.exchange, only_active=False)
    symbol = next((one for one in known if one.ticker == ticker), None)
    listings = list_listings(connection, [symbol.symbol_id]) if symbol else []
    newest = find_newest_listing(listings, symbol.symbol_id) if symbol else None
    if symbol is None or newest is None or newest.listed_until is None:
        raise RecycledRefused(
            f"{ticker} has no listing that has ended, so --listed-from is not needed: backfill-assets symbols add"
            f" {ticker}"
        )
    ended = describe_ends(connection, ticker.exchange)[symbol.symbol_id]
    if not newest.has_ended_before(first_day):
        raise RecycledRefused(
            f"--listed-from {first_day} must lie after the ticker's last listing: {ticker} {ended}; see:"
            f" backfill-assets symbols show {ticker}"
        )
    return TakenOver(symbol, ended, first_day)


def record_taken_over(connection: Connection, found: TakenOver, source: str, by: str, now: datetime) -> dict[str, Any]:
    """Record the new listing and activate the ticker, in the open transaction.

    Args:
        connection: with a transaction open.
        found: the ticker.
        source: what it rests on, in words.
        by: user and machine.
        now: the moment, UTC.

    Returns:
        What was changed, as JSON values for ``undo_taken_over``.

    Raises:
        RecycledRefused: the ticker's listings have changed since it was found.
    """
    lock_listings(connection)  # before the universe, as a rename does
    ticker = found.symbol.ticker
    if find_taken_over(connection, ticker, found.first_day) != found:
        raise RecycledRefused(f"{ticker} has changed meanwhile; see: backfill-assets symbols show {ticker}")
    activated = add_symbols(connection, [ticker])
    listing = NewListing(found.symbol.symbol_id, found.first_day, None)
    recorded = record_listings(connection, [listing], source=f"{found}: {source}", by=by, now=now)
    related = list_related_listings(connection, [found.symbol.symbol_id])
    return {
        "symbol_id": found.symbol.symbol_id,
        "withdrawn": [],
        "recorded": [one.listing_id for one in recorded],
        "listings": sorted(one.listing_id for one in related),
        "taken_over": bool(activated),
    }


def undo_taken_over(connection: Connection, changes: Mapping[str, Any], ticker: Ticker, by: str, now: datetime) -> None:
    """Take back what ``record_taken_over`` recorded; the ticker is active only if it was so before.

    Raises:
        RecycledRefused: the ticker's listings have changed since.
    """
    undo_lives(connection, changes, str(ticker), by, now)
    if changes["taken_over"] and list_active_rows(connection, [ticker]):
        deactivate_ticker(connection, ticker, now)
