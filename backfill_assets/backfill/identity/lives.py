"""Tells the recorded lives of tickers in words: which instrument a ticker named when, and where it went on."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from backfill_assets.market.calendar.listings import Listing, find_newest_listing, sort_listings
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.store.listings import list_listings
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_symbols


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a ticker.

    Attributes:
        listing: the life.
        others: the other listings of its instrument, the oldest first, each with the name of its ticker.
    """

    listing: Listing
    others: Sequence[tuple[Listing, str]]

    def __str__(self) -> str:
        days = self.listing.describe()
        named = ", ".join(f"{name} {listing.describe()}" for listing, name in self.others)
        return f"{days}, as the same instrument {named}" if named else days


def list_lives(connection: Connection, symbol: Symbol) -> list[Life]:
    """The recorded lives of a ticker, the oldest first; empty: it is one instrument on all days."""
    listings, names = list_listings(connection), _list_names(connection, symbol.ticker.exchange)
    own = sort_listings(one for one in listings if one.symbol_id == symbol.symbol_id)
    return [
        Life(
            life,
            [
                (one, names.get(one.symbol_id, f"symbol {one.symbol_id}"))
                for one in sort_listings(listings)
                if one.instrument_id == life.instrument_id and one != life
            ],
        )
        for life in own
    ]


def describe_ended(connection: Connection, tickers: Collection[Ticker]) -> dict[Ticker, str]:
    """How those of the tickers ended whose newest listing has an end, in the words of ``describe_ends``."""
    wanted, found = set(tickers), dict[Ticker, str]()
    for exchange in sorted({ticker.exchange for ticker in tickers}):
        ends = describe_ends(connection, exchange)
        symbols = list_symbols(connection, exchange, only_active=False) if ends else []
        found |= {s.ticker: ends[s.symbol_id] for s in symbols if s.ticker in wanted and s.symbol_id in ends}
    return found


def describe_ends(connection: Connection, exchange: str) -> dict[int, str]:
    """By symbol_id, how tickers ended: ``renamed to META.US on 2022-06-09`` or ``ended on 2019-12-31``."""
    listings, names = list_listings(connection), _list_names(connection, exchange)
    newest = {one.symbol_id: find_newest_listing(listings, one.symbol_id) for one in listings}
    return {
        key: _describe_end(listing, listings, names)
        for key, listing in newest.items()
        if key in names and listing is not None and listing.listed_until is not None
    }


def _describe_end(listing: Listing, listings: Iterable[Listing], names: dict[int, str]) -> str:
    mates = sort_listings(one for one in listings if one.instrument_id == listing.instrument_id)
    later = mates[mates.index(listing) + 1 :]
    if not later:
        return f"ended on {listing.listed_until}"
    return f"renamed to {names.get(later[0].symbol_id, 'a deleted symbol')} on {later[0].listed_from}"


def _list_names(connection: Connection, exchange: str) -> dict[int, str]:
    return {s.symbol_id: str(s.ticker) for s in list_symbols(connection, exchange, only_active=False)}
