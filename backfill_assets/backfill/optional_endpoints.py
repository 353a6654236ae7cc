"""Endpoints that not every plan has: switched off with one finding when refused, and requested again every week.

A refusal of one endpoint must not be taken for an exhausted quota or a refused token, and no run stops for it
(docs/vendor.md §1.5, §5.5). Its words and the account, which is read for it, tell them apart. The refusals are stored
in ``store.quota.refused_endpoints``; which endpoints are optional is decided in the vendor's client.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias, TypeVar

from backfill_assets.eodhd.error_mapping import names_quota
from backfill_assets.market.vendor import AccountUsage
from backfill_assets.market.vendor_errors import (
    AccessRefused,
    BudgetSpent,
    EndpointUnavailable,
    PlanRefused,
    QuotaExhausted,
    SpendingPaused,
    TokenRefused,
    VendorError,
)
from backfill_assets.store.evidence.findings import (
    ENDPOINT_NOT_IN_PLAN,
    Finding,
    record_finding,
    resolve_findings,
)
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import compute_quota_reset
from backfill_assets.store.quota.refused_endpoints import (
    delete_endpoint_refusal,
    find_ask_again_time,
    record_endpoint_refusal,
)

ASK_AGAIN_AFTER = timedelta(days=7)
DAILY_FILE, SYMBOL_CHANGES = "/eod-bulk-last-day", "/symbol-change-history"
SPLITS, SPLITS_FILE = "/splits", "/eod-bulk-last-day?type=splits"
DIVIDENDS, DIVIDENDS_FILE = "/div", "/eod-bulk-last-day?type=dividends"
_FEATURES: Mapping[str, str] = {
    DAILY_FILE: "the market's daily file is not read",
    SYMBOL_CHANGES: "new names of renamed symbols are not looked up",
    SPLITS: "splits are not read, and rules that need them do not judge",
    SPLITS_FILE: "splits are not read from the market's file",
    DIVIDENDS: "dividends are not read, and prices cannot be adjusted for them",
    DIVIDENDS_FILE: "dividends are not read from the market's file",
}
T = TypeVar("T")
Verdict: TypeAlias = Literal["plan", "quota", "unclear"]


def judge_refusal(error: VendorError, account: AccountUsage, calls: int, now: datetime) -> Verdict:
    """What a refusal means, given the account, which the vendor still shows to the token.

    Args:
        error: the refusal of an endpoint.
        account: the account, read after the refusal.
        calls: price of the refused request.
        now: decides which day the account's counter is of.

    Returns:
        ``quota`` if the account has too few calls left; ``plan`` if the endpoint is not part of the plan, or dearer
        than the plan's whole day; else ``unclear``: the text names the quota although calls are left.
    """
    if not isinstance(error, QuotaExhausted) or not names_quota(error.message):
        return "plan"
    if account.daily_rate_limit is not None and account.daily_rate_limit < calls:
        return "plan"
    calls_left = _count_calls_left(account, now)
    return "quota" if calls_left is not None and calls_left < calls else "unclear"


def _count_calls_left(account: AccountUsage, now: datetime) -> int | None:
    """Calls left today, purchased ones included; the counter of an earlier day means that none is spent yet."""
    if account.daily_rate_limit is None:
        return None
    is_todays = account.api_requests_date == now.astimezone(UTC).date()
    used = account.api_requests or 0 if is_todays else 0
    return max(0, account.daily_rate_limit - used) + (account.extra_limit or 0)


class StoredOptionalEndpoints:
    """The ``OptionalEndpoints`` of one token; refusals are in the store, so that they hold for every process."""

    def __init__(self, database: Database, token: str, now: Callable[[], datetime]) -> None:
        self._database = database
        self._token = token
        self._now = now

    def is_available(self, endpoint: str) -> bool:
        """Whether the endpoint would be requested now."""
        return self._find_ask_again_time(endpoint) is None

    async def request(
        self,
        endpoint: str,
        calls: int,
        send: Callable[[], Awaitable[T]],
        fetch_account: Callable[[], Awaitable[AccountUsage]],
    ) -> T:
        """As ``OptionalEndpoints.request``."""
        ask_again_at = await asyncio.to_thread(self._find_ask_again_time, endpoint)
        if ask_again_at is not None:
            raise EndpointUnavailable(
                f"refused before; it is requested again from {ask_again_at:%Y-%m-%d %H:%M} UTC on", endpoint=endpoint
            )
        try:
            answer = await send()
        except (BudgetSpent, SpendingPaused):
            raise
        except (AccessRefused, PlanRefused, QuotaExhausted, TokenRefused) as error:
            raise await self._handle_refusal(endpoint, calls, error, fetch_account) from None
        await asyncio.to_thread(self._record_answer, endpoint)
        return answer

    async def _handle_refusal(
        self, endpoint: str, calls: int, error: VendorError, fetch_account: Callable[[], Awaitable[AccountUsage]]
    ) -> VendorError:
        """Record the refusal; returns the error to raise."""
        verdict: Verdict = "plan"
        if not isinstance(error, PlanRefused):
            try:
                account = await fetch_account()
            except (QuotaExhausted, TokenRefused) as confirmed:
                return confirmed
            except VendorError:  # nothing confirms what the refusal seems to say
                return EndpointUnavailable(error.message, endpoint=endpoint)
            verdict = judge_refusal(error, account, calls, self._now())
        if verdict == "quota":
            return error
        await asyncio.to_thread(self._record_refusal, endpoint, error.message, is_in_plan=verdict == "unclear")
        return EndpointUnavailable(error.message, endpoint=endpoint)

    def _find_ask_again_time(self, endpoint: str) -> datetime | None:
        with self._database.transaction() as connection:
            return find_ask_again_time(connection, self._token, endpoint, self._now())

    def _record_refusal(self, endpoint: str, message: str, *, is_in_plan: bool) -> None:
        """Do not request the endpoint for a week; if the plan may have it, until the vendor's next day."""
        now = self._now()
        ask_again_at = compute_quota_reset(now) if is_in_plan else now + ASK_AGAIN_AFTER
        with self._database.transaction() as connection:
            record_endpoint_refusal(connection, self._token, endpoint, now, ask_again_at)
            if not is_in_plan:
                consequence = _FEATURES.get(endpoint, "it is not requested")
                detail = f"{message}; {consequence}, and the endpoint is tried again every week"
                record_finding(connection, Finding(ENDPOINT_NOT_IN_PLAN, endpoint, detail, now))

    def _record_answer(self, endpoint: str) -> None:
        with self._database.transaction() as connection:
            delete_endpoint_refusal(connection, self._token, endpoint)
            resolve_findings(connection, ENDPOINT_NOT_IN_PLAN, [endpoint], self._now())
