"""Reads the daily closes that corporate actions need and the store lacks: one request a symbol, whatever its span.

Only where the market's file is read in the morning. Elsewhere ``backfill.daily_requests``, which requests each symbol
anyway, has them with its own requests.
"""

import logging
from collections.abc import Collection
from datetime import date, datetime, timedelta

from backfill_assets.backfill.actions.needed_days import ASK_AGAIN_AFTER, find_needed_days
from backfill_assets.backfill.engine import Engine
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_errors import TransientError, VendorError
from backfill_assets.store.actions.needed_closes import (
    claim_close_requests,
    defer_close_requests,
    list_days_with_bars,
)
from backfill_assets.store.evidence.daily_prices import record_rows_of_days

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
                if isinstance(error, TransientError):
                    self._defer(symbol_id, self._now - ASK_AGAIN_AFTER + RETRY_AFTER)

    async def _request(self, client: VendorClient, symbol: Symbol, days: Collection[date]) -> None:
        self.requested += 1
        rows = await client.fetch_daily(str(symbol.ticker), min(days))
        with self._engine.database.transaction() as connection:
            kept = {*days, *list_days_with_bars(connection, symbol.symbol_id)}
            record_rows_of_days(connection, symbol.symbol_id, rows, kept, self._last_day, self._now)

    def _claim(self, symbol_id: int) -> bool:
        with self._engine.database.transaction() as connection:
            return bool(claim_close_requests(connection, [symbol_id], self._now, self._now - ASK_AGAIN_AFTER))

    def _defer(self, symbol_id: int, at: datetime | None) -> None:
        with self._engine.database.transaction() as connection:
            defer_close_requests(connection, [symbol_id], at)
