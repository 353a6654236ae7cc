"""Reads the vendor's count of the token's day into the budget, before a run and every few minutes during one."""

import logging
from datetime import datetime

from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_errors import PlanRefused, Unreachable, VendorError
from backfill_assets.store.quota.budget import Budget

_log = logging.getLogger(__name__)


async def sync_quota(client: VendorClient, budget: Budget, now: datetime) -> bool:
    """Record in the budget how many calls the vendor counted today.

    Returns:
        Whether the vendor gave the figures. If not, something else may answer at the configured address.

    Raises:
        VendorError: the token is refused, its calls are used up, spending is paused, or the vendor is unreachable. Any
            other error of this free endpoint is logged, and the local call ledger is used alone: a plan that lacks it
            may have bars.
    """
    try:
        account = await client.for_purpose(Purpose.ACCOUNT).fetch_account()
    except VendorError as error:
        if isinstance(error, Unreachable) or (error.stops_run and not isinstance(error, PlanRefused)):
            raise
        _log.warning("vendor usage is unavailable; using the local call ledger only: %s", error)
        return False
    if account.daily_rate_limit is None:
        return False
    used, extra = account.api_requests or 0, account.extra_limit or 0
    budget.record_account(account.api_requests_date, used, account.daily_rate_limit, extra, now)
    return True
