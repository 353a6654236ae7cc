"""The market's daily file: every symbol's daily row of one session, and what its silence says.

It costs 100 calls, so it is read once for an exchange and day, also by several runs at once, and what it says of each
symbol is remembered. One ticker's history is in ``daily_history``.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import numpy as np

from backfill_assets.backfill.findings import NEARLY_ALL_SHARE, record_endpoint_warning
from backfill_assets.backfill.optional_endpoints import DAILY_FILE
from backfill_assets.market.arrays import Bools
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.daily_prices import build_daily_prices
from backfill_assets.market.exchanges.labels import format_exchange_day
from backfill_assets.market.exchanges.learned import DailyFigure
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.vendor import BulkDailyRows, VendorClient
from backfill_assets.market.vendor_errors import BrokenAnswer, TokenRefused, VendorError
from backfill_assets.store.evidence.daily_data import (
    claim_bulk_file,
    count_traded_symbols,
    find_symbols_with_day,
    is_bulk_file_read_since,
    read_bulk_file_size,
    read_searched_symbols,
    record_bulk_file,
    record_closure,
    record_unreadable_bulk_file,
    release_bulk_file,
)
from backfill_assets.store.evidence.daily_prices import NOT_IN_MARKET_FILE, record_daily_rows, record_days_without_row
from backfill_assets.store.evidence.findings import CALENDAR_DRIFT, Finding, record_finding
from backfill_assets.store.learning import may_judge_daily_data
from backfill_assets.store.listing_bounds import ListingBounds, read_listing_bounds
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.symbols import list_symbols

MIN_TICKERS_FOR_CLOSURE = 20
MAX_NOT_IN_FILE = 100  # if more symbols are missing from a bulk file, the file is considered incomplete
MAX_FILES_FOR_SKIPPED_DAYS = 5  # in one run; further days wait for the next lookup
_MAX_EMPTY_FILE_AGE = timedelta(hours=20)  # a file that the vendor did not have is not requested again before
_EMPTY_FILE_COUNTS_AFTER = timedelta(hours=24)  # from the close; before, the vendor may not have published it
_MAX_CLAIM_AGE = timedelta(minutes=5)  # a process that reads a file for longer is taken to be gone
_SECONDS_BETWEEN_CLAIMS = 1.0
_log = logging.getLogger(__name__)


async def fetch_market_file(
    client: VendorClient, database: Database, coverage: Coverage, session: int, *, max_age: timedelta
) -> bool:
    """Read the market's daily file of one session of the coverage, unless it was read within ``max_age``.

    Returns:
        Whether it was requested.

    Raises:
        TokenRefused: other errors are logged.
    """
    day, exchange = coverage.grid.sessions[session].day, coverage.grid.sessions[session].exchange
    if not await _claim_file(database, exchange, day, coverage.now - max_age):
        return False
    try:
        bulk_rows = await client.fetch_bulk_daily(exchange, day)
    except BaseException as error:
        with database.transaction() as connection:
            if isinstance(error, BrokenAnswer):  # it is billed, too
                record_unreadable_bulk_file(connection, exchange, day, coverage.now)
            else:
                release_bulk_file(connection, exchange, day)
        if isinstance(error, TokenRefused) or not isinstance(error, VendorError):
            raise
        # a plan without the file gets 402, as does an exhausted quota (docs/vendor.md §5.5)
        _log.warning("the market's daily file of %s cannot be read: %s", day, error)
        return True
    if bulk_rows.unparsable_rows:
        _log.warning(
            "%d rows of the daily file of %s cannot be read: no code, date or numbers", bulk_rows.unparsable_rows, day
        )
    record_endpoint_warning(database, DAILY_FILE, bulk_rows.warning, coverage.now)
    with database.transaction() as connection:
        _record_file(connection, coverage, session, bulk_rows)
    return True


async def _claim_file(database: Database, exchange: str, day: date, since: datetime) -> bool:
    """Claim the file, or wait for the process that reads it; False if it was read after ``since``."""
    while True:
        with database.transaction() as connection:
            if is_bulk_file_read_since(connection, exchange, day, since):
                return False
            if claim_bulk_file(connection, exchange, day, _MAX_CLAIM_AGE):
                return True
        await asyncio.sleep(_SECONDS_BETWEEN_CLAIMS)


def _find_unreadable(bulk_rows: BulkDailyRows, today: date) -> frozenset[str]:
    """Codes of rows that say nothing about any day: unreadable ones, and those of a day that is still to come."""
    of_future = bulk_rows.code[bulk_rows.date > np.datetime64(today)]
    return bulk_rows.unreadable_codes | frozenset(of_future.tolist())


def _find_rows_of_day(bulk_rows: BulkDailyRows, day: date) -> Mapping[str, int]:
    """The position of each code's row; rows of another day say nothing about this one."""
    codes_and_days = zip(bulk_rows.code, bulk_rows.date.astype(object), strict=True)
    return {code: position for position, (code, row_day) in enumerate(codes_and_days) if row_day == day}


def find_not_in_market_file(database: Database, coverage: Coverage, session: int) -> Bools:
    """Symbols missing from a non-empty bulk file; none if more than ``MAX_NOT_IN_FILE`` are missing."""
    day, exchange = coverage.grid.sessions[session].day, coverage.grid.sessions[session].exchange
    with database.transaction() as connection:
        if not read_bulk_file_size(connection, exchange, day):
            return np.zeros(len(coverage.symbols), bool)
        listed_ids = find_symbols_with_day(connection, [s.symbol_id for s in coverage.symbols], day)
    not_in_file: Bools = np.array([s.symbol_id not in listed_ids for s in coverage.symbols], bool)
    return not_in_file if not_in_file.sum() <= MAX_NOT_IN_FILE else np.zeros_like(not_in_file)


async def explain_skipped_days(
    client: VendorClient, database: Database, coverage: Coverage, skipped_days: Sequence[tuple[int, int]]
) -> None:
    """Look up days that symbols' own daily histories lack; the silence of a complete file says that nothing traded.

    The histories have later rows, so a file without any row is not late: the market was closed, as far as no symbol of
    the store has bars of that day.

    Args:
        client: the vendor's client.
        database: the store.
        coverage: the state of the slots.
        skipped_days: row of the symbol and session of the coverage, each.

    Raises:
        TokenRefused: other errors are logged, and the days stay missing.
    """
    files_read = 0
    for session in sorted({session for _, session in skipped_days}, reverse=True):  # newest first
        symbol_ids = {coverage.symbols[row].symbol_id for row, skipped in skipped_days if skipped == session}
        if not symbol_ids <= _find_searched(database, coverage, session) and files_read < MAX_FILES_FOR_SKIPPED_DAYS:
            files_read += await fetch_market_file(client, database, coverage, session, max_age=_MAX_EMPTY_FILE_AGE)
        searched_ids = _find_searched(database, coverage, session)
        if silent_ids := symbol_ids & searched_ids:
            _record_silence(database, coverage.grid.sessions[session].day, silent_ids, searched_ids)


def _find_searched(database: Database, coverage: Coverage, session: int) -> set[int]:
    """The symbols that were looked for in the file of a session."""
    asked = coverage.grid.sessions[session]
    with database.transaction() as connection:
        counts_since = asked.regular_close + _EMPTY_FILE_COUNTS_AFTER
        return read_searched_symbols(connection, asked.exchange, asked.day, counts_since)


def _record_silence(database: Database, day: date, symbol_ids: set[int], searched_ids: set[int]) -> None:
    """Record that nothing traded, unless the file lacks symbols that traded on that day."""
    with database.transaction() as connection:
        traded, in_file = count_traded_symbols(connection, searched_ids, day)
        if in_file < NEARLY_ALL_SHARE * traded:
            _log.warning(
                "the market's daily file of %s lacks %d of %d symbols with bars", day, traded - in_file, traded
            )
            return
        days = [(symbol_id, day) for symbol_id in sorted(symbol_ids)]
        record_days_without_row(connection, days, NOT_IN_MARKET_FILE)


def _record_file(connection: Connection, coverage: Coverage, session: int, bulk_rows: BulkDailyRows) -> None:
    """Store what a file says of every symbol of the exchange, not only of those that the run is about.

    A symbol whose row cannot be read is not silent. Nobody is where a row's symbol cannot be read, or where all rows
    are of other days.
    """
    asked = coverage.grid.sessions[session]
    day, market = asked.day, asked.market
    symbols = list_symbols(connection, market.exchange, only_active=False)
    codes = list_codes(symbols, read_listing_bounds(connection, [(s.symbol_id, s.ticker) for s in symbols]), day)
    position_by_code = _find_rows_of_day(bulk_rows, day)
    unreadable = _find_unreadable(bulk_rows, coverage.now.astimezone(market.zone).date())
    is_silence_known = not bulk_rows.unnamed_rows and bool(position_by_code or not len(bulk_rows))
    searched = [key for key, names in codes.items() if is_silence_known and unreadable.isdisjoint(names)]
    record_bulk_file(connection, market.exchange, day, len(position_by_code), searched, coverage.now)
    if position_by_code:
        found = {key: [position_by_code[name] for name in names if name in position_by_code]
                 for key, names in codes.items()}  # fmt: skip
        listed = {key: positions[0] for key, positions in found.items() if positions}
        rows = build_daily_prices(list(listed), bulk_rows, list(listed.values()))
        record_daily_rows(connection, rows, coverage.now)
    elif is_silence_known and _is_nearly_all_absent(coverage, session):
        _record_closure(connection, coverage, session)


def _record_closure(connection: Connection, coverage: Coverage, session: int) -> None:
    """Record that the market was closed; only logged where the daily data may not judge yet."""
    asked, reason = coverage.grid.sessions[session], "nearly all symbols have no rows and the vendor has no daily file"
    if not may_judge_daily_data(connection, asked.market, DailyFigure.TRADING):
        _log.warning(
            "%s may have been closed on %s: %s; add the day to its closures (docs/markets.md) if it was",
            asked.exchange, asked.day, reason,
        )  # fmt: skip
    elif record_closure(connection, asked.exchange, asked.day, reason, coverage.now):
        subject = format_exchange_day(asked.exchange, asked.day)
        record_finding(connection, Finding(CALENDAR_DRIFT, subject, reason, coverage.now))


def list_codes(symbols: Sequence[Symbol], bounds: Mapping[int, ListingBounds], day: date) -> dict[int, tuple[str, ...]]:
    """Under which codes a file may have each symbol on a day, the likeliest first; without those not listed then.

    The vendor gives the history of a renamed ticker under the new code, whose row of that day is the old ticker's.
    """
    return {
        symbol.symbol_id: (symbol.ticker.symbol,)
        if (bound := bounds.get(symbol.symbol_id)) is None
        else tuple(dict.fromkeys((symbol.ticker.symbol, *(t.symbol for t in bound.list_tickers(symbol.ticker)))))
        for symbol in symbols
        if symbol.symbol_id not in bounds or bounds[symbol.symbol_id].holds(day)
    }


def _is_nearly_all_absent(coverage: Coverage, session: int) -> bool:
    in_session = coverage.request_history.session == session
    empty_count = int((in_session & (coverage.request_history.data_until == 0)).sum())
    return len(coverage.symbols) >= MIN_TICKERS_FOR_CLOSURE and empty_count >= NEARLY_ALL_SHARE * len(coverage.symbols)
