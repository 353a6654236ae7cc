"""Adds the symbols of the vendor's list of an exchange to the universe; ``listing_filter`` decides which."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.listing_filter import ListingFilter, filter_listing
from backfill_assets.config.counts import format_count
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.exchanges import CALENDARS
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import ListedSymbol, RecordList
from backfill_assets.store.evidence.listed_isins import record_listed_isins
from backfill_assets.store.symbols import add_symbols, list_symbols

MAX_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class SymbolSyncResult:
    """What was done with the vendor's list.

    Attributes:
        listed: how many symbols it has.
        added: how many were added.
        left_inactive: how many pass the filter and are inactive in the universe; they stay so.
        left_out: codes that do not pass the filter, by reason, the most frequent reason first.
        kept: codes that do not pass the filter and are active in the universe; they stay so.
        unplaced: how many pass the filter although the list names no listing exchange for them.
        warning: the vendor's remark about the list.
    """

    listed: int
    added: int
    left_inactive: int
    left_out: Mapping[str, tuple[str, ...]]
    kept: tuple[str, ...]
    unplaced: int
    warning: str | None = None

    @property
    def left_out_count(self) -> int:
        """How many listed symbols do not pass the filter."""
        return sum(map(len, self.left_out.values()))

    def describe(self) -> list[str]:
        """The vendor's remark, and one sentence for each reason to leave symbols out or as they are, with examples."""
        notes = [f"the vendor says: {self.warning}"] if self.warning else []
        notes += [f"{len(codes):,} left out: {why} ({_list_examples(codes)})" for why, codes in self.left_out.items()]
        if self.kept:
            notes.append(
                f"{len(self.kept):,} of them {'stays' if len(self.kept) == 1 else 'stay'} active, because"
                f" {'it is' if len(self.kept) == 1 else 'they are'} in the universe already"
                f" ({_list_examples(self.kept)}); symbols deactivate removes them"
            )
        if self.unplaced:
            unplaced = format_count(self.unplaced, "symbol has", "symbols have")
            notes.append(
                f"{unplaced} no listing exchange in the vendor's list, so"
                " over-the-counter symbols among them cannot be told apart"
            )
        if self.left_inactive:
            pronoun = "it" if self.left_inactive == 1 else "them"
            left_inactive = format_count(self.left_inactive, "stays", "stay")
            notes.append(f"{left_inactive} inactive; symbols add activates {pronoun}")
        return notes


def sync_universe(engine: Engine, exchange: str, wanted: ListingFilter) -> SymbolSyncResult:
    """Add the symbols of the vendor's list of ``exchange`` that pass the filter; activates and deactivates none.

    Raises:
        UsageError: an exchange without a calendar, a filter with a word that no listed symbol has, or a database with
            bars of another host.
        VendorError: the list cannot be read.
    """
    if exchange not in CALENDARS:
        raise UsageError(f"exchange {exchange!r} is not supported; use one of {', '.join(CALENDARS)}")
    engine.require_matching_host()
    listed = asyncio.run(_fetch_list(engine, exchange))
    if not listed:
        words = f"; it says: {listed.warning}" if listed.warning else ""
        raise UsageError(f"the vendor lists no symbol on {exchange}{words}")
    filtered = filter_listing(listed, exchange, wanted)
    with engine.database.transaction() as connection:
        record_listed_isins(connection, exchange, listed, engine.settings.now())
        before = {symbol.ticker: symbol.is_active for symbol in list_symbols(connection, exchange, only_active=False)}
        active_codes = {ticker.symbol for ticker, is_active in before.items() if is_active}
        return SymbolSyncResult(
            listed=len(listed),
            added=add_symbols(connection, filtered.tickers, reactivate=False),
            left_inactive=sum(not before.get(ticker, True) for ticker in filtered.tickers),
            left_out=filtered.left_out,
            kept=tuple(code for codes in filtered.left_out.values() for code in codes if code in active_codes),
            unplaced=filtered.unplaced,
            warning=listed.warning,
        )


async def _fetch_list(engine: Engine, exchange: str) -> RecordList[ListedSymbol]:
    async with engine.open_vendor_client(Purpose.REFERENCE) as (_, client):
        return await client.fetch_symbols(exchange)


def _list_examples(codes: tuple[str, ...]) -> str:
    return ", ".join(codes[:MAX_EXAMPLES]) + (", …" if len(codes) > MAX_EXAMPLES else "")
