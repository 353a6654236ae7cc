"""The gate between the client and the vendor: the shared budget, seen from one asyncio loop.

Coalesces what many concurrent requests need into few statements: one task at a time takes permits
for everybody who waits, and answers are settled in batches while the previous batch is written.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TypeVar
from uuid import UUID

from backfill_assets.backfill.fetch.concurrency import AdaptiveConcurrencyLimit
from backfill_assets.eodhd.errors import QuotaExhausted
from backfill_assets.eodhd.rate_limiter import RequestRecord
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, PermitSettlement, compute_quota_reset
from backfill_assets.store.quota.request_log import RequestLogEntry, log_requests

_OVERLOAD_STATUSES = {429, 500, 502, 503, 504}
T = TypeVar("T")
DEFAULT_PAUSE_SHARE = 1 / 6  # of the rate window, after a 429 that names no time of its own


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave for one attempt; ``began`` is the loop's own time."""

    permit_id: int
    calls: int
    started_at: float
    day: date


@dataclass(slots=True)
class Usage:
    """What a run spent so far."""

    requests: int = 0
    calls: int = 0
    rate_limited: int = 0
    seconds_waited: float = 0.0


@dataclass(frozen=True, eq=False)
class SharedRateLimiter:
    """A ``Gate`` over the budget in Postgres; use as an async context manager."""

    budget: Budget
    database: Database
    concurrency: AdaptiveConcurrencyLimit
    now: Callable[[], datetime]
    run_id: UUID | None = None
    usage: Usage = field(default_factory=Usage)
    _free_permits: dict[int, list[int]] = field(default_factory=dict)
    _waiter_counts: dict[int, int] = field(default_factory=dict)
    _refill_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _finished: list[tuple[Permit, RequestRecord]] = field(default_factory=list)
    _write_errors: list[BaseException] = field(default_factory=list)
    _close_errors: list[QuotaExhausted] = field(default_factory=list)
    _write_tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> "SharedRateLimiter":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write down what is settled and return permits that nobody used."""
        while self._write_tasks:
            await asyncio.gather(*self._write_tasks, return_exceptions=True)
        if self._write_errors:
            raise self._write_errors[0]
        if self._finished:
            await self._write_batch()
        for calls, permits in self._free_permits.items():
            if permits:
                await asyncio.to_thread(self.budget.return_permits, permits, calls, self.now())
        self._free_permits.clear()

    async def acquire(self, calls: int) -> Permit:
        """Wait until a request of ``calls`` calls may be sent.

        Raises:
            QuotaExhausted: the day's calls, less the collector's reserve, do not afford it.
        """
        if self._write_errors:
            raise self._write_errors[0]
        started_at = await self.concurrency.acquire()
        try:
            self._waiter_counts[calls] = self._waiter_counts.get(calls, 0) + 1
            try:
                permit_id = await self._take_permit(calls)
            finally:
                self._waiter_counts[calls] -= 1
        except BaseException:
            await self.concurrency.release(started_at, refused=False)
            raise
        return Permit(permit_id, calls, started_at, self.now().astimezone(UTC).date())

    def close(self, error: QuotaExhausted) -> None:
        """Admit nobody any more, not even those who wait: the vendor says that the day's calls are gone."""
        self._close_errors.append(error)

    async def release(self, permit: object, record: RequestRecord) -> None:
        """Take note of how it went; the permit leaves the rate window one window from now."""
        if not isinstance(permit, Permit):
            raise TypeError(f"not a permit of this gate: {permit!r}")
        self.usage.requests += 1
        self.usage.calls += record.calls
        self.usage.rate_limited += record.status == 429
        self._finished.append((permit, record))
        if not self._write_tasks:
            task = asyncio.create_task(self._write_all())
            self._write_tasks.add(task)
            task.add_done_callback(self._handle_write_done)
        refused = record.status in _OVERLOAD_STATUSES or record.error == "Unreachable"
        await self.concurrency.release(permit.started_at, refused=refused)

    async def _take_permit(self, calls: int) -> int:
        free_permits = self._free_permits.setdefault(calls, [])
        window = self.budget.limits.window_seconds
        async with self._refill_lock:
            if self._close_errors:
                raise self._close_errors[0]
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
                    self._raise_exhausted(grant.calls_left)
                wait_seconds = min(max(grant.wait_seconds, 0.001), window)
                self.usage.seconds_waited += wait_seconds
                await asyncio.sleep(wait_seconds)
            return free_permits.pop()

    def _raise_exhausted(self, calls_left: int) -> None:
        raise QuotaExhausted(
            f"the day's calls are spent but for the collector's reserve: {max(0, calls_left)} are left for "
            f"{self.budget.purpose} until {compute_quota_reset(self.now()):%Y-%m-%d %H:%M} UTC"
        )

    def _handle_write_done(self, task: "asyncio.Task[None]") -> None:
        self._write_tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._write_errors.append(error)  # told to whoever wants a permit next

    async def _write_all(self) -> None:
        while self._finished:
            await self._write_batch()

    async def _write_batch(self) -> None:
        batch = list(self._finished)
        await asyncio.to_thread(self._record_batch, batch)
        del self._finished[: len(batch)]

    def _record_batch(self, batch: list[tuple[Permit, RequestRecord]]) -> None:
        window, today = self.budget.limits.window_seconds, self.now().astimezone(UTC).date()
        records = [exchange for _, exchange in batch]
        newest = max(
            (e for e in records if e.rate_remaining is not None and e.rate_limit is not None),
            key=lambda e: e.started_at.timestamp() + e.seconds,
            default=None,
        )
        pauses = [e.retry_after or window * DEFAULT_PAUSE_SHARE for e in records if e.status == 429]
        self.budget.settle_permits(
            PermitSettlement(
                permits=[permit.permit_id for permit, _ in batch],
                # what was granted before midnight belongs to a ledger that is closed
                refund=sum(permit.calls - exchange.calls for permit, exchange in batch if permit.day == today),
                rate_limit=newest.rate_limit if newest else None,
                rate_remaining=newest.rate_remaining if newest else None,
                pause_seconds=max(pauses, default=0.0),
            ),
            self.now(),
        )
        log_rows = [_build_log_row(record) for record in records]
        self.database.retry_transaction(lambda connection: log_requests(connection, self.run_id, log_rows))


async def _await_despite_cancel(task: "asyncio.Task[T]", on_result: Callable[[T], None]) -> T:
    """Await ``task``; if the waiter is cancelled meanwhile, let it end and ``keep`` its result."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        on_result(await task)
        raise


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
