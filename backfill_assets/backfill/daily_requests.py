"""Requests for the daily rows of single symbols: one for each, from the oldest session that it lacks on.

It begins earlier if a corporate action needs an earlier close: a request costs the same whatever its span.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Mapping
from datetime import date, timedelta

from backfill_assets.backfill.actions.needed_days import find_needed_days
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.fetch.fetcher import MAX_CONSECUTIVE_FAILURES
from backfill_assets.backfill.listed_requests import ask_one_of
from backfill_assets.market.calendar.sessions import Session, list_previous_sessions
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_errors import TransientError, VendorError
from backfill_assets.store.actions.needed_closes import claim_close_requests, list_days_with_bars
from backfill_assets.store.evidence.daily_prices import record_rows_of_days
from backfill_assets.store.evidence.daily_reads import (
    claim_daily_requests,
    record_daily_answer,
    release_daily_requests,
)
from backfill_assets.store.listing_bounds import ListingBounds, list_asked_tickers, read_ended_bounds

_log = logging.getLogger(__name__)


class DailyRequests:
    """The requests of one reading.

    Attributes:
        requested: how many were sent.
        failed: how many of them have no answer.
    """

    def __init__(self, engine: Engine, client: VendorClient, job: BackfillJob, last_session: Session) -> None:
        self._engine, self._client, self._job = engine, client, job
        self._last_day = last_session.day
        self._now = engine.settings.now()
        self._stopped: VendorError | None = None
        self._failures_in_a_row = 0
        self._needed_days: Mapping[int, Collection[date]] = {}
        self._bounds: Mapping[int, ListingBounds] = {}
        self.requested = self.failed = 0

    async def send(self, first_days: Mapping[int, date], retry_after: timedelta, in_flight: int) -> VendorError | None:
        """Request symbols and store their rows; a symbol that fails does not keep the others from it.

        Args:
            first_days: symbol_id → the oldest session that it lacks.
            retry_after: how long a symbol waits after a request that failed.
            in_flight: at most this many requests at once.

        Returns:
            The error that stopped the rest, if there is one.
        """
        database = self._engine.database
        by_id = {symbol.symbol_id: symbol for symbol in self._job.symbols}
        with database.transaction() as connection:
            claimed = claim_daily_requests(connection, first_days, self._now, self._now - retry_after)
            requested = [by_id[symbol_id] for symbol_id in first_days if symbol_id in claimed]
            self._needed_days = find_needed_days(self._engine, connection, requested, self._last_day, self._now)
            self._bounds = read_ended_bounds(connection, requested)
        pending = deque(requested)
        try:
            await asyncio.gather(*(self._work(pending, first_days) for _ in range(min(len(pending), in_flight))))
        finally:
            if pending:  # not requested: another run may do it
                with database.transaction() as connection:
                    release_daily_requests(connection, [symbol.symbol_id for symbol in pending])
        return self._stopped

    async def _work(self, pending: deque[Symbol], first_days: Mapping[int, date]) -> None:
        while pending and self._stopped is None:
            symbol = pending.popleft()
            try:
                await self._request(symbol, first_days[symbol.symbol_id])
            except VendorError as error:
                if error.stops_run:
                    self._stopped = error
                    pending.append(symbol)
                    continue
                self._note_failure(error)

    def _note_failure(self, error: VendorError) -> None:
        """Count a failure; several in a row that say nothing about their symbols stop the rest."""
        self.requested += 1
        self.failed += 1
        _log.warning("no daily data: %s", error)
        self._failures_in_a_row += isinstance(error, TransientError)
        if self._failures_in_a_row >= MAX_CONSECUTIVE_FAILURES:
            self._stopped = error

    async def _request(self, symbol: Symbol, first_day: date) -> None:
        """One request. It begins a session earlier, whose adjusted close shows whether there was a split since."""
        sessions = {session.day: session for session in self._job.window.sessions}
        before = list_previous_sessions(sessions[first_day], 1)
        needed = self._needed_days.get(symbol.symbol_id, ())
        first = min([before[0].day if before else first_day, *needed])
        tickers = list_asked_tickers(symbol, self._bounds)
        rows = await ask_one_of(tickers, lambda ticker: self._client.fetch_daily(ticker, first))
        self.requested += 1
        self._failures_in_a_row = 0
        if rows.warning:
            _log.warning("%s: the vendor's daily data are limited: %s", symbol.ticker, rows.warning)
        bound = self._bounds.get(symbol.symbol_id)
        with self._engine.database.transaction() as connection:
            kept = {*sessions, *(session.day for session in before), *needed}
            if needed:
                kept |= list_days_with_bars(connection, symbol.symbol_id)
                claim_close_requests(connection, [symbol.symbol_id], self._now, self._now)
            if bound is not None:
                kept = {day for day in kept if bound.holds(day)}
            record_rows_of_days(connection, symbol.symbol_id, rows, kept, self._last_day, self._now)
            record_daily_answer(connection, symbol.symbol_id, first_day, self._now)
