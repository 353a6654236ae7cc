"""The rate limiter as the client sees it, and the record of one attempt.

The implementation over the budget that all processes share is ``backfill.fetch.shared_rate_limiter``.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from backfill_assets.market.purposes import Purpose


@dataclass(frozen=True)
class RequestRecord:
    """One HTTP attempt, for the request log; never contains the token or a URL.

    Attributes:
        endpoint: for example ``/intraday``.
        purpose: what the request is made for.
        ticker: the requested ticker; of a batch the first one.
        started_at: when the attempt began, UTC, real clock.
        seconds: duration of the attempt.
        status: the HTTP status, None without a response.
        calls: price in vendor calls; an estimate where the vendor's count is unknown.
        rows: number of rows received; None if the response has no rows or cannot be parsed.
        body_bytes: size of the body on the wire.
        error: class name of the error.
        rate_limit: ``X-RateLimit-Limit``, requests a minute that the token may make.
        rate_remaining: ``X-RateLimit-Remaining``, how many of them are left.
        retry_after: seconds to wait, if the vendor named them.
        vendor_message: the error's message, without the token; not part of the request log.
    """

    endpoint: str
    purpose: Purpose
    ticker: str | None
    started_at: datetime
    seconds: float
    status: int | None
    calls: int
    rows: int | None
    body_bytes: int
    error: str | None
    rate_limit: int | None
    rate_remaining: int | None
    retry_after: float | None
    vendor_message: str = ""


class RateLimiter(Protocol):
    """Grants permits for attempts and receives their records."""

    async def acquire(self, calls: int, purpose: Purpose) -> object:
        """Wait for a permit to spend ``calls`` (0 for free endpoints) in one request for ``purpose``.

        Raises:
            QuotaExhausted: the day's calls do not suffice, or spending is paused.
        """
        ...

    async def release(self, permit: object, record: RequestRecord) -> None:
        """Take the permit back; called exactly once for each successful ``acquire``."""
        ...
