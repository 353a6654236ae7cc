"""``/user`` and ``/internal-user`` (EODHD.md §5)."""

from backfill_assets.sandbox.accounts import Account
from backfill_assets.sandbox.wire.encoding import json_bytes
from backfill_assets.sandbox.wire.request import Asked
from backfill_assets.sandbox.wire.responses import Answer

INTERNAL_CALLS = 1  # documented; only /user was measured to be free
_FEEDS = ("EOD Historical Data", "Intraday Data", "Live (Delayed) Stock Prices", "Bulk API")


def user(asked: Asked, account: Account) -> Answer:
    """The token's standing. The counter stays on an earlier day until the day's first billed call."""
    mode = "demo" if asked.demo else "free" if asked.free else "paid"
    body = {
        "name": "Sandbox User",
        "email": "sandbox@example.com",
        "subscriptionType": "monthly",
        "paymentMethod": "Stripe",
        "apiRequests": account.spent,
        "apiRequestsDate": account.spent_on.isoformat(),
        "dailyRateLimit": account.daily,
        "extraLimit": account.extra,
        "inviteToken": None,
        "inviteTokenClicked": 0,
        "subscriptionMode": mode,
        "availableDataFeeds": list(_FEEDS) if mode == "paid" else [],
        "availableMarketplaceDataFeeds": [],
    }
    return Answer(json_bytes(body), 0 if asked.endpoint == "user" else INTERNAL_CALLS)
