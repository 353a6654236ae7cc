"""Reads the daily closes that corporate actions need and the store lacks: one request a symbol, whatever its span.

Of active symbols only where the market's file is read in the morning. Elsewhere ``backfill.daily_requests``, which
requests each of them anyway, has them with its own requests.
"""

import logging
from collections.abc import Collection
from datetime import date, datetime, timedelta

from backfill_assets.backfill.actions.needed_days import ASK_AGAIN_AFTER, find_needed_days
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.listed_requests import ask_one_of
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_errors import TransientError, VendorError
from backfill_assets.store.actions.needed_closes import (
    claim_close_requests,
    defer_close_requests,
    list_days_with_bars,
)
from backfill_assets.store.evidence.daily_prices import record_rows_of_days
from backfill_assets.store.listing_bounds import list_asked_tickers, read_ended_bounds

RETRY_AFTER = timedelta(hours=20)  # a request that failed waits for the next morning
_log = logging.getLogger(__name__)


class CloseReading:
    """The closes of one reading.

    Attributes:
        requested: how many symbols were requested.
    """

    def __init__(self, engine: Engine, symbols: Collection[Symbol], last_day: date) -> None:
        self._engine, self._last_day = engine, last_day
        self._by_id = {symbol.symbol_id: symbol for symbol in symbols}
        self._now = engine.settings.now()
        self.requested = 0

    @property
    def symbol_ids(self) -> Collection[int]:
        """Whose closes are read."""
        return self._by_id.keys()

    def find_due(self, limit: int) -> dict[int, list[date]]:
        """The days that at most ``limit`` symbols lack."""
        with self._engine.database.transaction() as connection:
            symbols = self._by_id.values()
            return find_needed_days(self._engine, connection, symbols, self._last_day, self._now, limit)

    async def read(self, client: VendorClient, limit: int) -> None:
        """Request the closes of at most ``limit`` symbols; one that fails is requested again on another morning.

        Raises:
            VendorError: one that stops the run.
        """
        due = self.find_due(limit)
        for symbol_id in filter(self._claim, due):
            try:
                await self._request(client, self._by_id[symbol_id], due[symbol_id])
            except VendorError as error:
                if error.stops_run:
                    self._defer(symbol_id, None)
                    raise
                _log.warning("no daily closes: %s", error)
                if isinstance(error, TransientError) and error.is_repeated:  # else it would be the same answer
                    self._defer(symbol_id, self._now - ASK_AGAIN_AFTER + RETRY_AFTER)

    async def _request(self, client: VendorClient, symbol: Symbol, days: Collection[date]) -> None:
        self.requested += 1
        with self._engine.database.transaction() as connection:
            tickers = list_asked_tickers(symbol, read_ended_bounds(connection, [symbol]))
        rows = await ask_one_of(tickers, lambda ticker: client.fetch_daily(ticker, min(days)))
        with self._engine.database.transaction() as connection:
            kept = {*days, *list_days_with_bars(connection, symbol.symbol_id)}
            record_rows_of_days(connection, symbol.symbol_id, rows, kept, self._last_day, self._now)

    def _claim(self, symbol_id: int) -> bool:
        with self._engine.database.transaction() as connection:
            return bool(claim_close_requests(connection, [symbol_id], self._now, self._now - ASK_AGAIN_AFTER))

    def _defer(self, symbol_id: int, at: datetime | None) -> None:
        with self._engine.database.transaction() as connection:
            defer_close_requests(connection, [symbol_id], at)
