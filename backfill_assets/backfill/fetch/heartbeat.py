"""While a run goes on: say that it is alive, and hear now and then what the day has left."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from backfill_assets.backfill.fetch.quota_sync import read_account
from backfill_assets.backfill.fetch.shared_rate_limiter import Pacer
from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.eodhd.errors import VendorError
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.runs import BEAT_SECONDS, beat

ACCOUNT_SECONDS = 300.0
_log = logging.getLogger(__name__)


@asynccontextmanager
async def heartbeat(
    database: Database,
    run_id: UUID,
    pacer: Pacer,
    client: EodhdClient,
    *,
    beat_seconds: float = BEAT_SECONDS,
    account_seconds: float = ACCOUNT_SECONDS,
) -> AsyncIterator[None]:
    """Beat for the time of the context, rests and waits included."""
    tasks = [
        asyncio.create_task(_beat(database, run_id, beat_seconds)),
        asyncio.create_task(_hear(pacer, client, account_seconds)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _beat(database: Database, run_id: UUID, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(_beat_once, database, run_id)
        except DatabaseUnavailable as error:
            _log.warning("a beat was missed: %s", error)


def _beat_once(database: Database, run_id: UUID) -> None:
    with database.transaction() as connection:
        beat(connection, run_id)


async def _hear(pacer: Pacer, client: EodhdClient, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await read_account(client, pacer.budget, pacer.now())
        except VendorError as error:
            _log.warning("the account could not be read, our own ledger goes on: %s", error)
