"""Adds delisted tickers with their listing life, so that their history can be requested.

They are inactive: no window after their last session includes them, and reports show them on demand. The vendor's list
of delisted symbols costs one call, and each ticker's daily history another one.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.counts import format_count
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, INTERVALS
from backfill_assets.market.calendar.sessions import EARLIEST_DATE
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.feed_beginnings import find_feed_beginning
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_errors import UnknownTicker
from backfill_assets.store.listings import NewListing, list_listings, lock_listings, record_listings
from backfill_assets.store.symbols import add_symbols, list_symbols

INTRADAY_AFTER = date(2021, 12, 31)  # no intraday data of listings that ended earlier (docs/vendor.md §2.17)
MAX_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class DelistedSymbol:
    """A delisted ticker and what became of it.

    Attributes:
        ticker: the ticker.
        first_day: its first day in the vendor's daily data; None without any.
        last_day: the last one.
        known: what was recorded of its listing before, in words; empty if it was added now.
        is_limited: whether the plan limits the history: then the listing began before ``first_day``, or then.
    """

    ticker: Ticker
    feed_from: date = EARLIEST_DATE
    first_day: date | None = None
    last_day: date | None = None
    known: str = ""
    is_limited: bool = False

    @property
    def is_added(self) -> bool:
        """Whether it was added now."""
        return self.last_day is not None and not self.known

    def describe(self) -> str:
        """One sentence, with the command that requests its history."""
        if self.known:
            return f"{self.ticker} has a listing already: {self.known}"
        if self.first_day is None or self.last_day is None:
            return f"{self.ticker} not added: the vendor has no daily data of it, so its listing is unknown"
        begin = "until" if self.is_limited else f"from {self.first_day} to"
        listed = f"{self.ticker} was listed {begin} {self.last_day}"
        if self.last_day <= INTRADAY_AFTER:
            return f"{listed}; the vendor has intraday data only of listings that ended after {INTRADAY_AFTER.year}"
        first = max(self.first_day, self.feed_from)
        return (
            f"{listed}; to fetch its bars: backfill-assets run --symbols {self.ticker.short_name}"
            f" --start {first} --end {self.last_day}"
        )


def add_delisted(engine: Engine, tickers: Sequence[Ticker], by: str) -> list[DelistedSymbol]:
    """Add delisted tickers, each with its listing; what was read is kept if a later request fails.

    Args:
        engine: the parts to work with.
        tickers: of one exchange, without repeats.
        by: who said so: user and machine.

    Raises:
        UsageError: a ticker is active, or not in the vendor's list of delisted symbols; then nothing is added.
        VendorError: a request failed.
    """
    with engine.database.transaction() as connection:
        symbols = {symbol.ticker: symbol for symbol in list_symbols(connection, tickers[0].exchange, only_active=False)}
        known = {key: symbols[key] for key in tickers if key in symbols}
        listings = {one.symbol_id: one for one in list_listings(connection, [s.symbol_id for s in known.values()])}
    if active := [str(ticker) for ticker, symbol in known.items() if symbol.is_active]:
        raise UsageError(f"active in the universe: {_list(active)}; symbols deactivate removes them from it first")
    described = {t: listings[s.symbol_id].describe() for t, s in known.items() if s.symbol_id in listings}
    results = [DelistedSymbol(ticker, known=text) for ticker, text in described.items()]
    wanted = [ticker for ticker in tickers if ticker not in described]
    return results + (asyncio.run(_fetch_and_add(engine, wanted, by)) if wanted else [])


async def _fetch_and_add(engine: Engine, tickers: Sequence[Ticker], by: str) -> list[DelistedSymbol]:
    async with engine.open_vendor_client(Purpose.REFERENCE) as (_, client):
        codes = {listed.code for listed in await client.fetch_symbols(tickers[0].exchange, delisted=True)}
        if unlisted := [str(ticker) for ticker in tickers if ticker.symbol not in codes]:
            raise UsageError(
                f"not in the vendor's list of delisted symbols ({format_count(len(codes), 'symbol')}):"
                f" {_list(unlisted)}; nothing added"
            )
        return [await _add(engine, client, ticker, by) for ticker in tickers]


async def _add(engine: Engine, client: VendorClient, ticker: Ticker, by: str) -> DelistedSymbol:
    try:
        rows = await client.fetch_daily(str(ticker))
    except UnknownTicker:
        return DelistedSymbol(ticker)
    if not len(rows):
        return DelistedSymbol(ticker)
    first, last = rows.date.min().astype(object), rows.date.max().astype(object)
    market = engine.settings.get_market(ticker.exchange)
    feed = engine.settings.choose_source(market, INTERVALS[DEFAULT_INTERVAL]).name
    found = DelistedSymbol(ticker, find_feed_beginning(market, feed), first, last, is_limited=rows.warning is not None)
    source = f"added as delisted: in the vendor's list of delisted symbols, daily data {first} to {last}"
    with engine.database.transaction() as connection:
        lock_listings(connection)  # before the universe, as a rename does
        add_symbols(connection, [ticker], reactivate=False, is_active=False)
        (symbol,) = [s for s in list_symbols(connection, ticker.exchange, only_active=False) if s.ticker == ticker]
        listing = NewListing(symbol.symbol_id, None if found.is_limited else first, last)
        record_listings(connection, [listing], source=source, by=by, now=engine.settings.now())
    return found


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_EXAMPLES]) + (", …" if len(names) > MAX_EXAMPLES else "")
