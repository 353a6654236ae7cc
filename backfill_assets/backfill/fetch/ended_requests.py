"""What is recorded of requests that have ended: the settlement of their permits, and their entries in the log.

When it is recorded is decided in ``shared_rate_limiter``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date

from backfill_assets.market.purposes import Purpose
from backfill_assets.market.rate_limiter_protocol import RequestRecord
from backfill_assets.market.vendor_errors import QuotaExhausted
from backfill_assets.store.quota.budget import PermitSettlement
from backfill_assets.store.quota.request_log import RequestLogEntry

DEFAULT_PAUSE_SHARE = 1 / 6  # of the rate window, after a 429 without a Retry-After (docs/vendor.md §6.3)


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission for one attempt; ``started_at`` is the event loop's time, ``day`` the UTC day whose calls it is of."""

    permit_id: int
    calls: int
    purpose: Purpose
    started_at: float
    day: date


def build_settlement(
    ended: Sequence[tuple[Permit, RequestRecord]], today: date, window_seconds: float
) -> PermitSettlement:
    """What became of the permits of requests of one purpose; ``today`` is the UTC day."""
    records = [record for _, record in ended]
    newest = max(
        (record for record in records if record.rate_remaining is not None and record.rate_limit is not None),
        key=lambda record: record.started_at.timestamp() + record.seconds,
        default=None,
    )
    default_pause = window_seconds * DEFAULT_PAUSE_SHARE
    pauses = [record.retry_after or default_pause for record in records if is_rate_limited(record)]
    return PermitSettlement(
        permits=[permit.permit_id for permit, _ in ended],
        # a permit taken before midnight belongs to a day that is over
        refund=sum(permit.calls - record.calls for permit, record in ended if permit.day == today),
        rate_limit=newest.rate_limit if newest else None,
        rate_remaining=newest.rate_remaining if newest else None,
        pause_seconds=max(pauses, default=0.0),
    )


def is_rate_limited(record: RequestRecord) -> bool:
    """Whether the vendor refused because of its request limit, by the status or in words with status 200."""
    return record.status == 429 or record.error == "RateLimited"


def is_quota_refusal(record: RequestRecord) -> bool:
    """Whether the vendor said that the day's calls are used up.

    Only for the request of a ticker: elsewhere the same status may mean that the plan lacks the endpoint
    (docs/vendor.md §5.5).
    """
    return record.error == QuotaExhausted.__name__ and record.ticker is not None


def build_log_entry(record: RequestRecord) -> RequestLogEntry:
    """The attempt as the request log has it."""
    return RequestLogEntry(
        started_at=record.started_at.astimezone(UTC),
        endpoint=record.endpoint,
        purpose=record.purpose,
        ticker=record.ticker,
        status=record.status,
        error=record.error,
        calls=record.calls,
        rows=record.rows,
        body_bytes=record.body_bytes,
        seconds=record.seconds,
    )
