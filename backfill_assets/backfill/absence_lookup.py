"""Asking the daily data why whole sessions are absent: not traded, not listed (any more), not published, or no session.

One ticker's whole history costs 1 call, the market's file of one day 100: whichever is cheaper is asked,
and nobody twice within a day. What is learned goes to the store; ``market.gaps.slot_states`` judges by it.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta

import numpy as np

from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.eodhd.eod import EodRows
from backfill_assets.eodhd.errors import QuotaExhausted, TokenRefused, UnknownTicker, VendorError
from backfill_assets.market.arrays import Bools
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.store.evidence.daily_data import (
    Finding,
    ListingLife,
    find_lives_read_since,
    find_symbols_with_day,
    is_bulk_file_read_since,
    read_bulk_file_size,
    record_bulk_file,
    record_closure,
    record_daily_rows,
    record_finding,
    record_listing_lives,
)
from backfill_assets.store.postgres.connection import Database

BULK_FILE_CALLS = 100
MIN_LOOKUP_INTERVAL = timedelta(hours=20)
DELISTED_AFTER_SESSIONS = 3  # without a row in the daily data
NEARLY_ALL_SHARE = 0.9
MIN_TICKERS_FOR_CLOSURE = 20
MIN_TICKERS_FOR_DRIFT = 10
_log = logging.getLogger(__name__)


async def explain_absence(client: EodhdClient, database: Database, coverage: Coverage, *, bulk: bool) -> None:
    """Look up why whole overdue sessions are absent, where that is not known.

    Raises:
        TokenRefused, QuotaExhausted: as any request; other refusals are logged and leave absence unexplained.
    """
    unexplained = _find_absent_sessions(coverage)
    if bulk:
        for session in np.flatnonzero(unexplained.sum(axis=0) > BULK_FILE_CALLS).tolist():
            await fetch_bulk_file(client, database, coverage, session)
            unexplained[:, session] &= _find_not_in_bulk_file(database, coverage, session)
    rows = np.flatnonzero(unexplained.any(axis=1)).tolist()
    with database.transaction() as connection:
        symbol_ids = [coverage.symbols[row].symbol_id for row in rows]
        recently_read = find_lives_read_since(connection, symbol_ids, coverage.now - MIN_LOOKUP_INTERVAL)
    for row in rows:
        if coverage.symbols[row].symbol_id not in recently_read:
            await _fetch_listing_history(client, database, coverage, coverage.symbols[row])


def record_calendar_drift(
    database: Database, off_calendar_days: Mapping[date, int], ticker_count: int, now: datetime
) -> None:
    """Tell of days on which nearly all ``tickers`` traded while the calendar has no session."""
    drift_days = [
        day
        for day, count in off_calendar_days.items()
        if ticker_count >= MIN_TICKERS_FOR_DRIFT and count >= NEARLY_ALL_SHARE * ticker_count
    ]
    if not drift_days:
        return
    detail = "the vendor has trading outside the calendar's session; see BACKFILL_CALENDAR_FILE"
    with database.transaction() as connection:
        for day in drift_days:
            record_finding(connection, Finding("calendar drift", str(day), detail, now))


def _find_absent_sessions(coverage: Coverage) -> Bools:
    """Tickers × sessions that are missing as a whole, were asked for, and are unexplained."""
    shape = (len(coverage.symbols), len(coverage.grid.sessions))
    missing_counts = coverage.count_by_session(coverage.has_state(SlotState.MISSING))
    without_data = np.zeros(shape, bool)
    is_empty = coverage.request_history.data_until == 0
    without_data[coverage.request_history.row[is_empty], coverage.request_history.session[is_empty]] = True
    fully_missing: Bools = missing_counts == coverage.grid.session_sizes
    return fully_missing & without_data & (coverage.absence_evidence.traded < 0)


async def _fetch_listing_history(client: EodhdClient, database: Database, coverage: Coverage, symbol: Symbol) -> None:
    try:
        rows = await client.fetch_daily(str(symbol.ticker))
    except (TokenRefused, QuotaExhausted):
        raise
    except UnknownTicker:
        rows = None
    except VendorError as error:
        _log.warning("absence stays unexplained: %s", error)
        return
    listing_life = _build_listing_life(symbol, rows, coverage)
    finding = (
        await _find_rename(client, symbol, listing_life, coverage) if rows is None or listing_life.has_ended else None
    )
    with database.transaction() as connection:
        record_listing_lives(connection, [listing_life], coverage.now)
        record_daily_rows(connection, list(_build_daily_rows(symbol, rows, coverage)))
        if finding:
            record_finding(connection, finding)


def _build_listing_life(symbol: Symbol, rows: EodRows | None, coverage: Coverage) -> ListingLife:
    if rows is None or not len(rows):
        return ListingLife(symbol.symbol_id, None, None, has_ended=False)
    first, last = rows.date.min().astype(object), rows.date.max().astype(object)
    overdue_days = [
        s.day
        for s, overdue_at in zip(coverage.grid.sessions, coverage.overdue_at, strict=True)
        if overdue_at <= coverage.now
    ]
    days_after_last = sum(day > last for day in overdue_days)
    is_last_old = coverage.now.date() - last > timedelta(days=2 * DELISTED_AFTER_SESSIONS)
    return ListingLife(
        symbol.symbol_id,
        first,
        last,
        has_ended=days_after_last >= DELISTED_AFTER_SESSIONS or (days_after_last > 0 and is_last_old),
    )


def _build_daily_rows(
    symbol: Symbol, rows: EodRows | None, coverage: Coverage
) -> Iterable[tuple[int, date, float | None, int]]:
    """The window's sessions as the history shows them; a session that it leaves out did not trade."""
    if rows is None or not len(rows):
        return
    rows_by_day = dict(zip(rows.date.astype(object).tolist(), zip(rows.close, rows.volume, strict=True), strict=True))
    first, last = min(rows_by_day), max(rows_by_day)
    for session in coverage.grid.sessions:
        if first <= session.day <= last:
            close, volume = rows_by_day.get(session.day, (np.nan, 0.0))
            traded_volume = 0 if np.isnan(volume) else int(volume)
            yield symbol.symbol_id, session.day, None if np.isnan(close) else float(close), traded_volume


async def _find_rename(
    client: EodhdClient, symbol: Symbol, listing_life: ListingLife, coverage: Coverage
) -> Finding | None:
    """Whether the vendor knows a new name of a ticker that ended or is unknown (5 calls)."""
    since = listing_life.last_day or coverage.grid.sessions[0].day - timedelta(days=30)
    detail = f"no daily data after {listing_life.last_day}" if listing_life.last_day else "the vendor does not know it"
    try:
        changes = await client.fetch_symbol_changes(since - timedelta(days=7), coverage.now.date())
    except (TokenRefused, QuotaExhausted):
        raise
    except VendorError as error:
        _log.warning("a new name could not be looked up: %s", error)
        changes = []
    renames = [c for c in changes if c.old_symbol == symbol.ticker.symbol]
    if renames:
        detail += f"; renamed to {renames[-1].new_symbol} on {renames[-1].effective_date}"
    return Finding("ended or renamed", str(symbol.ticker), detail, coverage.now)


def _find_not_in_bulk_file(database: Database, coverage: Coverage, session: int) -> Bools:
    """Tickers that a market's file with tickers does not have; nobody if that would be many."""
    day = coverage.grid.sessions[session].day
    with database.transaction() as connection:
        if not read_bulk_file_size(connection, day):
            return np.zeros(len(coverage.symbols), bool)
        listed_ids = find_symbols_with_day(connection, [s.symbol_id for s in coverage.symbols], day)
    not_in_file: Bools = np.array([s.symbol_id not in listed_ids for s in coverage.symbols], bool)
    return not_in_file if not_in_file.sum() <= BULK_FILE_CALLS else np.zeros_like(not_in_file)


async def fetch_bulk_file(client: EodhdClient, database: Database, coverage: Coverage, session: int) -> None:
    """Read the market's daily file of one session of the coverage (100 calls), unless that was done lately.

    Raises:
        TokenRefused: the token; other refusals are logged.
    """
    day = coverage.grid.sessions[session].day
    with database.transaction() as connection:
        if is_bulk_file_read_since(connection, day, coverage.now - MIN_LOOKUP_INTERVAL):
            return
    try:
        bulk_rows = await client.fetch_bulk_daily(coverage.grid.sessions[session].exchange, day)
    except TokenRefused:
        raise
    except VendorError as error:  # a plan without the file says 402, like an empty quota
        _log.warning("the market's daily file of %s cannot be read: %s", day, error)
        return
    rows_by_code = dict(zip(bulk_rows.code.tolist(), zip(bulk_rows.close, bulk_rows.volume, strict=True), strict=True))
    with database.transaction() as connection:
        record_bulk_file(connection, day, len(rows_by_code), coverage.now)
        if rows_by_code:
            record_daily_rows(connection, list(_build_bulk_rows(coverage, day, rows_by_code)))
        elif _is_nearly_all_absent(coverage, session):
            reason = "nearly all tickers are empty and the vendor has no daily file"
            record_closure(connection, day, reason, coverage.now)
            record_finding(connection, Finding("calendar drift", str(day), reason, coverage.now))


def _build_bulk_rows(
    coverage: Coverage, day: date, rows_by_code: dict[str, tuple[float, float]]
) -> Iterable[tuple[int, date, float | None, int]]:
    for symbol in coverage.symbols:
        if (bulk_row := rows_by_code.get(symbol.ticker.symbol)) is not None:
            close, volume = bulk_row
            traded_volume = 0 if np.isnan(volume) else int(volume)
            yield symbol.symbol_id, day, None if np.isnan(close) else float(close), traded_volume


def _is_nearly_all_absent(coverage: Coverage, session: int) -> bool:
    in_session = coverage.request_history.session == session
    empty_count = int((in_session & (coverage.request_history.data_until == 0)).sum())
    return len(coverage.symbols) >= MIN_TICKERS_FOR_CLOSURE and empty_count >= NEARLY_ALL_SHARE * len(coverage.symbols)
