"""Adds the symbols of the vendor's list of an exchange to the universe."""

import asyncio
from dataclasses import dataclass

from backfill_assets.backfill.engine import Engine
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.exchanges import CALENDARS
from backfill_assets.market.calendar.tickers import Ticker, parse_ticker
from backfill_assets.store.symbols import add_symbols


@dataclass(frozen=True, slots=True)
class SymbolSyncResult:
    """Number of symbols that the vendor lists, that were added, and whose names the tables cannot store."""

    listed: int
    added: int
    unusable: int


def sync_universe(engine: Engine, exchange: str, kind: str | None) -> SymbolSyncResult:
    """Add every symbol of the vendor's list of ``exchange``; deactivates none.

    Raises:
        UsageError: an exchange without a calendar, a type that no listed symbol has, or a database with bars of another
            host.
        VendorError: the list cannot be read.
    """
    if exchange not in CALENDARS:
        raise UsageError(f"exchange {exchange!r} is not supported; use one of {', '.join(CALENDARS)}")
    engine.require_matching_host()
    codes = asyncio.run(_fetch_listed_codes(engine, exchange, kind))
    if not codes:
        of_type = f" of type {kind!r}; omit --type to see all" if kind else ""
        raise UsageError(f"the vendor lists no symbol on {exchange}{of_type}")
    usable, unusable = [], 0
    for code in codes:
        ticker = _parse_listed_code(code, exchange)
        if ticker is None:
            unusable += 1
        else:
            usable.append(ticker)
    with engine.database.transaction() as connection:
        return SymbolSyncResult(len(codes), add_symbols(connection, usable), unusable)


async def _fetch_listed_codes(engine: Engine, exchange: str, kind: str | None) -> list[str]:
    async with engine.open_vendor_client() as (_, client):
        return [listed.code for listed in await client.fetch_symbols(exchange, symbol_type=kind)]


def _parse_listed_code(code: str, exchange: str) -> Ticker | None:
    """A ticker, or None for a code with a slash, a dot, or more than the 10 characters of the table's column."""
    try:
        return parse_ticker(f"{code}.{exchange}")
    except UsageError:
        return None
