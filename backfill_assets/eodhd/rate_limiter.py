"""What the client needs of the budget that all processes share, and the record of one attempt.

The real gate lives in ``store/``; ``OpenGate`` here admits everybody.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class RequestRecord:
    """One attempt at the vendor, for the request log; never holds the token or a URL.

    Attributes:
        endpoint: ``/intraday`` and the like.
        ticker: whom it was about; the first of a batch.
        started_at: when the attempt began, UTC, real clock.
        seconds: how long it took.
        status: the HTTP status, None if none came.
        calls: what it cost, in vendor calls (assumed where the vendor did not say).
        rows: how many rows came, None where the answer has none or is unusable.
        size: bytes of the body as they came over the wire.
        error: class name of what went wrong.
        rate_limit: ``X-RateLimit-Limit``: requests a minute the token may make.
        rate_remaining: ``X-RateLimit-Remaining``: how many of them are left.
        retry_after: seconds the vendor asked us to wait.
    """

    endpoint: str
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


class RateLimiter(Protocol):
    """Admits attempts to the vendor and learns how they went."""

    async def acquire(self, calls: int) -> object:
        """Wait for a permit to spend ``calls`` (0 for free endpoints) in one request.

        Raises:
            QuotaExhausted: the day's calls do not suffice.
        """
        ...

    async def release(self, permit: object, record: RequestRecord) -> None:
        """Take the permit back; called exactly once for each ``admit`` that returned."""
        ...


@dataclass
class UnlimitedRateLimiter:
    """Always admits; ``exchanges`` keeps what was settled, in order."""

    records: list[RequestRecord] = field(default_factory=list)
    acquired: int = 0

    async def acquire(self, calls: int) -> object:  # noqa: ARG002 - the protocol's
        """Admit at once."""
        self.acquired += 1
        return self.acquired

    async def release(self, permit: object, record: RequestRecord) -> None:  # noqa: ARG002 - the protocol's
        """Keep the record."""
        self.records.append(record)
