"""Reads splits, without which daily volumes cannot be compared: each symbol's list weekly, or the market's file.

A symbol whose daily rows know of an action since, by an adjusted close that differs from the close, is read at once.
The calls have a purpose of their own, and come after those for daily rows.
"""

import logging
from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.optional_endpoints import SPLITS, SPLITS_FILE
from backfill_assets.market.calendar.exchanges import TIME_ZONE
from backfill_assets.market.calendar.sessions import Session, list_previous_sessions
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.vendor import SplitRows, VendorClient
from backfill_assets.market.vendor_errors import EndpointUnavailable, VendorError
from backfill_assets.store.actions.splits import (
    FIRST_POSSIBLE_DAY,
    claim_split_requests,
    count_split_requests,
    find_adjusted_symbols,
    find_unread_symbols,
    record_market_splits,
    record_symbol_splits,
    release_split_requests,
)
from backfill_assets.store.evidence.daily_reads import claim_splits_file
from backfill_assets.store.symbols import list_symbols

READ_AGAIN_AFTER = timedelta(days=6.5)  # on the same morning of the next week, also if it is read earlier then
RETRY_AFTER = timedelta(hours=20)
SESSIONS_A_WEEK = 5
_log = logging.getLogger(__name__)


class SplitReading:
    """The splits of one reading.

    Attributes:
        requested: how many symbols were requested.
        file_day: the day of the market's file that was requested.
    """

    def __init__(
        self, engine: Engine, client: VendorClient, symbols: Sequence[Symbol], settled: Sequence[Session]
    ) -> None:
        self._engine, self._client, self._symbols, self._settled = engine, client, symbols, settled
        self._now = engine.settings.now()
        self._daily_limit = client.prices.bulk_splits // client.prices.splits
        self.requested = 0
        self.file_day: date | None = None

    async def read(self, *, uses_file: bool) -> VendorError | None:
        """Read what is due; at most as many symbols a day as the market's file costs.

        The market's file, of one session each, is cheaper than a list a week from five times as many symbols on.

        Returns:
            The error that stopped the reading, if there is one.
        """
        optional = self._engine.create_optional_endpoints()
        try:
            reads_file = uses_file and len(self._symbols) > SESSIONS_A_WEEK * self._daily_limit
            if reads_file := reads_file and optional.is_available(SPLITS_FILE):
                await self._read_file(self._settled[-1])
            if optional.is_available(SPLITS):
                await self._read_lists(self._find_due(weekly=not reads_file))
        except EndpointUnavailable as error:  # a finding says so; rules that need splits do not judge
            _log.warning("splits are not read: %s", error)
        except VendorError as error:
            return error
        return None

    def _find_due(self, *, weekly: bool) -> list[int]:
        today = self._now.replace(hour=0, minute=0, second=0, microsecond=0)
        ids = [symbol.symbol_id for symbol in self._symbols]
        with self._engine.database.transaction() as connection:
            due = find_adjusted_symbols(connection, ids, self._settled[0].day, self._settled[-1].day)
            if weekly:
                due += find_unread_symbols(connection, ids, self._now - READ_AGAIN_AFTER, self._daily_limit)
            limit = max(0, self._daily_limit - count_split_requests(connection, today))
            chosen = list(dict.fromkeys(due))[:limit]
            return claim_split_requests(connection, chosen, self._now, self._now - RETRY_AFTER)

    async def _read_lists(self, symbol_ids: Sequence[int]) -> None:
        by_id = {symbol.symbol_id: symbol for symbol in self._symbols}
        for position, symbol_id in enumerate(symbol_ids):
            try:
                await self._read_list(by_id[symbol_id])
            except VendorError as error:
                if error.stops_run or isinstance(error, EndpointUnavailable):
                    with self._engine.database.transaction() as connection:
                        release_split_requests(connection, symbol_ids[position:])
                    raise
                _log.warning("no splits: %s", error)

    async def _read_list(self, symbol: Symbol) -> None:
        rows = await self._client.fetch_splits(str(symbol.ticker))
        self.requested += 1
        splits: dict[date, float] = {}
        for day, ratio in zip(rows.ex_date.tolist(), rows.ratio.tolist(), strict=True):
            splits.setdefault(day, ratio)  # the vendor may list one twice
        if rows.unparsable_rows:
            _log.warning("%s: %d splits cannot be read", symbol.ticker, rows.unparsable_rows)
            return
        yesterday = self._now.astimezone(TIME_ZONE).date() - timedelta(days=1)
        known_after = FIRST_POSSIBLE_DAY if rows.warning is None else min([*splits, yesterday])
        with self._engine.database.transaction() as connection:
            record_symbol_splits(
                connection, symbol.symbol_id, splits, SPLITS, self._now, known_after=known_after, known_until=yesterday
            )

    async def _read_file(self, session: Session) -> None:
        database = self._engine.database
        with database.transaction() as connection:
            if not claim_splits_file(connection, session.day, self._now, self._now - RETRY_AFTER):
                return
        rows = await self._client.fetch_bulk_splits(session.exchange, session.day)
        self.file_day = session.day
        if rows.unparsable_rows:
            _log.warning("%d splits of %s cannot be read", rows.unparsable_rows, session.day)
        previous = list_previous_sessions(session, 1, self._engine.settings.load_calendar_overrides())
        with database.transaction() as connection:
            by_code = {
                s.ticker.symbol: s.symbol_id for s in list_symbols(connection, session.exchange, only_active=False)
            }
            searched = [symbol_id for code, symbol_id in by_code.items() if code not in rows.unreadable_codes]
            splits = _select_day(rows, session.day)
            record_market_splits(
                connection,
                searched,
                {by_code[code]: ratio for code, ratio in splits.items() if code in by_code},
                SPLITS_FILE,
                self._now,
                previous_day=previous[0].day if previous else session.day - timedelta(days=1),
                day=session.day,
            )


def _select_day(rows: SplitRows, day: date) -> dict[str, float]:
    """The splits of one day; a file of another day says nothing about this one."""
    splits: dict[str, float] = {}
    for position in np.flatnonzero(rows.ex_date == np.datetime64(day)).tolist():
        splits.setdefault(str(rows.code[position]), float(rows.ratio[position]))
    return splits
