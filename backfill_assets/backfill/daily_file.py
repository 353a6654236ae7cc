"""The market's daily file once a day, so that closes can be compared although nothing needs explaining."""

import asyncio
import logging

import numpy as np

from backfill_assets.backfill.absence_lookup import fetch_bulk_file
from backfill_assets.backfill.engine import Engine
from backfill_assets.eodhd.errors import VendorError
from backfill_assets.market.gaps.coverage import Coverage

_log = logging.getLogger(__name__)


def fetch_newest_bulk_file(engine: Engine, coverage: Coverage) -> bool:
    """Read the file of the newest session whose absence counts; returns whether the universe is worth its 100 calls.

    A session's file is read once. What the vendor refuses is logged: comparing closes can wait a day.
    """
    settings = engine.settings
    overdue_sessions = np.flatnonzero(coverage.is_session_overdue).tolist()
    is_worthwhile = (
        settings.bulk_daily and len(coverage.symbols) >= settings.daily_file_symbols and bool(overdue_sessions)
    )
    if is_worthwhile:
        try:
            asyncio.run(_fetch_session_file(engine, coverage, overdue_sessions[-1]))
        except VendorError as error:
            _log.warning("the market's daily file cannot be read: %s", error)
    return is_worthwhile


async def _fetch_session_file(engine: Engine, coverage: Coverage, session: int) -> None:
    async with engine.open_vendor_client() as (_, client):
        await fetch_bulk_file(client, engine.database, coverage, session)
