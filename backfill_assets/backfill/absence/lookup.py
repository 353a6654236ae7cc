"""Looks up in the daily data why whole sessions are absent: no trades, not listed, not published, or no session.

One ticker's daily history (``daily_history``) and the market's daily file of one session (``market_file``) have
different prices; the cheaper one is read, and none twice within 20 hours. What is learned goes to the store;
``market.gaps.slot_states`` uses it. Where daily data say nothing about absence, only symbols are looked up of which the
vendor never had a row: their daily data tell whether it knows them at all.
"""

from datetime import datetime, timedelta

import numpy as np

from backfill_assets.backfill.absence.daily_history import fetch_listing_history
from backfill_assets.backfill.absence.ended_history import fetch_ended_history
from backfill_assets.backfill.absence.market_file import (
    explain_skipped_days,
    fetch_market_file,
    find_not_in_market_file,
)
from backfill_assets.backfill.findings import record_vendor_warnings
from backfill_assets.backfill.identity.symbol_changes import create_change_list
from backfill_assets.backfill.plan_limits import PlanAnswers
from backfill_assets.market.arrays import Bools
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.evidence import DayTrading
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.vendor import VendorClient
from backfill_assets.store.evidence.daily_data import find_lives_read_since
from backfill_assets.store.listing_bounds import read_ended_bounds
from backfill_assets.store.postgres.connection import Database

MIN_LOOKUP_INTERVAL = timedelta(hours=20)
DAILY_HISTORY = "/eod"


async def explain_absence(
    client: VendorClient,
    database: Database,
    coverage: Coverage,
    *,
    bulk: bool,
    answers: PlanAnswers | None = None,
) -> None:
    """Look up why whole sessions are absent, where that is not known yet.

    Args:
        client: the vendor's client.
        database: the store.
        coverage: the state of the slots, measured after the run's requests.
        bulk: whether the token's plan includes the bulk file.
        answers: the daily histories that the run read before, if any; those read now are added.

    Raises:
        TokenRefused, QuotaExhausted: as for any request. Other errors are logged, and the absence stays unexplained.
    """
    answers = PlanAnswers() if answers is None else answers
    unexplained = _find_absent_sessions(coverage)
    if coverage.symbols and not coverage.grid.sessions[0].market.daily_volume_tells:
        unexplained[_find_served(coverage)] = False
    if bulk:
        # reading the histories one by one would cost more than the bulk file
        is_bulk_cheaper = client.prices.daily * unexplained.sum(axis=0) > client.prices.bulk_daily
        for session in np.flatnonzero(is_bulk_cheaper).tolist():
            await fetch_market_file(client, database, coverage, session, max_age=MIN_LOOKUP_INTERVAL)
            unexplained[:, session] &= find_not_in_market_file(database, coverage, session)
    recently_read = _find_recently_read(database, coverage, unexplained)
    with database.transaction() as connection:
        ended = read_ended_bounds(connection, coverage.symbols)
    changes = create_change_list(coverage.grid.sessions[0].market, client, database, coverage.now)
    skipped_days: list[tuple[int, int]] = []
    try:
        for row in np.flatnonzero(unexplained.any(axis=1)).tolist():
            symbol, absent_sessions = coverage.symbols[row], frozenset(np.flatnonzero(unexplained[row]).tolist())
            if symbol.symbol_id in recently_read:
                continue
            if bound := ended.get(symbol.symbol_id):
                await fetch_ended_history(client, database, coverage, symbol, bound)
            else:
                skipped = await fetch_listing_history(
                    client, changes, database, coverage, symbol, absent_sessions, answers
                )
                skipped_days += [(row, session) for session in skipped]
    finally:  # what was read counts, also if the day's calls are used up
        if answers.reaches:
            record_vendor_warnings(database, answers.warnings, coverage.now, answers.reaches, DAILY_HISTORY)
    if bulk:
        await explain_skipped_days(client, database, coverage, skipped_days)


def _find_absent_sessions(coverage: Coverage) -> Bools:
    """Symbols × sessions that are missing as a whole, were requested, and are unexplained.

    The vendor may have returned rows without a price: they make no bar, and may stand for a day without a trade.
    """
    missing_counts = coverage.count_by_session(coverage.has_state(SlotState.MISSING))
    was_requested = np.zeros(missing_counts.shape, bool)
    was_requested[coverage.request_history.row, coverage.request_history.session] = True
    is_unknown = coverage.absence_evidence.traded == DayTrading.UNKNOWN
    absent: Bools = (missing_counts == coverage.grid.session_sizes) & was_requested & is_unknown
    return absent


def _find_served(coverage: Coverage) -> Bools:
    """The symbols of which the vendor had intraday rows, shape (symbols,)."""
    history = coverage.request_history
    is_served = coverage.absence_evidence.published_sessions > 0
    is_served[history.row[history.data_until > 0]] = True
    return is_served


def _find_recently_read(database: Database, coverage: Coverage, unexplained: Bools) -> set[int]:
    """The symbols whose history was read within 20 hours.

    A session with rows but no bar is looked up on its evening, when the vendor may not have its daily row yet. Then the
    history is read once more when the session is overdue.
    """
    history, earliest = coverage.request_history, coverage.now - MIN_LOOKUP_INTERVAL
    has_rows = np.zeros(unexplained.shape, bool)
    has_rows[history.row, history.session] = history.data_until > 0
    since: dict[int, datetime] = {}
    for row in np.flatnonzero(unexplained.any(axis=1)).tolist():
        overdue_at = [coverage.overdue_at[session] for session in np.flatnonzero(unexplained[row] & has_rows[row])]
        passed = [moment for moment in overdue_at if moment <= coverage.now]
        since[coverage.symbols[row].symbol_id] = max([earliest, *passed])
    with database.transaction() as connection:
        return find_lives_read_since(connection, since)
