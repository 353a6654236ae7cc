"""The market's daily file once a day, so that closes can be compared although nothing needs explaining."""

import asyncio
import logging

from backfill_assets.backfill.absence_lookup import ask_the_market
from backfill_assets.backfill.engine import Engine
from backfill_assets.eodhd.errors import VendorError
from backfill_assets.store.coverage import Coverage

_log = logging.getLogger(__name__)


def read_daily_file(engine: Engine, coverage: Coverage) -> bool:
    """Read the file of the newest session whose absence counts; returns whether the universe is worth its 100 calls.

    A session's file is read once. What the vendor refuses is logged: comparing closes can wait a day.
    """
    settings = engine.settings
    overdue = [number for number, at in enumerate(coverage.overdue_at) if at <= coverage.now]
    wanted = settings.bulk_daily and len(coverage.symbols) >= settings.daily_file_symbols and bool(overdue)
    if wanted:
        try:
            asyncio.run(_read(engine, coverage, overdue[-1]))
        except VendorError as error:
            _log.warning("the market's daily file cannot be read: %s", error)
    return wanted


async def _read(engine: Engine, coverage: Coverage, session: int) -> None:
    async with engine.asking() as (_, client):
        await ask_the_market(client, engine.database, coverage, session)
