"""The client's rate limiter over the budget in Postgres, seen from one asyncio loop.

It turns the needs of many concurrent requests into few statements. One task at a time takes permits for all waiting
requests, and finished requests are recorded in batches, the next one while the previous one is being written.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Self, TypeVar
from uuid import UUID

from backfill_assets.backfill.fetch.concurrency import AdaptiveConcurrencyLimit
from backfill_assets.market.rate_limiter_protocol import RequestRecord
from backfill_assets.market.vendor_errors import QuotaExhausted
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, PermitSettlement, QuotaRefusal, compute_quota_reset
from backfill_assets.store.quota.request_log import RequestLogEntry, log_requests

_OVERLOAD_STATUSES = {429, 500, 502, 503, 504}
T = TypeVar("T")
RESET_GRACE = timedelta(minutes=15)  # after midnight UTC a refusal may still be about the day before, as clocks differ
DEFAULT_PAUSE_SHARE = 1 / 6  # of the rate window, after a 429 without a Retry-After (docs/vendor.md §6.3)


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission for one attempt; ``started_at`` is the event loop's time, ``day`` the UTC day it was granted on."""

    permit_id: int
    calls: int
    started_at: float
    day: date


@dataclass(slots=True)
class Usage:
    """What a run has spent so far; the rate limiter adds to it."""

    requests: int = 0
    calls: int = 0
    rate_limited: int = 0


class SharedRateLimiter:
    """A ``RateLimiter`` over the budget that all processes share; use as an async context manager.

    Args:
        budget: the budget to take permits from.
        database: where the request log is.
        concurrency: limits the requests in flight in this process.
        now: the clock of the settings.
        run_id: the run that the requests belong to, for the request log.
        usage: counts what is spent.
    """

    def __init__(
        self,
        budget: Budget,
        database: Database,
        concurrency: AdaptiveConcurrencyLimit,
        now: Callable[[], datetime],
        run_id: UUID | None = None,
        usage: Usage | None = None,
    ) -> None:
        self.budget = budget
        self.now = now
        self.usage = usage or Usage()
        self._database = database
        self._concurrency = concurrency
        self._run_id = run_id
        self._free_permits: dict[int, list[int]] = {}  # by price in calls
        self._waiter_counts: dict[int, int] = {}  # by price in calls
        self._refill_lock = asyncio.Lock()
        self._finished: list[tuple[Permit, RequestRecord]] = []  # not yet written
        self._write_task: asyncio.Task[None] | None = None
        self._write_error: BaseException | None = None
        self._quota_error: QuotaExhausted | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Record finished requests and return unused permits."""
        while self._write_task is not None:
            await asyncio.gather(self._write_task, return_exceptions=True)
        if self._write_error is not None:
            raise self._write_error
        if self._finished:
            await self._write_batch()
        for calls, permits in self._free_permits.items():
            if permits:
                await asyncio.to_thread(self.budget.return_permits, permits, calls, self.now())
        self._free_permits.clear()

    async def acquire(self, calls: int) -> Permit:
        """Wait until a request of ``calls`` calls may be sent.

        Raises:
            QuotaExhausted: the day's calls, less the reserve for other programs, do not suffice.
        """
        if self._write_error is not None:
            raise self._write_error
        started_at = await self._concurrency.acquire()
        try:
            self._waiter_counts[calls] = self._waiter_counts.get(calls, 0) + 1
            try:
                permit_id = await self._take_permit(calls)
            finally:
                self._waiter_counts[calls] -= 1
        except BaseException:
            await self._concurrency.release(started_at, refused=False)
            raise
        return Permit(permit_id, calls, started_at, self.now().astimezone(UTC).date())

    def close(self, error: QuotaExhausted) -> None:
        """Raise ``error`` for every further permit and for all waiting requests: the vendor's quota is used up."""
        self._quota_error = self._quota_error or error

    async def release(self, permit: object, record: RequestRecord) -> None:
        """Record how a request ended; its permit leaves the rate window one window from now."""
        if not isinstance(permit, Permit):
            raise TypeError(f"not a permit of this rate limiter: {permit!r}")
        self.usage.requests += 1
        self.usage.calls += record.calls
        self.usage.rate_limited += _is_rate_limited(record)
        self._finished.append((permit, record))
        if self._write_task is None:
            self._write_task = asyncio.create_task(self._write_all())
            self._write_task.add_done_callback(self._handle_write_done)
        refused = record.status in _OVERLOAD_STATUSES or record.error in {"RateLimited", "Unreachable"}
        await self._concurrency.release(permit.started_at, refused=refused)

    async def _take_permit(self, calls: int) -> int:
        free_permits = self._free_permits.setdefault(calls, [])
        window = self.budget.limits.window_seconds
        async with self._refill_lock:
            if self._quota_error is not None:
                raise self._quota_error
            while not free_permits:
                wanted_count = self._waiter_counts[calls]
                take_task = asyncio.create_task(
                    asyncio.to_thread(self.budget.take_permits, wanted_count, calls, self.now())
                )
                grant = await _await_despite_cancel(take_task, lambda g: free_permits.extend(g.permits))
                free_permits.extend(grant.permits)
                if free_permits:
                    break
                if calls and grant.calls_left < calls:
                    refusal = await asyncio.to_thread(self.budget.read_refusal, self.now())
                    self._raise_exhausted(grant.calls_left, refusal)
                await asyncio.sleep(min(max(grant.wait_seconds, 0.001), window))
            return free_permits.pop()

    def _raise_exhausted(self, calls_left: int, refusal: QuotaRefusal | None) -> None:
        if refusal is not None:
            raise QuotaExhausted(
                f"the vendor said on {refusal.at:%Y-%m-%d at %H:%M} UTC that the day's calls are used up"
                f" ({refusal.message}); nothing is requested until"
                f" {compute_quota_reset(self.now()):%Y-%m-%d %H:%M} UTC, unless its account shows more calls"
            )
        raise QuotaExhausted(
            f"daily call quota is used up except for BACKFILL_COLLECTOR_RESERVE: {max(0, calls_left)} calls left for "
            f"{self.budget.purpose} until {compute_quota_reset(self.now()):%Y-%m-%d %H:%M} UTC"
        )

    def _handle_write_done(self, task: "asyncio.Task[None]") -> None:
        self._write_task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._write_error = self._write_error or error  # raised at the next request for a permit

    async def _write_all(self) -> None:
        while self._finished:
            await self._write_batch()

    async def _write_batch(self) -> None:
        batch = list(self._finished)
        await asyncio.to_thread(self._record_batch, batch)
        del self._finished[: len(batch)]

    def _record_batch(self, batch: list[tuple[Permit, RequestRecord]]) -> None:
        window, today = self.budget.limits.window_seconds, self.now().astimezone(UTC).date()
        records = [record for _, record in batch]
        newest = max(
            (record for record in records if record.rate_remaining is not None and record.rate_limit is not None),
            key=lambda record: record.started_at.timestamp() + record.seconds,
            default=None,
        )
        pauses = [record.retry_after or window * DEFAULT_PAUSE_SHARE for record in records if _is_rate_limited(record)]
        self.budget.settle_permits(
            PermitSettlement(
                permits=[permit.permit_id for permit, _ in batch],
                # a permit granted before midnight belongs to a day that is over
                refund=sum(permit.calls - record.calls for permit, record in batch if permit.day == today),
                rate_limit=newest.rate_limit if newest else None,
                rate_remaining=newest.rate_remaining if newest else None,
                pause_seconds=max(pauses, default=0.0),
            ),
            self.now(),
        )
        for permit, record in batch:
            if permit.day == today and _is_quota_refusal(record):
                self._record_refusal(record.vendor_message)
        log_rows = [_build_log_row(record) for record in records]
        self._database.retry_transaction(lambda connection: log_requests(connection, self._run_id, log_rows))

    def _record_refusal(self, message: str) -> None:
        now = self.now()
        if now.astimezone(UTC) - (compute_quota_reset(now) - timedelta(days=1)) >= RESET_GRACE:
            self.budget.record_refusal(message, now)


async def _await_despite_cancel(task: "asyncio.Task[T]", on_result: Callable[[T], None]) -> T:
    """Await ``task``; if cancelled meanwhile, let the task end and pass its result to ``on_result``."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        on_result(await task)
        raise


def _is_rate_limited(record: RequestRecord) -> bool:
    """Whether the vendor refused because of its request limit, by the status or in words with status 200."""
    return record.status == 429 or record.error == "RateLimited"


def _is_quota_refusal(record: RequestRecord) -> bool:
    """Whether the vendor said that the day's calls are used up.

    Only for the request of a ticker: elsewhere the same status may mean that the plan lacks the endpoint
    (docs/vendor.md §5.5).
    """
    return record.error == QuotaExhausted.__name__ and record.ticker is not None


def _build_log_row(record: RequestRecord) -> RequestLogEntry:
    return RequestLogEntry(
        started_at=record.started_at.astimezone(UTC),
        endpoint=record.endpoint,
        ticker=record.ticker,
        status=record.status,
        error=record.error,
        calls=record.calls,
        rows=record.rows,
        body_bytes=record.body_bytes,
        seconds=record.seconds,
    )
