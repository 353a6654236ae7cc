"""Asking the daily data why whole sessions are absent: not traded, not listed (any more), not published, or no session.

One ticker's whole history costs 1 call, the market's file of one day 100: whichever is cheaper is asked,
and nobody twice within a day. What is learned goes to the store; ``market.gaps.slot_states`` judges by it.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.eodhd.eod import EodRows
from backfill_assets.eodhd.errors import QuotaExhausted, TokenRefused, UnknownTicker, VendorError
from backfill_assets.market.gaps.slot_states import State
from backfill_assets.store.coverage import Coverage
from backfill_assets.store.evidence.daily_data import (
    Finding,
    Life,
    bulk_file_read_since,
    bulk_file_size,
    lives_read_since,
    record_bulk_file,
    record_closure,
    record_days,
    record_finding,
    record_lives,
    tickers_with_a_day,
)
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.symbols import Symbol

Bools = NDArray[np.bool_]
BULK_CALLS = 100
NOT_AGAIN_WITHIN = timedelta(hours=20)
ENDED_AFTER_SESSIONS = 3  # without a row in the daily data
NEARLY_ALL = 0.9
FEWEST_FOR_A_CLOSURE = 20
FEWEST_FOR_DRIFT = 10
_log = logging.getLogger(__name__)


async def explain_absence(client: EodhdClient, database: Database, coverage: Coverage, *, bulk: bool) -> None:
    """Look up why whole overdue sessions are absent, where that is not known.

    Raises:
        TokenRefused, QuotaExhausted: as any request; other refusals are logged and leave absence unexplained.
    """
    whole = _absent_sessions(coverage)
    if bulk:
        for session in np.flatnonzero(whole.sum(axis=0) > BULK_CALLS).tolist():
            await ask_the_market(client, database, coverage, session)
            whole[:, session] &= _left_out_by_the_market(database, coverage, session)
    rows = np.flatnonzero(whole.any(axis=1)).tolist()
    with database.transaction() as connection:
        ids = [coverage.symbols[row].symbol_id for row in rows]
        known = lives_read_since(connection, ids, coverage.now - NOT_AGAIN_WITHIN)
    for row in rows:
        if coverage.symbols[row].symbol_id not in known:
            await _ask_the_history(client, database, coverage, coverage.symbols[row])


def notice_drift(database: Database, outside: Mapping[date, int], tickers: int, now: datetime) -> None:
    """Tell of days on which nearly all ``tickers`` traded while the calendar has no session."""
    drifted = [day for day, count in outside.items() if tickers >= FEWEST_FOR_DRIFT and count >= NEARLY_ALL * tickers]
    if not drifted:
        return
    detail = "the vendor has trading outside the calendar's session; see BACKFILL_CALENDAR_FILE"
    with database.transaction() as connection:
        for day in drifted:
            record_finding(connection, Finding("calendar drift", str(day), detail, now))


def _absent_sessions(coverage: Coverage) -> Bools:
    """Tickers × sessions that are missing as a whole, were asked for, and are unexplained."""
    shape = (len(coverage.symbols), len(coverage.grid.sessions))
    missing = np.zeros(shape, np.int64)
    lost = coverage.classified.state == State.MISSING
    np.add.at(missing, (coverage.slots.row[lost], coverage.grid.session_of[coverage.slots.ordinal[lost]]), 1)
    silent = np.zeros(shape, bool)
    nothing = coverage.asked.reached == 0
    silent[coverage.asked.row[nothing], coverage.asked.session[nothing]] = True
    whole: Bools = missing == np.diff(coverage.grid.first_of)
    return whole & silent & (coverage.facts.traded < 0)


async def _ask_the_history(client: EodhdClient, database: Database, coverage: Coverage, symbol: Symbol) -> None:
    try:
        rows = await client.eod(str(symbol.ticker))
    except (TokenRefused, QuotaExhausted):
        raise
    except UnknownTicker:
        rows = None
    except VendorError as error:
        _log.warning("absence stays unexplained: %s", error)
        return
    life = _life(symbol, rows, coverage)
    change = await _renamed(client, symbol, life, coverage) if rows is None or life.ended else None
    with database.transaction() as connection:
        record_lives(connection, [life], coverage.now)
        record_days(connection, list(_days(symbol, rows, coverage)))
        if change:
            record_finding(connection, change)


def _life(symbol: Symbol, rows: EodRows | None, coverage: Coverage) -> Life:
    if rows is None or not len(rows):
        return Life(symbol.symbol_id, None, None, ended=False)
    first, last = rows.date.min().astype(object), rows.date.max().astype(object)
    overdue = [s.day for s, at in zip(coverage.grid.sessions, coverage.overdue_at, strict=True) if at <= coverage.now]
    later = sum(day > last for day in overdue)
    long_ago = coverage.now.date() - last > timedelta(days=2 * ENDED_AFTER_SESSIONS)
    return Life(symbol.symbol_id, first, last, ended=later >= ENDED_AFTER_SESSIONS or (later > 0 and long_ago))


def _days(symbol: Symbol, rows: EodRows | None, coverage: Coverage) -> Iterable[tuple[int, date, float | None, int]]:
    """The window's sessions as the history shows them; a session that it leaves out did not trade."""
    if rows is None or not len(rows):
        return
    found = dict(zip(rows.date.astype(object).tolist(), zip(rows.close, rows.volume, strict=True), strict=True))
    first, last = min(found), max(found)
    for session in coverage.grid.sessions:
        if first <= session.day <= last:
            close, volume = found.get(session.day, (np.nan, 0.0))
            traded = 0 if np.isnan(volume) else int(volume)
            yield symbol.symbol_id, session.day, None if np.isnan(close) else float(close), traded


async def _renamed(client: EodhdClient, symbol: Symbol, life: Life, coverage: Coverage) -> Finding | None:
    """Whether the vendor knows a new name of a ticker that ended or is unknown (5 calls)."""
    since = life.last_day or coverage.grid.sessions[0].day - timedelta(days=30)
    told = f"no daily data after {life.last_day}" if life.last_day else "the vendor does not know it"
    try:
        changes = await client.symbol_changes(since - timedelta(days=7), coverage.now.date())
    except (TokenRefused, QuotaExhausted):
        raise
    except VendorError as error:
        _log.warning("a new name could not be looked up: %s", error)
        changes = []
    new = [c for c in changes if c.old_symbol == symbol.ticker.symbol]
    if new:
        told += f"; renamed to {new[-1].new_symbol} on {new[-1].effective}"
    return Finding("ended or renamed", str(symbol.ticker), told, coverage.now)


def _left_out_by_the_market(database: Database, coverage: Coverage, session: int) -> Bools:
    """Tickers that a market's file with tickers does not have; nobody if that would be many."""
    day = coverage.grid.sessions[session].day
    with database.transaction() as connection:
        if not bulk_file_size(connection, day):
            return np.zeros(len(coverage.symbols), bool)
        listed = tickers_with_a_day(connection, [s.symbol_id for s in coverage.symbols], day)
    left_out: Bools = np.array([s.symbol_id not in listed for s in coverage.symbols], bool)
    return left_out if left_out.sum() <= BULK_CALLS else np.zeros_like(left_out)


async def ask_the_market(client: EodhdClient, database: Database, coverage: Coverage, session: int) -> None:
    """Read the market's daily file of one session of the coverage (100 calls), unless that was done lately.

    Raises:
        TokenRefused: the token; other refusals are logged.
    """
    day = coverage.grid.sessions[session].day
    with database.transaction() as connection:
        if bulk_file_read_since(connection, day, coverage.now - NOT_AGAIN_WITHIN):
            return
    try:
        file = await client.bulk_eod(coverage.grid.sessions[session].exchange, day)
    except TokenRefused:
        raise
    except VendorError as error:  # a plan without the file says 402, like an empty quota
        _log.warning("the market's daily file of %s cannot be read: %s", day, error)
        return
    volumes = dict(zip(file.code.tolist(), zip(file.close, file.volume, strict=True), strict=True))
    with database.transaction() as connection:
        record_bulk_file(connection, day, len(volumes), coverage.now)
        if volumes:
            record_days(connection, list(_listed(coverage, day, volumes)))
        elif _nearly_all_absent(coverage, session):
            reason = "nearly all tickers are empty and the vendor has no daily file"
            record_closure(connection, day, reason, coverage.now)
            record_finding(connection, Finding("calendar drift", str(day), reason, coverage.now))


def _listed(
    coverage: Coverage, day: date, volumes: dict[str, tuple[float, float]]
) -> Iterable[tuple[int, date, float | None, int]]:
    for symbol in coverage.symbols:
        if (row := volumes.get(symbol.ticker.symbol)) is not None:
            close, volume = row
            traded = 0 if np.isnan(volume) else int(volume)
            yield symbol.symbol_id, day, None if np.isnan(close) else float(close), traded


def _nearly_all_absent(coverage: Coverage, session: int) -> bool:
    at = coverage.asked.session == session
    nothing = int((at & (coverage.asked.reached == 0)).sum())
    return len(coverage.symbols) >= FEWEST_FOR_A_CLOSURE and nothing >= NEARLY_ALL * len(coverage.symbols)
