"""Carry out asks: fetch concurrently, store in batches as answers come, stop where going on is pointless."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from backfill_assets.backfill.fetch.batch_writer import NO_ROWS, BatchResult, FetchedRows, WriteContext, write_batch
from backfill_assets.backfill.fetch.graceful_shutdown import await_shielded
from backfill_assets.backfill.fetch.shared_rate_limiter import SharedRateLimiter
from backfill_assets.backfill.planner import PlannedRequest
from backfill_assets.backfill.results import Progress, ProgressListener, TickerOutcome
from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.eodhd.errors import QuotaExhausted, TickerRefused, TransientError, UnknownTicker, VendorError
from backfill_assets.store.bars.bar_writer import WriteCounts
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.runs import record_heartbeat

WRITE_BATCH_SIZE = 48  # answers stored in one transaction, at most: as many as are in flight by default
WRITE_BATCH_ROWS = 500_000  # vendor rows in one transaction, about
MAX_CONSECUTIVE_FAILURES = 20  # tickers in a row that fail after all their attempts before a run is given up
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """An ask that ended in an error."""

    request: PlannedRequest
    error: VendorError


ResultQueue: TypeAlias = "asyncio.Queue[FetchedRows | FailedRequest | None]"


@dataclass(eq=False)
class Fetcher:
    """One pass over a plan's asks; afterwards its fields say what came of it."""

    database: Database
    context: WriteContext
    run_id: UUID
    rate_limiter: SharedRateLimiter
    client: EodhdClient
    on_progress: ProgressListener
    server_clock: datetime
    total_tickers: int
    outcomes: dict[int, TickerOutcome] = field(default_factory=dict)
    written: WriteCounts = field(default_factory=WriteCounts)
    rejected: int = 0
    published_sessions: set[tuple[int, int]] = field(default_factory=set)
    off_calendar_days: Counter[date] = field(default_factory=Counter)
    stopped: VendorError | None = None
    batch: tuple[int, int] = (1, 1)
    _started: float = field(default_factory=time.monotonic)
    _consecutive_failures: int = 0
    _capacity: asyncio.Semaphore = field(default_factory=asyncio.Semaphore)
    _requested_at: dict[PlannedRequest, datetime] = field(default_factory=dict)
    _outstanding: Counter[int] = field(default_factory=Counter)

    async def fetch_all(self, requests: Sequence[PlannedRequest], in_flight: int) -> None:
        """Ask for everything; ends early, with ``stopped`` set, when the run cannot go on.

        An ask is in flight until its answer is stored, so that a killed run loses ``in_flight`` of them at most.
        What was fetched is stored however this ends, cancellation included.
        """
        self._outstanding.update(request.symbol.symbol_id for request in requests)
        self._capacity = asyncio.Semaphore(in_flight)
        results: ResultQueue = asyncio.Queue()
        store_task = asyncio.create_task(self._store_results(results))
        fetch_task = asyncio.create_task(self._fetch_concurrently(requests, in_flight, results))
        try:
            await asyncio.wait({store_task, fetch_task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            failure = await _cancel_and_wait(fetch_task)
            results.put_nowait(None)
            await await_shielded(store_task)
        if failure is not None:
            raise failure

    async def _fetch_concurrently(
        self, requests: Sequence[PlannedRequest], in_flight: int, results: ResultQueue
    ) -> None:
        remaining = iter(requests)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(in_flight, len(requests))):
                    group.create_task(self._run_worker(remaining, results))
        except* _StopFetching:
            _log.info("stopped asking: %s", self.stopped)

    async def _run_worker(self, remaining: Iterator[PlannedRequest], results: ResultQueue) -> None:
        for request in remaining:
            await self._capacity.acquire()
            if self.stopped is not None:
                self._capacity.release()
                return
            self._requested_at[request] = self.server_clock + timedelta(seconds=time.monotonic() - self._started)
            try:
                rows = await self.client.fetch_intraday(
                    str(request.symbol.ticker), self.context.source_interval.name, request.start, request.end
                )
            except VendorError as error:
                if error.stops_run:
                    self._capacity.release()
                else:
                    results.put_nowait(FailedRequest(request, error))
                self._stop_if_hopeless(error)
            else:
                self._consecutive_failures = 0
                results.put_nowait(FetchedRows(request, rows))

    def _stop_if_hopeless(self, error: VendorError) -> None:
        """Stop asking where that is pointless; requests under way are paid for unless nobody answers."""
        self._consecutive_failures = self._consecutive_failures + 1 if isinstance(error, TransientError) else 0
        if error.stops_run or self._consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
            self.stopped = self.stopped or error
            if not isinstance(error, QuotaExhausted):
                raise _StopFetching
            self.rate_limiter.close(error)

    async def _store_results(self, results: ResultQueue) -> None:
        has_more = True
        while has_more:
            batch = [await results.get()]
            while len(batch) < WRITE_BATCH_SIZE and _count_rows(batch) < WRITE_BATCH_ROWS and not results.empty():
                batch.append(results.get_nowait())
            has_more = None not in batch
            await self._store_batch([item for item in batch if item is not None])

    async def _store_batch(self, batch: Sequence[FetchedRows | FailedRequest]) -> None:
        failures = [item for item in batch if isinstance(item, FailedRequest)]
        empty = [
            FetchedRows(f.request, NO_ROWS) for f in failures if isinstance(f.error, UnknownTicker | TickerRefused)
        ]
        fetched = [item for item in batch if isinstance(item, FetchedRows)]
        result = await asyncio.to_thread(self._write_batch, [*fetched, *empty])
        for _ in batch:
            self._capacity.release()
        for fetched_rows in fetched:
            self._report_outcome(fetched_rows.request, _build_outcome(fetched_rows.request, result))
        for failure in failures:
            self._report_outcome(
                failure.request, TickerOutcome(failure.request.symbol.ticker, "error", error=failure.error)
            )

    def _write_batch(self, fetched: Sequence[FetchedRows]) -> BatchResult:
        if not fetched:
            return BatchResult({}, frozenset(), frozenset(), {}, 0, 0)
        result = self.database.retry_transaction(lambda connection: self._write_in_transaction(connection, fetched))
        self.written = sum(result.counts.values(), self.written)
        self.rejected += result.rejected
        self.published_sessions |= result.published_sessions
        self.off_calendar_days.update(result.off_calendar_days)
        return result

    def _write_in_transaction(self, connection: Connection, fetched: Sequence[FetchedRows]) -> BatchResult:
        result = write_batch(connection, self.context, fetched, min(self._requested_at[a.request] for a in fetched))
        record_heartbeat(connection, self.run_id)
        return result

    def _report_outcome(self, request: PlannedRequest, outcome: TickerOutcome) -> None:
        symbol_id = request.symbol.symbol_id
        self.outcomes[symbol_id] = outcome = outcome.merge_with(self.outcomes.get(symbol_id))
        self._outstanding[symbol_id] -= 1
        self.on_progress(
            Progress(
                done=sum(self._outstanding[other] <= 0 for other in self.outcomes),
                tickers=self.total_tickers,
                bars=self.written.stored,
                calls=self.rate_limiter.usage.calls,
                outcome=outcome,
                batch=self.batch[0],
                batches=self.batch[1],
            )
        )


class _StopFetching(Exception):  # noqa: N818 - tells the other workers, nothing else
    pass


def _count_rows(batch: Sequence[FetchedRows | FailedRequest | None]) -> int:
    return sum(len(item.rows) for item in batch if isinstance(item, FetchedRows))


def _build_outcome(request: PlannedRequest, result: BatchResult) -> TickerOutcome:
    counts = result.counts.get(request.symbol.symbol_id, WriteCounts())
    if counts.stored:
        return TickerOutcome(request.symbol.ticker, "stored", counts.stored)
    is_empty = request.symbol.symbol_id in result.empty_symbol_ids
    return TickerOutcome(request.symbol.ticker, "not published" if is_empty else "nothing new")


async def _cancel_and_wait(task: "asyncio.Task[None]") -> Exception | None:
    """Cancel a task if it is still at work, wait for it, and say what it failed with."""
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    while isinstance(result, ExceptionGroup):
        result = result.exceptions[0]
    return result if isinstance(result, Exception) else None
