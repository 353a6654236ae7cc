"""A rate limiter for tests that grants every permit at once and stores the records."""

from dataclasses import dataclass, field

from backfill_assets.market.purposes import Purpose
from backfill_assets.market.rate_limiter_protocol import RequestRecord


@dataclass
class UnlimitedRateLimiter:
    """Grants every permit; ``records`` has the records of released permits in order."""

    records: list[RequestRecord] = field(default_factory=list)
    acquired: int = 0

    async def acquire(self, calls: int, purpose: Purpose) -> object:  # noqa: ARG002
        self.acquired += 1
        return self.acquired

    async def release(self, permit: object, record: RequestRecord) -> None:  # noqa: ARG002
        self.records.append(record)
