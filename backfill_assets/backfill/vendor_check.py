"""Fetches what the vendor returns right now for one session of one symbol; stores nothing."""

import asyncio
import logging

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.listed_requests import ask_one_of
from backfill_assets.market.bars.bar_builder import BuiltBars, build_bars
from backfill_assets.market.bars.source_rows import build_row_table
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.vendor import IntradayRows
from backfill_assets.store.listing_bounds import list_asked_tickers, read_ended_bounds

_log = logging.getLogger(__name__)


def fetch_current_bars(engine: Engine, job: BackfillJob) -> BuiltBars:
    """Fetch the job's single symbol and session with one request, and build its bars.

    Raises:
        VendorError: the request failed.
    """
    grid = build_slot_grid(job.window.sessions, job.interval)
    end = int(grid.ends[-1]) + job.market.closing_seconds - 60
    rows = asyncio.run(_fetch_rows(engine, job, int(grid.starts[0]), end))
    if rows.warning:
        _log.warning("the vendor's data are limited: %s", rows.warning)
    return build_bars(build_row_table([(0, rows)]), grid, job.source_interval)


async def _fetch_rows(engine: Engine, job: BackfillJob, start: int, end: int) -> IntradayRows:
    symbol = job.symbols[0]
    with engine.database.transaction() as connection:
        tickers = list_asked_tickers(symbol, read_ended_bounds(connection, [symbol]))
    async with engine.open_vendor_client(job.purpose) as (_, client):
        return await ask_one_of(
            tickers, lambda ticker: client.fetch_intraday(ticker, job.source_interval.name, start, end)
        )
