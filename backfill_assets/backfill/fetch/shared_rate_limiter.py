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

from backfill_assets.backfill.fetch.concurrency import Flight
from backfill_assets.eodhd.errors import QuotaExhausted
from backfill_assets.eodhd.rate_limiter import Exchange
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, Settled, resets_at
from backfill_assets.store.quota.request_log import Request, log_requests

_REFUSALS = {429, 500, 502, 503, 504}
T = TypeVar("T")
PAUSE_SHARE = 1 / 6  # of the rate window, after a 429 that names no time of its own


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave for one attempt; ``began`` is the loop's own time."""

    permit_id: int
    calls: int
    began: float
    day: date


@dataclass(slots=True)
class Spent:
    """What a run spent so far."""

    requests: int = 0
    calls: int = 0
    rate_limited: int = 0
    seconds_waited: float = 0.0


@dataclass(frozen=True, eq=False)
class Pacer:
    """A ``Gate`` over the budget in Postgres; use as an async context manager."""

    budget: Budget
    database: Database
    flight: Flight
    now: Callable[[], datetime]
    run_id: UUID | None = None
    spent: Spent = field(default_factory=Spent)
    _stock: dict[int, list[int]] = field(default_factory=dict)
    _waiting: dict[int, int] = field(default_factory=dict)
    _refill: asyncio.Lock = field(default_factory=asyncio.Lock)
    _done: list[tuple[Permit, Exchange]] = field(default_factory=list)
    _failures: list[BaseException] = field(default_factory=list)
    _closed: list[QuotaExhausted] = field(default_factory=list)
    _writers: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> "Pacer":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write down what is settled and return permits that nobody used."""
        while self._writers:
            await asyncio.gather(*self._writers, return_exceptions=True)
        if self._failures:
            raise self._failures[0]
        if self._done:
            await self._write()
        for calls, permits in self._stock.items():
            if permits:
                await asyncio.to_thread(self.budget.give_back, permits, calls, self.now())
        self._stock.clear()

    async def admit(self, calls: int) -> Permit:
        """Wait until a request of ``calls`` calls may be sent.

        Raises:
            QuotaExhausted: the day's calls, less the collector's reserve, do not afford it.
        """
        if self._failures:
            raise self._failures[0]
        began = await self.flight.enter()
        try:
            self._waiting[calls] = self._waiting.get(calls, 0) + 1
            try:
                permit_id = await self._take(calls)
            finally:
                self._waiting[calls] -= 1
        except BaseException:
            await self.flight.leave(began, refused=False)
            raise
        return Permit(permit_id, calls, began, self.now().astimezone(UTC).date())

    def close(self, error: QuotaExhausted) -> None:
        """Admit nobody any more, not even those who wait: the vendor says that the day's calls are gone."""
        self._closed.append(error)

    async def settle(self, permit: object, exchange: Exchange) -> None:
        """Take note of how it went; the permit leaves the rate window one window from now."""
        if not isinstance(permit, Permit):
            raise TypeError(f"not a permit of this gate: {permit!r}")
        self.spent.requests += 1
        self.spent.calls += exchange.calls
        self.spent.rate_limited += exchange.status == 429
        self._done.append((permit, exchange))
        if not self._writers:
            task = asyncio.create_task(self._write_all())
            self._writers.add(task)
            task.add_done_callback(self._written)
        refused = exchange.status in _REFUSALS or exchange.error == "Unreachable"
        await self.flight.leave(permit.began, refused=refused)

    async def _take(self, calls: int) -> int:
        stock = self._stock.setdefault(calls, [])
        window = self.budget.limits.window_seconds
        async with self._refill:
            if self._closed:
                raise self._closed[0]
            while not stock:
                wanted = self._waiting[calls]
                taking = asyncio.create_task(asyncio.to_thread(self.budget.take, wanted, calls, self.now()))
                grant = await _even_if_cancelled(taking, lambda g: stock.extend(g.permits))
                stock.extend(grant.permits)
                if stock:
                    break
                if calls and grant.calls_left < calls:
                    self._refuse(grant.calls_left)
                wait = min(max(grant.wait_seconds, 0.001), window)
                self.spent.seconds_waited += wait
                await asyncio.sleep(wait)
            return stock.pop()

    def _refuse(self, left: int) -> None:
        raise QuotaExhausted(
            f"the day's calls are spent but for the collector's reserve: {max(0, left)} are left for "
            f"{self.budget.purpose} until {resets_at(self.now()):%Y-%m-%d %H:%M} UTC"
        )

    def _written(self, task: "asyncio.Task[None]") -> None:
        self._writers.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failures.append(error)  # told to whoever wants a permit next

    async def _write_all(self) -> None:
        while self._done:
            await self._write()

    async def _write(self) -> None:
        batch = list(self._done)
        await asyncio.to_thread(self._record, batch)
        del self._done[: len(batch)]

    def _record(self, batch: list[tuple[Permit, Exchange]]) -> None:
        window, today = self.budget.limits.window_seconds, self.now().astimezone(UTC).date()
        exchanges = [exchange for _, exchange in batch]
        newest = max(
            (e for e in exchanges if e.rate_remaining is not None and e.rate_limit is not None),
            key=lambda e: e.started_at.timestamp() + e.seconds,
            default=None,
        )
        pauses = [e.retry_after or window * PAUSE_SHARE for e in exchanges if e.status == 429]
        self.budget.settle(
            Settled(
                permits=[permit.permit_id for permit, _ in batch],
                # what was granted before midnight belongs to a ledger that is closed
                refund=sum(permit.calls - exchange.calls for permit, exchange in batch if permit.day == today),
                rate_limit=newest.rate_limit if newest else None,
                rate_remaining=newest.rate_remaining if newest else None,
                pause_seconds=max(pauses, default=0.0),
            ),
            self.now(),
        )
        logged = [_logged(exchange) for exchange in exchanges]
        self.database.persistently(lambda connection: log_requests(connection, self.run_id, logged))


async def _even_if_cancelled(task: "asyncio.Task[T]", keep: Callable[[T], None]) -> T:
    """Await ``task``; if the waiter is cancelled meanwhile, let it end and ``keep`` its result."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        keep(await task)
        raise


def _logged(exchange: Exchange) -> Request:
    return Request(
        at=exchange.started_at.astimezone(UTC),
        endpoint=exchange.endpoint,
        ticker=exchange.ticker,
        status=exchange.status,
        error=exchange.error,
        calls=exchange.calls,
        rows=exchange.rows,
        size=exchange.size,
        seconds=exchange.seconds,
    )
