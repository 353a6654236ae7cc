"""The error of a request for which the budget grants no permit today, in words that name the reason."""

from collections.abc import Mapping
from datetime import datetime

from backfill_assets.market.purposes import KEPT_SHARES, Purpose
from backfill_assets.market.vendor_errors import BudgetSpent
from backfill_assets.store.quota.budget import QuotaRefusal, compute_quota_reset

_ACTIVITIES: Mapping[Purpose, str] = {
    Purpose.ACCOUNT: "reading the account",
    Purpose.LIVE: "live sampling",
    Purpose.GAP: "backfilling",
    Purpose.REFERENCE: "symbol lists",
    Purpose.DAILY: "daily data",
    Purpose.SPLITS: "splits",
    Purpose.DIVIDENDS: "dividends",
    Purpose.CROSS_FEED: "asking the other feed",
    Purpose.REVIEW: "the review",
    Purpose.HISTORY: "older sessions",
}


def build_spent_error(purpose: Purpose, calls_left: int, refusal: QuotaRefusal | None, now: datetime) -> BudgetSpent:
    """The error of a purpose with ``calls_left`` calls; ``refusal`` is the vendor's word that the day is used up."""
    resets_at = f"{compute_quota_reset(now):%Y-%m-%d %H:%M} UTC"
    if refusal is not None:
        return BudgetSpent(
            f"the vendor said on {refusal.at:%Y-%m-%d at %H:%M} UTC that the day's calls are used up"
            f" ({refusal.message}); nothing is requested until {resets_at}, unless its account shows more calls"
        )
    if purpose is Purpose.CROSS_FEED:
        return BudgetSpent(
            f"{max(0, calls_left)} calls are left for {_ACTIVITIES[purpose]} until {resets_at}: "
            "BACKFILL_CROSS_FEED_CALLS limits them, and what is kept for requests that come before it"
        )
    kept = f" and what is kept for requests that come before {purpose}" if KEPT_SHARES[purpose] else ""
    return BudgetSpent(
        f"daily call quota is used up except for BACKFILL_COLLECTOR_RESERVE{kept}: {max(0, calls_left)} calls left for "
        f"{_ACTIVITIES[purpose]} until {resets_at}"
    )
