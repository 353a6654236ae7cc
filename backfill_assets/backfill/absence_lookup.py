"""Looks up in the daily data why whole sessions are absent: no trades, not listed, not published, or no session.

One ticker's daily history and the market's daily file of one session (the bulk file) have different prices; the cheaper
one is read, and none twice within 20 hours. What is learned goes to the store; ``market.gaps.slot_states`` uses it.
"""

import asyncio
import logging
from collections.abc import Iterable
from datetime import date, timedelta

import numpy as np

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.findings import NEARLY_ALL_SHARE, record_vendor_warnings
from backfill_assets.backfill.listing_ends import SymbolChangeList, judge_listing
from backfill_assets.backfill.plan_limits import WHOLE_HISTORY_DAYS, PlanReach
from backfill_assets.market.arrays import Bools
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import DailyRows, VendorClient
from backfill_assets.market.vendor_errors import QuotaExhausted, TokenRefused, UnknownTicker, VendorError
from backfill_assets.store.evidence.daily_data import (
    ListingLife,
    find_lives_read_since,
    find_symbols_with_day,
    is_bulk_file_read_since,
    read_bulk_file_size,
    record_bulk_file,
    record_closure,
    record_daily_rows,
    record_listing_lives,
)
from backfill_assets.store.evidence.findings import (
    CALENDAR_DRIFT,
    ENDED_OR_RENAMED,
    Finding,
    record_finding,
    resolve_findings,
)
from backfill_assets.store.postgres.connection import Database

MIN_LOOKUP_INTERVAL = timedelta(hours=20)
DELISTED_AFTER_SESSIONS = 3  # without a row in the daily data
MIN_TICKERS_FOR_CLOSURE = 20
MAX_NOT_IN_FILE = 100  # if more symbols are missing from a bulk file, the file is considered incomplete
MAX_DAILY_VOLUME = 2.0**53  # more is no volume, and 0 means that nothing traded: a fraction of a share counts as one
_log = logging.getLogger(__name__)


async def explain_absence(client: VendorClient, database: Database, coverage: Coverage, *, bulk: bool) -> None:
    """Look up why whole overdue sessions are absent, where that is not known yet.

    Args:
        client: the vendor's client.
        database: the store.
        coverage: the state of the slots, measured after the run's requests.
        bulk: whether the token's plan includes the bulk file.

    Raises:
        TokenRefused, QuotaExhausted: as for any request. Other errors are logged, and the absence stays unexplained.
    """
    unexplained = _find_absent_sessions(coverage)
    if bulk:
        # reading the histories one by one would cost more than the bulk file
        is_bulk_cheaper = client.prices.daily * unexplained.sum(axis=0) > client.prices.bulk_daily
        for session in np.flatnonzero(is_bulk_cheaper).tolist():
            await _fetch_bulk_file(client, database, coverage, session)
            unexplained[:, session] &= _find_not_in_bulk_file(database, coverage, session)
    rows = np.flatnonzero(unexplained.any(axis=1)).tolist()
    with database.transaction() as connection:
        symbol_ids = [coverage.symbols[row].symbol_id for row in rows]
        recently_read = find_lives_read_since(connection, symbol_ids, coverage.now - MIN_LOOKUP_INTERVAL)
    changes = SymbolChangeList(client, coverage.now.date())
    for row in rows:
        if coverage.symbols[row].symbol_id not in recently_read:
            await _fetch_listing_history(client, changes, database, coverage, coverage.symbols[row])


def fetch_newest_bulk_file(engine: Engine, coverage: Coverage) -> bool:
    """Read the bulk file of the newest overdue session, so that closes can be compared with it.

    A session's file is read once. Errors are logged: comparing closes can wait a day.

    Returns:
        Whether the universe is large enough for the price of the file.
    """
    settings = engine.settings
    overdue_sessions = _list_overdue_sessions(coverage)
    is_worthwhile = (
        settings.bulk_daily and len(coverage.symbols) >= settings.daily_file_symbols and bool(overdue_sessions)
    )
    if is_worthwhile:
        try:
            asyncio.run(_fetch_session_file(engine, coverage, overdue_sessions[-1]))
        except VendorError as error:
            _log.warning("the market's daily file cannot be read: %s", error)
    return is_worthwhile


def _list_overdue_sessions(coverage: Coverage) -> list[int]:
    """The sessions of the coverage's grid whose absence counts as missing."""
    return [int(session) for session in np.flatnonzero(coverage.is_session_overdue)]


def _find_absent_sessions(coverage: Coverage) -> Bools:
    """Symbols × sessions that are missing as a whole, were requested, and are unexplained."""
    shape = (len(coverage.symbols), len(coverage.grid.sessions))
    missing_counts = coverage.count_by_session(coverage.has_state(SlotState.MISSING))
    without_data = np.zeros(shape, bool)
    is_empty = coverage.request_history.data_until == 0
    without_data[coverage.request_history.row[is_empty], coverage.request_history.session[is_empty]] = True
    fully_missing: Bools = missing_counts == coverage.grid.session_sizes
    return fully_missing & without_data & (coverage.absence_evidence.traded < 0)


async def _fetch_listing_history(
    client: VendorClient, changes: SymbolChangeList, database: Database, coverage: Coverage, symbol: Symbol
) -> None:
    """Read one symbol's daily history and record its evidence of listing and trading."""
    try:
        rows = await client.fetch_daily(str(symbol.ticker))
    except (TokenRefused, QuotaExhausted):
        raise
    except UnknownTicker:
        rows = None
    except VendorError as error:
        _log.warning("cannot look up why data is absent: %s", error)
        return
    if rows is not None:
        _report_dropped(database, symbol, rows, coverage)
    listing_end = await judge_listing(
        changes,
        symbol,
        _build_listing_life(symbol, rows, coverage),
        is_unknown=rows is None,
        absent_days=[coverage.grid.sessions[session].day for session in _list_overdue_sessions(coverage)],
        now=coverage.now,
    )
    with database.transaction() as connection:
        record_listing_lives(connection, [listing_end.life], coverage.now)
        record_daily_rows(connection, list(_build_daily_rows(symbol, rows, coverage)))
        if listing_end.finding:
            record_finding(connection, listing_end.finding)
        else:
            resolve_findings(connection, ENDED_OR_RENAMED, [str(symbol.ticker)], coverage.now)


def _report_dropped(database: Database, symbol: Symbol, rows: DailyRows, coverage: Coverage) -> None:
    """Report that the plan does not include all of a daily history."""
    if rows.warning:
        _log.warning("%s: the vendor's daily data are limited: %s", symbol.ticker, rows.warning)
        record_vendor_warnings(database, {rows.warning: frozenset([symbol.ticker])}, coverage.now)
    elif len(rows):
        whole_history = {symbol.ticker.exchange: PlanReach(full_days=WHOLE_HISTORY_DAYS)}
        record_vendor_warnings(database, {}, coverage.now, whole_history)


def _build_listing_life(symbol: Symbol, rows: DailyRows | None, coverage: Coverage) -> ListingLife:
    if rows is None or not len(rows):
        return ListingLife(symbol.symbol_id, None, None, has_ended=False)
    first, last = rows.date.min().astype(object), rows.date.max().astype(object)
    overdue_days = [coverage.grid.sessions[session].day for session in _list_overdue_sessions(coverage)]
    days_after_last = sum(day > last for day in overdue_days)
    is_last_old = coverage.now.date() - last > timedelta(days=2 * DELISTED_AFTER_SESSIONS)
    return ListingLife(
        symbol.symbol_id,
        first,
        last,
        has_ended=days_after_last >= DELISTED_AFTER_SESSIONS or (days_after_last > 0 and is_last_old),
    )


def _build_daily_rows(
    symbol: Symbol, rows: DailyRows | None, coverage: Coverage
) -> Iterable[tuple[int, date, float | None, int]]:
    """Yield the window's sessions as the history shows them; a session without a row had no trades."""
    if rows is None or not len(rows):
        return
    rows_by_day = dict(zip(rows.date.astype(object).tolist(), zip(rows.close, rows.volume, strict=True), strict=True))
    first, last = min(rows_by_day), max(rows_by_day)
    for session in coverage.grid.sessions:
        if first <= session.day <= last:
            yield _build_daily_row(symbol, session.day, *rows_by_day.get(session.day, (np.nan, 0.0)))


def _build_daily_row(symbol: Symbol, day: date, close: float, volume: float) -> tuple[int, date, float | None, int]:
    traded_volume = 0 if np.isnan(volume) else int(np.ceil(np.clip(volume, 0.0, MAX_DAILY_VOLUME)))
    return symbol.symbol_id, day, None if np.isnan(close) else float(close), traded_volume


def _find_not_in_bulk_file(database: Database, coverage: Coverage, session: int) -> Bools:
    """Symbols missing from a non-empty bulk file; none if more than ``MAX_NOT_IN_FILE`` are missing."""
    day = coverage.grid.sessions[session].day
    with database.transaction() as connection:
        if not read_bulk_file_size(connection, day):
            return np.zeros(len(coverage.symbols), bool)
        listed_ids = find_symbols_with_day(connection, [s.symbol_id for s in coverage.symbols], day)
    not_in_file: Bools = np.array([s.symbol_id not in listed_ids for s in coverage.symbols], bool)
    return not_in_file if not_in_file.sum() <= MAX_NOT_IN_FILE else np.zeros_like(not_in_file)


async def _fetch_session_file(engine: Engine, coverage: Coverage, session: int) -> None:
    async with engine.open_vendor_client(Purpose.DAILY) as (_, client):
        await _fetch_bulk_file(client, engine.database, coverage, session)


async def _fetch_bulk_file(client: VendorClient, database: Database, coverage: Coverage, session: int) -> None:
    """Read the market's daily file of one session of the coverage, unless it was read recently.

    Raises:
        TokenRefused: other errors are logged.
    """
    day = coverage.grid.sessions[session].day
    with database.transaction() as connection:
        if is_bulk_file_read_since(connection, day, coverage.now - MIN_LOOKUP_INTERVAL):
            return
    try:
        bulk_rows = await client.fetch_bulk_daily(coverage.grid.sessions[session].exchange, day)
    except TokenRefused:
        raise
    except VendorError as error:  # a plan without the file gets 402, as does an exhausted quota (docs/vendor.md §5.5)
        _log.warning("the market's daily file of %s cannot be read: %s", day, error)
        return
    if bulk_rows.unparsable_rows:
        _log.warning("%d rows of the daily file of %s were dropped: no code or date", bulk_rows.unparsable_rows, day)
    rows_by_code = dict(zip(bulk_rows.code.tolist(), zip(bulk_rows.close, bulk_rows.volume, strict=True), strict=True))
    with database.transaction() as connection:
        record_bulk_file(connection, day, len(rows_by_code), coverage.now)
        if rows_by_code:
            record_daily_rows(connection, list(_build_bulk_rows(coverage, day, rows_by_code)))
        elif _is_nearly_all_absent(coverage, session):
            reason = "nearly all symbols have no rows and the vendor has no daily file"
            record_closure(connection, day, reason, coverage.now)
            record_finding(connection, Finding(CALENDAR_DRIFT, str(day), reason, coverage.now))


def _build_bulk_rows(
    coverage: Coverage, day: date, rows_by_code: dict[str, tuple[float, float]]
) -> Iterable[tuple[int, date, float | None, int]]:
    for symbol in coverage.symbols:
        if (bulk_row := rows_by_code.get(symbol.ticker.symbol)) is not None:
            yield _build_daily_row(symbol, day, *bulk_row)


def _is_nearly_all_absent(coverage: Coverage, session: int) -> bool:
    in_session = coverage.request_history.session == session
    empty_count = int((in_session & (coverage.request_history.data_until == 0)).sum())
    return len(coverage.symbols) >= MIN_TICKERS_FOR_CLOSURE and empty_count >= NEARLY_ALL_SHARE * len(coverage.symbols)
