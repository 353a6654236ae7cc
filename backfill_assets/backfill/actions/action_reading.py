"""Reads the vendor's corporate actions of one kind: each symbol's list weekly, or the market's files.

The calls of a kind have a purpose and a number a day of their own, and come after those for daily rows. In order: lists
of which something is not known (of a symbol that is new; of splits, if a daily row's adjusted close knows of an action
since), lists of symbols with a finding about their actions, closes that actions need, and lists that are a week old.
With the market's files, one of each session, weekly lists are left out, and the others are read on days without a file.
Last come lists and closes of inactive symbols with bars: read once after their end, weekly until there is an answer.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Generic

from backfill_assets.backfill.actions.action_kinds import DIVIDEND_KIND, SPLIT_KIND, ActionKind, ListedT, RowT
from backfill_assets.backfill.actions.close_reading import CloseReading
from backfill_assets.backfill.actions.contradictions import update_contradictions
from backfill_assets.backfill.actions.market_action_files import MarketActionFiles
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.listed_requests import ask_one_of
from backfill_assets.market.actions.listed_actions import ListedDividend, ListedSplit
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_actions import ActionRows, DividendRow, SplitRow
from backfill_assets.market.vendor_errors import EndpointUnavailable, TransientError, VendorError
from backfill_assets.store.actions.action_reads import (
    FIRST_POSSIBLE_DAY,
    claim_requests,
    count_requests,
    defer_requests,
    find_unread_ended_symbols,
    find_unread_symbols,
)
from backfill_assets.store.actions.needed_closes import count_close_requests, find_symbols_with_bars
from backfill_assets.store.actions.splits import find_adjusted_symbols
from backfill_assets.store.evidence.findings import list_findings
from backfill_assets.store.listing_bounds import list_asked_tickers, read_ended_bounds
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_symbols

READ_AGAIN_AFTER = timedelta(days=7)  # by the date (UTC): on the same day of the week, at whichever hour it is read
RETRY_AFTER = timedelta(hours=20)
SESSIONS_A_WEEK = 5
_log = logging.getLogger(__name__)


class ActionReading(Generic[RowT, ListedT]):
    """The actions of one kind in one reading.

    Attributes:
        requested: how many symbols were requested.
        closes_requested: how many symbols' closes were requested.
        file_days: the days of the market's files that were requested.
    """

    def __init__(
        self,
        kind: ActionKind[RowT, ListedT],
        engine: Engine,
        symbols: Sequence[Symbol],
        settled: Sequence[Session],
        *,
        uses_file: bool,
        inactive: Sequence[Symbol] = (),
    ) -> None:
        """Find out how actions are read.

        The market's file, of one session each, is cheaper than a list a week from five times as many symbols on.

        Args:
            kind: the kind of action.
            engine: the parts to work with.
            symbols: the active ones of one exchange.
            settled: its retained sessions whose daily rows are settled.
            uses_file: whether the market's file of daily rows is read.
            inactive: those with bars.
        """
        self._kind: ActionKind[RowT, ListedT] = kind
        self._engine, self._symbols, self._settled = engine, symbols, settled
        self._inactive, self._market = inactive, settled[-1].market
        self._now = engine.settings.now()
        self._today = self._now.replace(hour=0, minute=0, second=0, microsecond=0)  # UTC
        self._list_price, self._file_price = kind.get_prices(engine.prices)
        # With one exchange every request counts; with several each has calls of its own within those of all.
        own = [symbol.symbol_id for symbol in (*symbols, *inactive)]
        self._counted = own if len(engine.settings.exchanges) > 1 else None
        self._calls_a_day = min(len(symbols) + len(inactive), engine.settings.action_calls)
        optional = engine.create_optional_endpoints()
        self._reads_lists = optional.is_available(kind.list_endpoint)
        is_file_cheaper = len(symbols) * self._list_price > SESSIONS_A_WEEK * self._file_price
        is_file_wanted = uses_file and is_file_cheaper and self._calls_a_day >= self._file_price
        self._files: MarketActionFiles[RowT, ListedT] | None = None
        if is_file_wanted and optional.is_available(kind.file_endpoint):
            self._files = MarketActionFiles(kind, engine, settled)
        groups = () if kind.purpose is Purpose.SPLITS else (symbols if uses_file else (), inactive)
        self._closes = [CloseReading(engine, group, settled[-1].day) for group in groups]  # of the active ones first
        self._stopped: VendorError | None = None
        self.requested = 0

    @property
    def closes_requested(self) -> int:
        """How many symbols' closes were requested."""
        return sum(closes.requested for closes in self._closes)

    @property
    def file_days(self) -> Sequence[date]:
        """The days of the market's files that were requested."""
        return self._files.days if self._files else ()

    def has_due(self) -> bool:
        """Whether something could be read now."""
        with self._engine.database.transaction() as connection:
            calls_left = self._count_calls_left(connection)
            if calls_left < self._list_price:
                return False
            if self._reads_lists and self._find_lists(connection, 1, only_incomplete=self._files is not None):
                return True
            if self._reads_lists and self._find_ended_lists(connection, 1):
                return True
        if self._files and calls_left >= self._file_price and self._files.find_due():
            return True
        return any(closes.find_due(1) for closes in self._closes)

    async def read(self, client: VendorClient, in_flight: int) -> VendorError | None:
        """Read what is due, with at most the calls of the day.

        Args:
            client: of any purpose.
            in_flight: at most this many requests at once.

        Returns:
            The error that stopped the reading, if there is one.
        """
        client = client.for_purpose(self._kind.purpose)
        try:
            await self._read(client, in_flight)
        except EndpointUnavailable as error:  # a finding says so
            _log.warning("%s are not read: %s", self._kind.name, error)
        except VendorError as error:
            return error
        return None

    async def _read(self, client: VendorClient, in_flight: int) -> None:
        while self._files and self._count_left() >= self._file_price:
            if not await self._files.read_next(client):
                break
        if self._reads_lists:
            await self._read_lists(client, partial(self._find_lists, only_incomplete=True), in_flight)
        for closes in self._closes[:1]:
            await closes.read(client, self._count_left() // self._engine.prices.daily)
        if self._reads_lists and not self._files:
            await self._read_lists(client, partial(self._find_lists, only_incomplete=False), in_flight)
        if self._reads_lists and self._inactive:
            await self._read_lists(client, self._find_ended_lists, in_flight)
        for closes in self._closes[1:]:
            await closes.read(client, self._count_left() // self._engine.prices.daily)

    def _count_left(self) -> int:
        with self._engine.database.transaction() as connection:
            return max(0, self._count_calls_left(connection))

    def _count_calls_left(self, connection: Connection) -> int:
        """The calls of today (UTC) that are left for this kind."""
        spent = count_requests(connection, self._kind.reads_table, self._today, self._counted) * self._list_price
        if self._files:
            spent += self._files.count_requests(connection, self._today) * self._file_price
        for closes in self._closes:
            spent += count_close_requests(connection, closes.symbol_ids, self._today) * self._engine.prices.daily
        if self._counted is None:
            return self._calls_a_day - spent
        of_all = count_requests(connection, self._kind.reads_table, self._today) * self._list_price
        return min(self._calls_a_day - spent, self._engine.settings.action_calls - of_all)

    def _find_lists(self, connection: Connection, limit: int, *, only_incomplete: bool) -> list[int]:
        ids, table = [symbol.symbol_id for symbol in self._symbols], self._kind.reads_table
        before = self._find_read_again_before()
        due: list[int] = []
        if self._kind.purpose is Purpose.SPLITS:
            days = (self._settled[0].day, self._settled[-1].day)
            due += find_adjusted_symbols(connection, ids, days, self._now - RETRY_AFTER)
        due += find_unread_symbols(connection, table, self._list_doubted(connection), before, limit)
        due += find_unread_symbols(connection, table, ids, before, limit, only_incomplete=only_incomplete)
        return list(dict.fromkeys(due))[:limit]

    def _find_ended_lists(self, connection: Connection, limit: int) -> list[int]:
        ids = [symbol.symbol_id for symbol in self._inactive]
        return find_unread_ended_symbols(connection, self._kind.reads_table, ids, self._find_read_again_before(), limit)

    def _find_read_again_before(self) -> datetime:
        return self._today + timedelta(days=1) - READ_AGAIN_AFTER

    def _list_doubted(self, connection: Connection) -> list[int]:
        """The symbols with an open finding that their list may end; a file has a correction of no earlier session."""
        subjects = {
            finding.subject for finding in list_findings(connection) if finding.kind in self._kind.reread_findings
        }
        return [symbol.symbol_id for symbol in self._symbols if str(symbol.ticker) in subjects]

    async def _read_lists(
        self, client: VendorClient, find: Callable[[Connection, int], list[int]], in_flight: int
    ) -> None:
        with self._engine.database.transaction() as connection:
            limit = max(0, self._count_calls_left(connection)) // self._list_price
            due = find(connection, limit)
        by_id = {symbol.symbol_id: symbol for symbol in (*self._symbols, *self._inactive)}
        # Each when its turn comes: a process that dies keeps no other list from its turn than those in flight.
        remaining = (by_id[symbol_id] for symbol_id in due if self._claim(symbol_id))
        await self._read_next(client, remaining)  # alone: a plan without the endpoint refuses one request
        workers = range(min(in_flight, len(due) - 1))
        await asyncio.gather(*(self._read_remaining(client, remaining) for _ in workers))
        if self._stopped is not None:
            raise self._stopped

    async def _read_remaining(self, client: VendorClient, remaining: Iterator[Symbol]) -> None:
        while await self._read_next(client, remaining):
            pass

    async def _read_next(self, client: VendorClient, remaining: Iterator[Symbol]) -> bool:
        """Read the next list; whether there was one, and the others may go on."""
        symbol = next(remaining, None) if self._stopped is None else None
        if symbol is None:
            return False
        try:
            await self._read_list(client, symbol)
        except VendorError as error:
            if error.stops_run or isinstance(error, EndpointUnavailable):
                self._defer(symbol.symbol_id, None)
                self._stopped = error
                return False
            _log.warning("no %s: %s", self._kind.name, error)
            if isinstance(error, TransientError) and error.is_repeated:  # else it would be the same answer
                self._defer(symbol.symbol_id, self._find_read_again_before() + timedelta(days=1))  # until tomorrow
        return True

    def _claim(self, symbol_id: int) -> bool:
        """Whether no other process has requested the list in the last hours."""
        table, before = self._kind.reads_table, self._now - RETRY_AFTER
        with self._engine.database.transaction() as connection:
            return bool(claim_requests(connection, table, [symbol_id], self._now, before))

    def _defer(self, symbol_id: int, at: datetime | None) -> None:
        with self._engine.database.transaction() as connection:
            defer_requests(connection, self._kind.reads_table, [symbol_id], at)

    async def _read_list(self, client: VendorClient, symbol: Symbol) -> None:
        with self._engine.database.transaction() as connection:
            tickers = list_asked_tickers(symbol, read_ended_bounds(connection, [symbol]))
        rows = await ask_one_of(tickers, partial(self._kind.fetch_list, client))
        self.requested += 1
        yesterday = self._now.astimezone(self._market.zone).date() - timedelta(days=1)
        known_after = self._find_known_after(symbol, rows, yesterday)
        if known_after is None:
            return
        with self._engine.database.transaction() as connection:
            listed = self._kind.merge(connection, symbol, rows.rows, self._market)
            self._kind.record_list(
                connection,
                symbol.symbol_id,
                listed,
                self._kind.list_endpoint,
                self._now,
                known_after=known_after,
                known_until=yesterday,
            )
            update_contradictions(connection, self._kind.contradiction, [symbol], self._now)

    def _find_known_after(self, symbol: Symbol, rows: ActionRows[RowT], yesterday: date) -> date | None:
        """The day after which a list has every action: of those before it some are absent or cannot be read.

        None if a row without a date cannot be read: it may be of any day.
        """
        known_after = FIRST_POSSIBLE_DAY
        if rows.warning is not None:  # the plan limits the list
            known_after = min([*(row.ex_date for row in rows.rows), yesterday])
        if rows.unparsable_rows:
            _log.warning("%s: %d %s cannot be read", symbol.ticker, rows.unparsable_rows, self._kind.name)
            if rows.unreadable_until is None:
                return None
            known_after = max(known_after, min(rows.unreadable_until, yesterday))
        return known_after


def create_action_readings(
    engine: Engine, symbols: Sequence[Symbol], settled: Sequence[Session], *, uses_file: bool
) -> tuple[ActionReading[SplitRow, ListedSplit], ActionReading[DividendRow, ListedDividend]]:
    """The readings of the active ones of the symbols, and of all inactive ones of their exchange that have bars."""
    active = [symbol for symbol in symbols if symbol.is_active]
    with engine.database.transaction() as connection:
        listed = list_symbols(connection, settled[-1].exchange, only_active=False)
        with_bars = find_symbols_with_bars(connection, [s.symbol_id for s in listed if not s.is_active])
    inactive = [symbol for symbol in listed if symbol.symbol_id in with_bars]
    return (
        ActionReading(SPLIT_KIND, engine, active, settled, uses_file=uses_file, inactive=inactive),
        ActionReading(DIVIDEND_KIND, engine, active, settled, uses_file=uses_file, inactive=inactive),
    )
