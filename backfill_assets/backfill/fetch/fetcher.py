"""Fetches planned requests concurrently and stores the responses in batches; stops when more requests are pointless.

What a batch writes is in ``fetch.batch_writer``. Which requests are sent, and in what order, is decided in
``backfill.runner``.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from backfill_assets.backfill.fetch.address_check import AddressCheck
from backfill_assets.backfill.fetch.batch_writer import (
    NO_ROWS,
    BatchResult,
    FetchedRows,
    WriteContext,
    write_batches,
)
from backfill_assets.backfill.fetch.fetch_result import FetchResult, merge_outcomes, merge_results, merge_warnings
from backfill_assets.backfill.fetch.graceful_shutdown import await_shielded
from backfill_assets.backfill.fetch.held_claims import ClaimLost, HeldClaims
from backfill_assets.backfill.fetch.progress_tracker import ProgressTracker
from backfill_assets.backfill.fetch.request_trace import trace_request
from backfill_assets.backfill.fetch.response_queue import FailedRequest, Response, ResponseQueue, bound_rows
from backfill_assets.backfill.fetch.shared_rate_limiter import SharedRateLimiter
from backfill_assets.backfill.listed_requests import ask_one_of
from backfill_assets.backfill.plan_limits import PlanReach, build_reach, merge_reaches
from backfill_assets.backfill.planner import PlannedRequest
from backfill_assets.backfill.results import TickerOutcome
from backfill_assets.market.vendor import IntradayRows, VendorClient
from backfill_assets.market.vendor_errors import (
    QuotaExhausted,
    TransientError,
    VendorError,
)
from backfill_assets.store.bars.bar_writer import WriteCounts
from backfill_assets.store.postgres.connection import Connection, Database
from backfill_assets.store.runs import record_heartbeat
from backfill_assets.tracing import STORE, trace

MAX_CONSECUTIVE_FAILURES = 20  # requests in a row that fail after all their attempts; then the run stops
_log = logging.getLogger(__name__)


class Fetcher:
    """Carries out the requests of one pass over a plan; ``fetch_all`` may be called several times, not at once."""

    def __init__(
        self,
        *,
        database: Database,
        contexts: Sequence[WriteContext],
        run_id: UUID,
        claims: HeldClaims,
        rate_limiter: SharedRateLimiter,
        client: VendorClient,
        progress: ProgressTracker,
        server_clock: datetime,
        address: AddressCheck,
    ) -> None:
        self._database = database
        self._contexts, self._context = contexts, contexts[0]  # of the plan's interval, and of those stored with it
        self._run_id = run_id
        self._claims = claims
        self._rate_limiter = rate_limiter
        self._client = client
        self._progress = progress
        self._address = address
        self._doubtful: list[FailedRequest] = []  # refusals that wait until the address is known to be the vendor's
        self._server_clock = server_clock  # the database's time when this fetcher was made
        self._started = time.monotonic()
        self._requested_at: dict[PlannedRequest, datetime] = {}
        self._consecutive_failures = 0
        self._stopped: VendorError | None = None
        self.claimed_elsewhere: frozenset[int] = frozenset()  # symbol_ids left to a run that has claimed them since

    async def fetch_all(self, requests: Sequence[PlannedRequest], in_flight: int) -> FetchResult:
        """Fetch and store ``requests``; ends early, with ``stopped`` set, when the run cannot continue.

        A request counts as in flight until its response is stored, so that a killed run loses at most ``in_flight`` of
        them. Responses that have arrived are stored however this ends, cancellation included.
        """
        responses = ResponseQueue(in_flight)
        store_task = asyncio.create_task(self._store_responses(responses))
        fetch_task = asyncio.create_task(self._fetch_concurrently(requests, in_flight, responses))
        try:
            await asyncio.wait({store_task, fetch_task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            failure = await _cancel_and_wait(fetch_task)
            responses.close()
            stored = await await_shielded(store_task)
        if failure is not None:
            raise failure
        return replace(merge_results(stored), stopped=self._stopped)

    async def _fetch_concurrently(
        self, requests: Sequence[PlannedRequest], in_flight: int, responses: "ResponseQueue"
    ) -> None:
        remaining = iter(requests)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(in_flight, len(requests))):
                    group.create_task(self._run_worker(remaining, responses))
        except* _StopFetching:
            _log.info("stopped sending requests: %s", self._stopped)

    async def _run_worker(self, remaining: Iterator[PlannedRequest], responses: "ResponseQueue") -> None:
        for request in remaining:
            await responses.reserve(
                request, bound_rows(request, self._context.plan.grid, self._context.source_interval)
            )
            if self._stopped is not None:
                responses.release(request)
                return
            self._requested_at[request] = self._server_clock + timedelta(seconds=time.monotonic() - self._started)
            with trace_request(request, self._context.plan) as span:
                try:
                    with self._claims.require(request.symbol.symbol_id):
                        rows = await ask_one_of(request.tickers, partial(self._fetch_rows, request))
                except ClaimLost:
                    self.claimed_elsewhere |= {request.symbol.symbol_id}
                    responses.release(request)
                except VendorError as error:
                    span.fail(type(error).__name__)
                    self._address.record_error(error)
                    if error.stops_run:
                        responses.release(request)
                    else:
                        responses.put(FailedRequest(request, error))
                    self._stop_if_hopeless(error)
                else:
                    span.set(rows=len(rows))
                    self._consecutive_failures = 0
                    self._address.record_answer()
                    responses.put(FetchedRows(request, rows))

    async def _fetch_rows(self, request: PlannedRequest, ticker: str) -> IntradayRows:
        interval = self._context.source_interval.name
        return await self._client.fetch_intraday(ticker, interval, request.start, request.end)

    def _stop_if_hopeless(self, error: VendorError) -> None:
        """Stop when further requests are pointless.

        When the quota is used up, requests in flight are already paid for, so they are awaited; otherwise they are
        cancelled.
        """
        self._consecutive_failures = self._consecutive_failures + 1 if isinstance(error, TransientError) else 0
        if self._address.is_hopeless:
            self._stopped = self._stopped or self._address.find_fault()
            raise _StopFetching
        if error.stops_run or self._consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
            self._stopped = self._stopped or error
            if not isinstance(error, QuotaExhausted):
                raise _StopFetching
            self._rate_limiter.close(error)

    async def _store_responses(self, responses: "ResponseQueue") -> list[FetchResult]:
        results, has_more = [], True
        while has_more:
            batch, has_more = await responses.get_batch()
            results.append(await self._store_batch(batch))
            responses.release(*(item.request for item in batch))
        return results

    async def _store_batch(self, batch: Sequence[Response]) -> FetchResult:
        failures = [item for item in batch if isinstance(item, FailedRequest)]
        fetched = [item for item in batch if isinstance(item, FetchedRows)]
        trusted = self._take_trusted_failures(failures)
        empty = [FetchedRows(f.request, NO_ROWS) for f in trusted if f.error.scope == "ticker"]
        with trace(STORE, answers=len(fetched), failures=len(failures)) as span:
            written = await asyncio.to_thread(self._write, [*fetched, *empty])
            span.set(bars=sum(counts.stored for counts in written.counts.values()))
        answered = [(item.request.symbol.symbol_id, _build_outcome(item.request, written)) for item in fetched]
        result = FetchResult(
            outcomes=merge_outcomes([*answered, *map(_build_error_outcome, failures)]),
            written=sum(written.counts.values(), WriteCounts()),
            rejected=written.rejected,
            refusals=written.refusals,
            vendor_warnings=merge_warnings(
                (item.rows.warning, frozenset([item.request.symbol.ticker])) for item in fetched if item.rows.warning
            ),
            reaches=self._collect_reaches(fetched),
            published_sessions=written.published_sessions,
            off_calendar_days=written.off_calendar_days,
        )
        self._progress.add_bars(result.written.stored)
        for symbol_id, outcome in [*answered, *map(_build_error_outcome, trusted)]:
            self._progress.report(symbol_id, outcome)
        return result

    def _take_trusted_failures(self, failures: Sequence[FailedRequest]) -> list[FailedRequest]:
        """The failures that say something about their ticker; earlier refusals once the address is confirmed.

        Refusals of ticker scope are evidence that the ticker has no rows.
        """
        waiting = [*self._doubtful, *failures]
        self._doubtful = [f for f in waiting if self._address.is_doubtful(f.error)]
        return [f for f in waiting if not self._address.is_doubtful(f.error)]

    def _collect_reaches(self, fetched: Sequence[FetchedRows]) -> Mapping[str, PlanReach]:
        return merge_reaches(
            (
                item.request.symbol.ticker.exchange,
                build_reach(
                    item.request.start,
                    int(item.rows.timestamp.min()) if len(item.rows) else None,
                    self._context.now,
                    is_limited=item.rows.warning is not None,
                ),
            )
            for item in fetched
            if len(item.rows) or item.rows.warning
        )

    def _write(self, fetched: Sequence[FetchedRows]) -> BatchResult:
        """Write a batch in one transaction; runs in a thread."""
        if not fetched:
            return BatchResult()
        requested_at = min(self._requested_at[item.request] for item in fetched)

        def write_in_transaction(connection: Connection) -> BatchResult:
            result = write_batches(connection, self._contexts, fetched, requested_at)
            record_heartbeat(connection, self._run_id)
            return result

        return self._database.retry_transaction(write_in_transaction)


class _StopFetching(Exception):  # noqa: N818 - ends the other workers of the group, nothing else
    pass


def _build_outcome(request: PlannedRequest, written: BatchResult) -> TickerOutcome:
    counts = written.counts.get(request.symbol.symbol_id, WriteCounts())
    if counts.stored:
        return TickerOutcome(request.symbol.ticker, "stored", counts.stored)
    is_empty = request.symbol.symbol_id in written.empty_symbol_ids
    return TickerOutcome(request.symbol.ticker, "not published" if is_empty else "nothing new")


def _build_error_outcome(failure: FailedRequest) -> tuple[int, TickerOutcome]:
    symbol = failure.request.symbol
    return symbol.symbol_id, TickerOutcome(symbol.ticker, "error", error=failure.error)


async def _cancel_and_wait(task: "asyncio.Task[None]") -> Exception | None:
    """Cancel a task that is still running, wait for it, and return the exception it failed with."""
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    while isinstance(result, ExceptionGroup):
        result = result.exceptions[0]
    return result if isinstance(result, Exception) else None
