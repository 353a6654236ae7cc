"""The newest listing of tickers, as far as requests depend on it: its days, and where its instrument goes on.

The vendor gives the history of a renamed ticker under the new name, and may not know the old one any more.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date

from backfill_assets.market.calendar.tickers import Symbol, Ticker, recognize_ticker
from backfill_assets.market.vendor_errors import UnknownTicker
from backfill_assets.store.evidence.known_lives import NEWEST_LISTINGS
from backfill_assets.store.postgres.connection import Connection

# The instrument's present ticker, if its last listing is another ticker's and this one has ended.
_SELECT_BOUNDS = f"""
SELECT n.symbol_id, n.listed_from, n.listed_until, m.symbol, m.exchange
FROM {NEWEST_LISTINGS} n
LEFT JOIN LATERAL (
    SELECT symbol_id FROM backfill.listings l WHERE l.instrument_id = n.instrument_id AND l.withdrawn_at IS NULL
    ORDER BY listed_from DESC NULLS LAST, listing_id DESC LIMIT 1) last ON n.listed_until IS NOT NULL
LEFT JOIN market_symbols m ON m.symbol_id = last.symbol_id AND m.symbol_id <> n.symbol_id
WHERE n.symbol_id = ANY (%(ids)s::int[])
"""  # noqa: S608 - only a constant is inserted
_SELECT_UNKNOWN = f"""
SELECT ticker FROM (
    SELECT DISTINCT ON (ticker) ticker, error FROM backfill.requests WHERE ticker = ANY (%(tickers)s)
    ORDER BY ticker, at DESC) newest
WHERE error = '{UnknownTicker.__name__}'
"""  # noqa: S608 - only a constant is inserted


@dataclass(frozen=True, slots=True)
class ListingBounds:
    """The newest listing of a ticker.

    Attributes:
        listed_from: its first session; None: as far back as there is.
        listed_until: its last one; None: it goes on.
        present: the ticker under which its instrument goes on; None if it has no other.
        is_unknown: whether the vendor's newest answer was that it does not know the ticker.
    """

    listed_from: date | None
    listed_until: date | None
    present: Ticker | None = None
    is_unknown: bool = False

    def holds(self, day: date) -> bool:
        """Whether a session lies within the listing."""
        is_after_begin = self.listed_from is None or self.listed_from <= day
        return is_after_begin and (self.listed_until is None or day <= self.listed_until)

    def list_tickers(self, own: Ticker, *, is_in_vain: bool = False) -> tuple[Ticker, ...]:
        """Which tickers to ask for its bars, one after the other while the vendor knows none.

        Args:
            own: this ticker.
            is_in_vain: whether it was asked for them when they were overdue, and gave nothing.
        """
        if self.present is None:
            return (own,)
        return (self.present,) if self.is_unknown or is_in_vain else (own, self.present)


def list_asked_tickers(symbol: Symbol, bounds: Mapping[int, ListingBounds]) -> tuple[Ticker, ...]:
    """Which tickers to ask about a symbol: its own, unless ``bounds`` say that its instrument has another one now."""
    bound = bounds.get(symbol.symbol_id)
    return bound.list_tickers(symbol.ticker) if bound else (symbol.ticker,)


def read_ended_bounds(connection: Connection, symbols: Iterable[Symbol]) -> dict[int, ListingBounds]:
    """The newest listings of those symbols that are inactive, by symbol_id; no statement if none is."""
    inactive = [(symbol.symbol_id, symbol.ticker) for symbol in symbols if not symbol.is_active]
    return read_listing_bounds(connection, inactive) if inactive else {}


def read_listing_bounds(connection: Connection, tickers: Collection[tuple[int, Ticker]]) -> dict[int, ListingBounds]:
    """The newest listings of tickers (symbol_id and name) by symbol_id, of those that have one."""
    names = dict(tickers)
    bounds = {
        symbol_id: ListingBounds(first, last, recognize_ticker(symbol, exchange))
        for symbol_id, first, last, symbol, exchange in connection.execute(
            _SELECT_BOUNDS.encode(), {"ids": sorted(names)}
        )
    }
    renamed = {str(names[key]): key for key, bound in bounds.items() if bound.present is not None}
    if renamed:
        for (ticker,) in connection.execute(_SELECT_UNKNOWN.encode(), {"tickers": sorted(renamed)}):
            bounds[renamed[ticker]] = replace(bounds[renamed[ticker]], is_unknown=True)
    return bounds
