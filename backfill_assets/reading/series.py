"""Which stored ticker each symbol of a read has its bars from, session by session.

Usually its own. With ``follow_renames`` also the tickers that its instrument had before (``store.listings``); a ticker
that named another instrument then is never joined.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.listings import Listing
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.reading.health import StoredUnder
from backfill_assets.store.listing_bounds import ListingBounds, read_listing_bounds
from backfill_assets.store.listings import list_instrument_listings, list_listings
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_symbols


@dataclass(frozen=True, slots=True)
class _Part:
    """Sessions of one symbol that are stored under one ticker; positions, ``after`` excluded."""

    asked: int
    stored: int
    first: int
    after: int


@dataclass(frozen=True, eq=False)
class Series:
    """The symbols of a read and where their bars are stored.

    Attributes:
        asked: the symbols of the read, in its order.
        stored: the symbols whose bars are read; the same ones unless renames are followed.
        owner: the position in ``stored`` of each symbol's session, −1 without one; shape (symbols, sessions).
        parts: the same as ranges of sessions; None: every symbol has its own bars.
        lives: the first and the last session of those stored symbols of which an earlier listing is read, by position:
            what is known of their newest one says nothing about it.
    """

    asked: tuple[Symbol, ...]
    stored: tuple[Symbol, ...]
    owner: Int64
    parts: tuple[_Part, ...] | None = None
    lives: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    def find_slots(self, slot_key: Int64, grid: SlotGrid) -> tuple[Int64, Int64]:
        """Of slots of the stored symbols those of the read: their positions, and their keys by its symbols.

        Args:
            slot_key: by ``stored``, ascending.
            grid: of the keys.
        """
        if self.parts is None:
            return np.arange(len(slot_key)), slot_key
        chosen, keys = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for part in self.parts:
            bounds = part.stored * grid.size + grid.session_offsets[[part.first, part.after]]
            begin, end = np.searchsorted(slot_key, bounds).tolist()
            chosen.append(np.arange(begin, end))
            keys.append(slot_key[begin:end] + (part.asked - part.stored) * grid.size)
        position, key = np.concatenate(chosen), np.concatenate(keys)
        order = np.argsort(key, kind="stable")
        return position[order], key[order]

    def list_stored_under(self, grid: SlotGrid) -> tuple[StoredUnder, ...]:
        """The sessions that come from another ticker."""
        others = (part for part in self.parts or () if self.asked[part.asked] != self.stored[part.stored])
        return tuple(
            StoredUnder(
                str(self.asked[part.asked].ticker),
                str(self.stored[part.stored].ticker),
                grid.sessions[part.first].day,
                grid.sessions[part.after - 1].day,
            )
            for part in others
        )


def build_own_series(_: Connection, symbols: Sequence[Symbol], grid: SlotGrid) -> Series:
    """Every symbol has the bars of its own ticker."""
    owner = np.repeat(np.arange(len(symbols), dtype=np.int64)[:, None], len(grid.sessions), axis=1)
    return Series(tuple(symbols), tuple(symbols), owner)


def read_followed_series(connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid) -> Series:
    """Every symbol has the bars of its instrument, under whatever ticker; of those that have listings."""
    listed = {one.symbol_id for one in list_listings(connection, [symbol.symbol_id for symbol in symbols])}
    if not listed:
        return build_own_series(connection, symbols, grid)
    builder = _SeriesBuilder(grid, list(symbols), np.full((len(symbols), len(grid.sessions)), -1, np.int64))
    known = {one.symbol_id: one for one in list_symbols(connection, symbols[0].ticker.exchange, only_active=False)}
    for asked, symbol in enumerate(symbols):
        listings = list_instrument_listings(connection, symbol.symbol_id) if symbol.symbol_id in listed else []
        for listing in listings:
            if listing.symbol_id in known:
                builder.add(asked, known[listing.symbol_id], listing)
        if not listings:
            builder.add(asked, symbol, None)
    newest = read_listing_bounds(connection, [(symbol.symbol_id, symbol.ticker) for symbol in builder.stored])
    return builder.build(newest)


@dataclass(eq=False)
class _SeriesBuilder:
    """Collects which listing has which sessions of which symbol."""

    grid: SlotGrid
    stored: list[Symbol]
    owner: Int64
    parts: list[tuple[_Part, Listing | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.asked = tuple(self.stored)
        self.positions = {symbol.symbol_id: position for position, symbol in enumerate(self.stored)}

    def add(self, asked: int, symbol: Symbol, listing: Listing | None) -> None:
        """The sessions of a listing belong to a symbol of the read; None: all sessions."""
        first, after = _find_sessions(listing, self.grid)
        if first >= after:
            return
        if symbol.symbol_id not in self.positions:
            self.positions[symbol.symbol_id] = len(self.stored)
            self.stored.append(symbol)
        position = self.positions[symbol.symbol_id]
        self.owner[asked, first:after] = position
        self.parts.append((_Part(asked, position, first, after), listing))

    def build(self, newest: Mapping[int, ListingBounds]) -> Series:
        """The series; ``newest`` are the newest listings by symbol_id."""
        lives: dict[int, tuple[int, int]] = {}
        for position, symbol in enumerate(self.stored):
            found = [(part, listing) for part, listing in self.parts if part.stored == position]
            bounds = newest.get(symbol.symbol_id)
            if any(listing and bounds and listing.listed_from != bounds.listed_from for _, listing in found):
                lives[position] = min(part.first for part, _ in found), max(part.after for part, _ in found) - 1
        return Series(self.asked, tuple(self.stored), self.owner, tuple(part for part, _ in self.parts), lives)


def _find_sessions(listing: Listing | None, grid: SlotGrid) -> tuple[int, int]:
    """The position of the first session of a listing, and the one after its last."""
    days = [session.day for session in grid.sessions]
    if listing is None:
        return 0, len(days)
    first = 0 if listing.listed_from is None else bisect_left(days, listing.listed_from)
    return first, len(days) if listing.listed_until is None else bisect_right(days, listing.listed_until)
