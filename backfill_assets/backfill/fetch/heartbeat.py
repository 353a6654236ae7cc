"""Background tasks of a running backfill: its heartbeat, and the vendor's count of the day's calls."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backfill_assets.backfill.fetch.held_claims import HeldClaims
from backfill_assets.backfill.fetch.quota_sync import sync_quota
from backfill_assets.backfill.fetch.shared_rate_limiter import SharedRateLimiter
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_errors import VendorError
from backfill_assets.store.runs import HEARTBEAT_SECONDS

QUOTA_SYNC_SECONDS = 300.0
_log = logging.getLogger(__name__)


@asynccontextmanager
async def maintain_heartbeat(
    claims: HeldClaims,
    rate_limiter: SharedRateLimiter,
    client: VendorClient,
    *,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    quota_sync_seconds: float = QUOTA_SYNC_SECONDS,
) -> AsyncIterator[None]:
    """Record heartbeats and sync the quota while the context is open, pauses between batches included."""
    tasks = [
        asyncio.create_task(_send_heartbeats(claims, heartbeat_seconds)),
        asyncio.create_task(_refresh_quota(rate_limiter, client, quota_sync_seconds)),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _send_heartbeats(claims: HeldClaims, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await claims.send_heartbeat()
        except DatabaseUnavailable as error:
            _log.warning("heartbeat not written: %s", error)


async def _refresh_quota(rate_limiter: SharedRateLimiter, client: VendorClient, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await sync_quota(client, rate_limiter.budget, rate_limiter.now())
        except VendorError as error:
            _log.warning("quota sync failed; using the local call ledger only: %s", error)
