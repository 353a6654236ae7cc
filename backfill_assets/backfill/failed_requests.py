"""Tickers that wait because their newest requests failed: how long, and what that takes out of a plan.

Answers that cannot be read leave no evidence, so the retry schedule does not know of them, and each one is billed.
Every run that a person did not aim at tickers therefore leaves such tickers out for a while. Other failures cost
nothing; for them only the sensor waits (``backfill.due_work``).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from backfill_assets.backfill.planner import Plan
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.quota.request_log import FailingTicker, find_failing_tickers

MAX_BACKOFF = timedelta(hours=1)  # after runs or requests that failed repeatedly
MAX_PAID_BACKOFF = timedelta(hours=6)  # after answers that were billed, although they cannot be read


def read_failing_tickers(connection: Connection, vendor_access: str) -> dict[str, FailingTicker]:
    """By name, the tickers whose newest requests with this address and token failed, and that wait now."""
    return find_failing_tickers(connection, MAX_BACKOFF, MAX_PAID_BACKOFF, vendor_access)


def read_failing_histories(connection: Connection, vendor_access: str) -> dict[str, FailingTicker]:
    """The same of requests for daily data."""
    return find_failing_tickers(connection, MAX_BACKOFF, MAX_PAID_BACKOFF, vendor_access, "/eod")


def defer_unreadable(plan: Plan, failing: Mapping[str, FailingTicker]) -> Plan:
    """The plan without the tickers whose newest answer could not be read; ``Plan.unreadable_until`` names them."""
    until: dict[int, datetime] = {}
    rows = set()
    for request in plan.requests:
        failure = failing.get(str(request.tickers[0]))
        if failure is not None and failure.is_unreadable:
            until[request.symbol.symbol_id] = failure.next_request_at
            rows.add(request.row)
    if not until:
        return plan
    return replace(plan.leave_out(rows), unreadable_until=until)
