"""Reads since when tickers are listed before a run asks for more of their history than one request covers.

A daily history costs one call, a request of bars before the first listed day five. Tickers that one request serves are
not read: it costs the same from whichever day. Why sessions are absent is looked up after the requests (``lookup``).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from backfill_assets.backfill.absence.daily_history import fetch_listing_history
from backfill_assets.backfill.absence.lookup import DAILY_HISTORY
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.fetch.graceful_shutdown import run_with_graceful_shutdown
from backfill_assets.backfill.fetch.quota_sync import sync_quota
from backfill_assets.backfill.fetch.shared_rate_limiter import Usage
from backfill_assets.backfill.findings import record_vendor_warnings
from backfill_assets.backfill.identity.symbol_changes import create_change_list
from backfill_assets.backfill.listing_ends import SymbolChangeList
from backfill_assets.backfill.plan_limits import PlanAnswers
from backfill_assets.backfill.planner import Plan
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_errors import VendorError
from backfill_assets.store.evidence.daily_data import find_lives_read_since
from backfill_assets.store.listing_bounds import read_listing_bounds

IN_FLIGHT = 8  # daily histories at once: each is recorded in a transaction of its own
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_log = logging.getLogger(__name__)


def read_first_listings(engine: Engine, job: BackfillJob, coverage: Coverage, plan: Plan, usage: Usage) -> bool:
    """Read the daily histories of symbols that need several requests, where nobody knows since when they are listed.

    Errors are logged: whatever stops the requests of bars stops them by itself.

    Returns:
        Whether there was anything to read, so that the plan may be another one now.

    Raises:
        TokenRefused: no token is set.
    """
    symbols = _find_unread(engine, job, plan)
    if symbols and (error := read_daily_histories(engine, coverage, symbols, usage)):
        _log.warning("since when tickers are listed is not known: %s", error)
    return bool(symbols)


def read_daily_histories(
    engine: Engine, coverage: Coverage, symbols: Sequence[Symbol], usage: Usage | None = None
) -> VendorError | None:
    """Read the daily histories of symbols of a coverage, and record what they say; returns the error that stopped it.

    Nothing is read where no account answers at the configured address.

    Raises:
        TokenRefused: no token is set.
    """
    return run_with_graceful_shutdown(_read_all(engine, coverage, symbols, usage), engine.settings.stop_seconds)


def _find_unread(engine: Engine, job: BackfillJob, plan: Plan) -> tuple[Symbol, ...]:
    if not job.market.uses_daily_data:
        return ()
    counts = Counter(request.symbol for request in plan.requests)
    several = {symbol.symbol_id: symbol for symbol, count in counts.items() if count > 1}
    if not several:
        return ()
    with engine.database.transaction() as connection:
        known = find_lives_read_since(connection, dict.fromkeys(several, _EVER))
        listed = read_listing_bounds(connection, [(key, symbol.ticker) for key, symbol in several.items()])
    return tuple(symbol for key, symbol in several.items() if key not in known | listed.keys())


async def _read_all(
    engine: Engine, coverage: Coverage, symbols: Sequence[Symbol], usage: Usage | None
) -> VendorError | None:
    answers, remaining, stopped = PlanAnswers(), iter(symbols), None
    async with engine.open_vendor_client(Purpose.DAILY, usage=usage) as (rate_limiter, client):
        changes = create_change_list(coverage.grid.sessions[0].market, client, engine.database, coverage.now)
        try:
            has_account = await sync_quota(client, rate_limiter.budget, coverage.now)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(IN_FLIGHT, len(symbols)) if has_account else 0):
                    group.create_task(_read(client, changes, engine, coverage, remaining, answers))
        except* VendorError as errors:
            stopped = next(error for error in errors.exceptions if isinstance(error, VendorError))
        finally:  # what was read counts, also if the day's calls are used up
            if answers.reaches:
                record_vendor_warnings(engine.database, answers.warnings, coverage.now, answers.reaches, DAILY_HISTORY)
    return stopped


async def _read(
    client: VendorClient,
    changes: SymbolChangeList,
    engine: Engine,
    coverage: Coverage,
    remaining: Iterator[Symbol],
    answers: PlanAnswers,
) -> None:
    for symbol in remaining:
        await fetch_listing_history(client, changes, engine.database, coverage, symbol, (), answers)
