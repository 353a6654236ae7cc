"""Adds the symbols of the vendor's list of an exchange to the universe; ``listing_filter`` decides which."""

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

from backfill_assets.backfill.ask_costs import AskCosts, compute_ask_costs
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.listing_filter import FilteredList, ListingFilter, filter_listing
from backfill_assets.config.counts import format_count
from backfill_assets.config.formatting import explain_not_collected
from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.price_units import read_price_unit
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import ListedSymbol, RecordList
from backfill_assets.store.evidence.listed_isins import record_listed_isins
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.price_units import record_listed_units
from backfill_assets.store.symbols import add_symbols, list_symbols

MAX_EXAMPLES = 5
MAX_NEW_AT_ONCE = 200  # without a person's consent: at 6 calls a day each they cost hundreds of calls, not thousands
DAYS_A_WEEK = 7
_log = logging.getLogger(__name__)


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
        exchange: the vendor's code.
        postponed: how many new ones were not added, because a setting adds 200 at once at most.
    """

    listed: int
    added: int
    left_inactive: int
    left_out: Mapping[str, tuple[str, ...]]
    kept: tuple[str, ...]
    unplaced: int
    warning: str | None = None
    exchange: str = DEFAULT_EXCHANGE
    postponed: int = 0

    @property
    def left_out_count(self) -> int:
        """How many listed symbols do not pass the filter."""
        return sum(map(len, self.left_out.values()))

    def describe(self) -> list[str]:
        """The vendor's remark, and one sentence for each reason to leave symbols out or as they are, with examples."""
        notes = [f"the vendor says: {self.warning}"] if self.warning else []
        notes += [f"{len(codes):,} left out: {why} ({_list_examples(codes)})" for why, codes in self.left_out.items()]
        if self.postponed:
            notes.append(
                f"{self.postponed:,} new not added, because a setting adds at most {MAX_NEW_AT_ONCE} at once; to add"
                f" all of them: backfill-assets symbols sync --exchange {self.exchange} --yes"
            )
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


@dataclass(frozen=True, eq=False)
class SymbolSync:
    """What the vendor's list of an exchange would change, before anything is changed.

    Attributes:
        exchange: the vendor's code.
        listed: the list.
        filtered: the list, divided.
        known: the symbols of the universe, and whether each is active.
        calls_a_day: about how many of the vendor's calls the new symbols will cost.
        costs: of requests, if the market never closes.
    """

    exchange: str
    listed: RecordList[ListedSymbol]
    filtered: FilteredList
    known: Mapping[Ticker, bool]
    calls_a_day: int
    costs: AskCosts | None = None

    @property
    def new(self) -> list[Ticker]:
        """What the universe does not have, in the order of the list."""
        return [ticker for ticker in self.filtered.tickers if ticker not in self.known]

    @property
    def needs_consent(self) -> bool:
        """Whether it is more than anybody adds by mistake, so that a person has to say so."""
        return len(self.new) > MAX_NEW_AT_ONCE

    def describe_new(self) -> str:
        """How many symbols are new, and what they cost."""
        counted = format_count(len(self.new), "new symbol")
        described = f"{counted}: about {format_count(self.calls_a_day, 'call')} a day"
        return f"{described}; {self.costs.describe(0)}" if self.costs else described


def find_new_symbols(engine: Engine, exchange: str, wanted: ListingFilter) -> SymbolSync:
    """Read the vendor's list of an exchange, and find what of it passes the filter and is new; changes nothing.

    Raises:
        UsageError: an exchange that is not supported or not enabled, a filter with a word that no listed symbol has, or
            a database with bars of another host.
        VendorError: the list cannot be read.
    """
    require_enabled(engine.settings, exchange)
    engine.require_matching_host()
    listed = asyncio.run(_fetch_list(engine, exchange))
    if not listed:
        words = f"; it says: {listed.warning}" if listed.warning else ""
        raise UsageError(f"the vendor lists no symbol on {exchange}{words}")
    filtered = filter_listing(listed, exchange, wanted)
    with engine.database.transaction() as connection:
        record_listed_isins(connection, exchange, listed, engine.settings.now())
        known = {symbol.ticker: symbol.is_active for symbol in list_symbols(connection, exchange, only_active=False)}
    new_count = sum(ticker not in known for ticker in filtered.tickers)
    calls_a_day = estimate_calls_a_day(engine, exchange, new_count, len(known))
    costs = compute_ask_costs(engine, engine.settings.get_market(exchange))
    return SymbolSync(exchange, listed, filtered, known, calls_a_day, costs)


def add_new_symbols(engine: Engine, sync: SymbolSync, limit: int | None = None) -> SymbolSyncResult:
    """Add the new symbols of a list, at most ``limit``, the first of the list; activates and deactivates none."""
    filtered, new = sync.filtered, sync.new
    chosen = new if limit is None else new[:limit]
    active_codes = {ticker.symbol for ticker, is_active in sync.known.items() if is_active}
    with engine.database.transaction() as connection:
        added = add_symbols(connection, chosen, reactivate=False)
        _record_units(connection, engine, sync)
    if len(chosen) < len(new):
        _log.warning("%s: %d of %d new symbols were not added", sync.exchange, len(new) - len(chosen), len(new))
    return SymbolSyncResult(
        listed=len(sync.listed),
        added=added,
        left_inactive=sum(not sync.known.get(ticker, True) for ticker in filtered.tickers),
        left_out=filtered.left_out,
        kept=tuple(code for codes in filtered.left_out.values() for code in codes if code in active_codes),
        unplaced=filtered.unplaced,
        warning=sync.listed.warning,
        exchange=sync.exchange,
        postponed=len(new) - len(chosen),
    )


def sync_universe(engine: Engine, exchange: str, wanted: ListingFilter) -> SymbolSyncResult:
    """Add at most 200 symbols of the vendor's list of ``exchange`` that pass the filter, as a setting does by itself.

    Raises:
        UsageError, VendorError: as ``find_new_symbols``.
    """
    return add_new_symbols(engine, find_new_symbols(engine, exchange, wanted), MAX_NEW_AT_ONCE)


def require_enabled(settings: Settings, exchange: str) -> None:
    """Make sure that an exchange is collected.

    Raises:
        UsageError: it is not supported, or not enabled; the message says what to do.
    """
    settings.get_market(exchange)
    if exchange not in settings.exchanges:
        raise UsageError(explain_not_collected(exchange, settings.exchanges))


def estimate_calls_a_day(engine: Engine, exchange: str, new: int, known: int) -> int:
    """About how many calls a day new symbols cost: a request for bars each, daily data, and actions once a week.

    Of daily data the file of the whole exchange costs the same however many symbols there are.
    """
    settings, prices, market = engine.settings, engine.prices, engine.settings.get_market(exchange)
    sources = {settings.choose_source(market, INTERVALS[name]).name for name in settings.intervals}
    calls = float(new * prices.intraday * len(sources))
    if costs := compute_ask_costs(engine, market):
        calls = float(new * costs.calls + (0 if known else costs.probe_calls))
    if settings.daily_data and market.uses_daily_data:
        uses_file = settings.bulk_daily and market.has_market_file and new + known >= settings.daily_file_symbols
        calls += (prices.bulk_daily if known < settings.daily_file_symbols else 0) if uses_file else new * prices.daily
    if settings.daily_data and market.has_actions:
        calls += min(new * (prices.splits + prices.dividends) / DAYS_A_WEEK, 2.0 * settings.action_calls)
    return math.ceil(calls)


def _record_units(connection: Connection, engine: Engine, sync: SymbolSync) -> None:
    """Record what the vendor's list says of prices; in the US all are in one currency."""
    if sync.exchange == DEFAULT_EXCHANGE:
        return
    market, now = engine.settings.get_market(sync.exchange), engine.settings.now()
    listed = {symbol.code: read_price_unit(symbol.currency) for symbol in sync.listed}
    symbols = list_symbols(connection, sync.exchange, only_active=False)
    units = {s.symbol_id: unit for s in symbols if (unit := listed.get(s.ticker.symbol)) is not None}
    day = now.astimezone(market.zone).date()
    record_listed_units(connection, units, f"the vendor's list of {sync.exchange}", day, now)


async def _fetch_list(engine: Engine, exchange: str) -> RecordList[ListedSymbol]:
    async with engine.open_vendor_client(Purpose.REFERENCE) as (_, client):
        return await client.fetch_symbols(exchange)


def _list_examples(codes: tuple[str, ...]) -> str:
    return ", ".join(codes[:MAX_EXAMPLES]) + (", …" if len(codes) > MAX_EXAMPLES else "")
