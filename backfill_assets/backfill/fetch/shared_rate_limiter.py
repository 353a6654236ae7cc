"""The client's rate limiter over the budget in Postgres, seen from one asyncio loop.

It turns the needs of many requests into few statements: one task takes permits for all that wait, and finished requests
are recorded in batches. A request for a claimed symbol is confirmed when its permit is there (``held_claims``).
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple, Self, TypeVar
from uuid import UUID

from backfill_assets.backfill.fetch.concurrency import AdaptiveConcurrencyLimit
from backfill_assets.backfill.fetch.ended_requests import (
    Permit,
    build_log_entry,
    build_settlement,
    is_quota_refusal,
    is_rate_limited,
)
from backfill_assets.backfill.fetch.held_claims import confirm_claim
from backfill_assets.backfill.fetch.permit_errors import build_spent_error
from backfill_assets.backfill.fetch.request_trace import trace_attempt
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.rate_limiter_protocol import RequestRecord
from backfill_assets.market.vendor_errors import QuotaExhausted, SpendingPaused
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, PermitGrant, compute_quota_reset
from backfill_assets.store.quota.request_log import log_requests
from backfill_assets.store.quota.spending_pause import SpendingPause, read_pause

_OVERLOAD_STATUSES = {429, 500, 502, 503, 504}
T = TypeVar("T")
RESET_GRACE = timedelta(minutes=15)  # after midnight UTC a refusal may still be about the day before, as clocks differ
GATHER_SECONDS = 0.1  # finished requests are recorded together; until then their permits count as in flight
PERMIT_GATHER_SECONDS = 0.02  # permits are taken together; the vendor's answers take many times as long
_FEW_SHARE = 1 / 4  # of the requests in flight; as many waiting for a permit do not wait for others


class _PermitKind(NamedTuple):
    """Permits of one purpose and price in calls stand for each other."""

    purpose: Purpose
    calls: int


class _FreePermit(NamedTuple):
    """A permit that no request has yet, the UTC day whose calls it was taken from, and when, by the server's clock."""

    permit_id: int
    day: date
    granted_at: datetime


@dataclass(slots=True)
class Usage:
    """What a run has spent so far; the rate limiter adds to it."""

    requests: int = 0
    calls: int = 0
    rate_limited: int = 0


class SharedRateLimiter:
    """A ``RateLimiter`` over the budget that all processes share; use as an async context manager.

    Args:
        budget: the budget to take permits from, each for the purpose of its request.
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
        self._free_permits: dict[_PermitKind, list[_FreePermit]] = {}
        self._waiter_counts: dict[_PermitKind, int] = {}
        self._refill_lock = asyncio.Lock()
        self._finished: list[tuple[Permit, RequestRecord]] = []  # not yet written
        self._write_task: asyncio.Task[None] | None = None
        self._write_error: BaseException | None = None
        self._must_write = asyncio.Event()  # what is finished cannot wait for more
        self._quota_error: QuotaExhausted | None = None
        self._is_closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Record finished requests and return unused permits."""
        self._must_write.set()
        while self._write_task is not None:
            await asyncio.gather(self._write_task, return_exceptions=True)
        if self._write_error is not None:
            raise self._write_error
        if self._finished:
            await self._write_batch()
        for (purpose, calls), permits in self._free_permits.items():
            for day in sorted({permit.day for permit in permits}):  # a day that is over gets its own calls back
                permit_ids = [permit.permit_id for permit in permits if permit.day == day]
                await asyncio.to_thread(self.budget.for_purpose(purpose).return_permits, permit_ids, calls, day)
        self._free_permits.clear()

    async def acquire(self, calls: int, purpose: Purpose) -> Permit:
        """Wait until a request of ``calls`` calls may be sent for ``purpose``.

        Raises:
            BudgetSpent: the day's calls, less what is kept for other programs and purposes, do not suffice.
            SpendingPaused: a person paused spending.
            QuotaExhausted: this rate limiter was closed.
            ClaimLost: the request is for a claimed symbol, and another run has it now.
        """
        if self._write_error is not None:
            raise self._write_error
        kind = _PermitKind(purpose, calls)
        started_at = await self._concurrency.acquire()
        try:
            self._waiter_counts[kind] = self._waiter_counts.get(kind, 0) + 1
            try:
                free_permit = await self._take_permit(kind)
            finally:
                self._waiter_counts[kind] -= 1
            await self._confirm_claim(kind, free_permit)
        except BaseException:
            await self._concurrency.release(started_at, refused=False)
            raise
        return Permit(free_permit.permit_id, calls, purpose, started_at, free_permit.day)

    def close(self, error: QuotaExhausted) -> None:
        """Raise ``error`` for every further permit and for all waiting requests: nothing more may be sent."""
        self._quota_error = self._quota_error or error
        self._is_closed.set()

    async def release(self, permit: object, record: RequestRecord) -> None:
        """Record how a request ended; its permit leaves the rate window one window from now."""
        if not isinstance(permit, Permit):
            raise TypeError(f"not a permit of this rate limiter: {permit!r}")
        self.usage.requests += 1
        self.usage.calls += record.calls
        self.usage.rate_limited += is_rate_limited(record)
        self._finished.append((permit, record))
        trace_attempt(record)
        if record.error is not None:  # other processes may have to pause
            self._must_write.set()
        if self._write_task is None:
            self._write_task = asyncio.create_task(self._write_all())
            self._write_task.add_done_callback(self._handle_write_done)
        refused = record.status in _OVERLOAD_STATUSES or record.error in {"RateLimited", "Unreachable"}
        await self._concurrency.release(permit.started_at, refused=refused)

    async def _confirm_claim(self, kind: _PermitKind, free_permit: _FreePermit) -> None:
        """If another run has the symbol now, the permit is free for other requests."""
        try:
            await confirm_claim(free_permit.granted_at)
        except BaseException:
            self._free_permits[kind].append(free_permit)
            raise

    async def _take_permit(self, kind: _PermitKind) -> _FreePermit:
        free_permits = self._free_permits.setdefault(kind, [])
        async with self._refill_lock:
            while self._quota_error is None:
                if free_permits:
                    return free_permits.pop()
                if self._waiter_counts[kind] < _FEW_SHARE * self._concurrency.in_flight:  # others soon wait, too
                    await self._wait_until_closed(PERMIT_GATHER_SECONDS)
                wait_seconds = await self._refill(kind, free_permits)
                if not free_permits:
                    await self._wait_until_closed(min(max(wait_seconds, 0.001), self.budget.limits.window_seconds))
            raise self._quota_error

    async def _wait_until_closed(self, most_seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(most_seconds):
                await self._is_closed.wait()

    async def _refill(self, kind: _PermitKind, free_permits: list[_FreePermit]) -> float:
        """Take permits for all requests that wait for this kind; returns how long to wait if there are none."""
        budget, now, wanted = self.budget.for_purpose(kind.purpose), self.now(), self._waiter_counts[kind]
        take_task = asyncio.create_task(asyncio.to_thread(budget.take_permits, wanted, kind.calls, now))

        def add(granted: PermitGrant) -> None:
            day = now.astimezone(UTC).date()
            free_permits.extend(_FreePermit(permit, day, granted.granted_at) for permit in granted.permits)

        add(grant := await _await_despite_cancel(take_task, add))
        if grant.is_paused:
            if (pause := await asyncio.to_thread(self._read_pause)) is not None:
                raise SpendingPaused(str(pause))
            return 0.0  # it has just ended
        if not grant.permits and kind.calls and grant.calls_left < kind.calls:
            refusal = await asyncio.to_thread(budget.read_refusal, self.now())
            raise build_spent_error(kind.purpose, grant.calls_left, refusal, self.now())
        return grant.wait_seconds

    def _read_pause(self) -> SpendingPause | None:
        with self._database.transaction() as connection:
            return read_pause(connection)

    def _handle_write_done(self, task: "asyncio.Task[None]") -> None:
        self._write_task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._write_error = self._write_error or error  # raised at the next request for a permit

    async def _write_all(self) -> None:
        while self._finished:
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHER_SECONDS):
                    await self._must_write.wait()
            self._must_write.clear()
            await self._write_batch()

    async def _write_batch(self) -> None:
        batch = list(self._finished)
        await asyncio.to_thread(self._record_batch, batch)
        del self._finished[: len(batch)]

    def _record_batch(self, batch: list[tuple[Permit, RequestRecord]]) -> None:
        now = self.now()
        today = now.astimezone(UTC).date()
        for purpose in dict.fromkeys(permit.purpose for permit, _ in batch):
            part = [(permit, record) for permit, record in batch if permit.purpose is purpose]
            settlement = build_settlement(part, today, self.budget.limits.window_seconds)
            self.budget.for_purpose(purpose).settle_permits(settlement, now)
        for permit, record in batch:
            if permit.day == today and is_quota_refusal(record):
                self._record_refusal(record.vendor_message)
        log_rows = [build_log_entry(record) for _, record in batch]
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
