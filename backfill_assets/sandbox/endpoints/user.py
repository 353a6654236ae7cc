"""``/user`` and ``/internal-user``: plan and quota of a token (docs/vendor.md §5.3)."""

from backfill_assets.sandbox.accounts import TokenAccount
from backfill_assets.sandbox.wire.encoding import encode_json
from backfill_assets.sandbox.wire.request import ParsedRequest
from backfill_assets.sandbox.wire.responses import SuccessResponse

INTERNAL_USER_CALLS = 1  # documented; measured as free for /user only (docs/vendor.md §6.12)
_DATA_FEEDS = ("EOD Historical Data", "Intraday Data", "Live (Delayed) Stock Prices", "Bulk API")


def serve_user(request: ParsedRequest, account: TokenAccount) -> SuccessResponse:
    """Answer with the token's plan and quota. The counter shows an earlier day until today's first billed call."""
    plan = "demo" if request.is_demo_token else "free" if request.is_free_plan else "paid"
    body = {
        "name": "Sandbox User",
        "email": "sandbox@example.com",
        "subscriptionType": "monthly",
        "paymentMethod": "Stripe",
        "apiRequests": account.spent,
        "apiRequestsDate": account.spent_on.isoformat(),
        "dailyRateLimit": account.daily_limit,
        "extraLimit": account.extra_calls,
        "inviteToken": None,
        "inviteTokenClicked": 0,
        "subscriptionMode": plan,
        "availableDataFeeds": list(_DATA_FEEDS) if plan == "paid" else [],
        "availableMarketplaceDataFeeds": [],
    }
    return SuccessResponse(encode_json(body), 0 if request.endpoint == "user" else INTERNAL_USER_CALLS)
