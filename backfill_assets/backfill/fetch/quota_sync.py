"""What the vendor says of the token's day, read before a run and every few minutes during one."""

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from backfill_assets.eodhd.errors import Unreachable, VendorError
from backfill_assets.store.quota.budget import Budget

if TYPE_CHECKING:
    from backfill_assets.eodhd.client import EodhdClient

_log = logging.getLogger(__name__)


async def sync_quota(client: "EodhdClient", budget: Budget, now: datetime) -> None:
    """Tell the budget what the vendor counted today.

    Raises:
        VendorError: the token is refused, its calls are gone, or nobody answers; any other trouble with
            this free endpoint is logged and the own ledger is relied on.
    """
    try:
        account = await client.fetch_account()
    except VendorError as error:
        if error.stops_run or isinstance(error, Unreachable):
            raise
        _log.warning("the day's calls are counted by our own ledger alone: %s", error)
        return
    if account.daily_rate_limit is not None:
        used, extra = account.api_requests or 0, account.extra_limit or 0
        budget.record_account(account.api_requests_date, used, account.daily_rate_limit, extra, now)
