"""How a run goes: measure, plan, claim, probe, fetch, look up why data is absent, and measure again.

The parts come from ``backfill.engine``. What to request is decided in ``backfill.planner`` and ``backfill.probing``.
"""

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from uuid import uuid4

from backfill_assets.backfill import probing
from backfill_assets.backfill.absence.first_listings import read_first_listings
from backfill_assets.backfill.absence.run_lookups import look_up_absence
from backfill_assets.backfill.absence.unserved import release_served, set_aside_unserved
from backfill_assets.backfill.cross_feed.run import ask_other_feed
from backfill_assets.backfill.cross_feed_result import CrossFeedResult
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.fetch.address_check import AddressCheck
from backfill_assets.backfill.fetch.batch_writer import WriteContext
from backfill_assets.backfill.fetch.fetch_result import FetchResult, merge_results
from backfill_assets.backfill.fetch.fetcher import Fetcher
from backfill_assets.backfill.fetch.graceful_shutdown import run_with_graceful_shutdown
from backfill_assets.backfill.fetch.heartbeat import maintain_heartbeat
from backfill_assets.backfill.fetch.held_claims import HeldClaims
from backfill_assets.backfill.fetch.progress_tracker import ProgressTracker
from backfill_assets.backfill.fetch.quota_sync import sync_quota
from backfill_assets.backfill.fetch.request_trace import trace_run
from backfill_assets.backfill.fetch.shared_rate_limiter import SharedRateLimiter, Usage
from backfill_assets.backfill.plan_limits import PlanAnswers
from backfill_assets.backfill.planner import Plan, PlannedRequest, Strategy
from backfill_assets.backfill.plausibility.judge import judge_job
from backfill_assets.backfill.result_builder import PassResult, build_run_result
from backfill_assets.backfill.results import ProgressListener, RunResult
from backfill_assets.backfill.run_findings import record_answers, update_findings
from backfill_assets.backfill.scarce_requests import hold_back, leave_history_to_older_runs
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_errors import VendorError
from backfill_assets.store.bars.bar_writer import read_server_time
from backfill_assets.store.bars.interval_spellings import find_interval_spelling
from backfill_assets.store.census.upkeep import keep_census
from backfill_assets.store.quota.request_log import delete_old_requests
from backfill_assets.store.runs import RunMetrics, finish_run, start_run
from backfill_assets.tracing import PLAN, PROOF, get_current_span, traced


def run_backfill(
    engine: Engine, job: BackfillJob, on_progress: ProgressListener, later: Sequence[BackfillJob] = ()
) -> RunResult:
    """Carry out the job and return what the store contains afterwards.

    Ends early, with the fetched bars stored, when the vendor refuses the token or the day's calls are used up
    (``RunResult.stopped``).

    Args:
        engine: the parts to work with.
        job: what to do.
        on_progress: receives a report for each ticker.
        later: jobs of other exchanges that follow; when calls are scarce, some are left to them.

    Raises:
        TokenRefused: no token is set.
        UsageError: the database contains bars of another host.
        DatabaseUnavailable: the database is gone; what was stored stays.
    """
    run = _BackfillRun(engine, job, on_progress, later)
    interval, window = job.interval.name, job.window.description
    with trace_run(run.run_id, exchange=job.market.exchange, interval=interval, window=window):
        return run.execute()


class _BackfillRun:
    """One run of a job; call ``execute`` once."""

    def __init__(
        self, engine: Engine, job: BackfillJob, on_progress: ProgressListener, later: Sequence[BackfillJob]
    ) -> None:
        self._engine = engine
        self._job = job
        self._on_progress = on_progress
        self._later = later
        self.run_id = uuid4()
        self._usage = Usage()
        self._fetched = FetchResult()  # of all passes: one pass does not disprove the remarks of another
        self._daily_answers = PlanAnswers()
        self._cross_feed = CrossFeedResult()

    def execute(self) -> RunResult:
        started = time.monotonic()
        self._engine.create_budget()  # raises without a token, even if there is nothing to request
        self._engine.require_matching_host()
        release_served(self._engine.database, (), self._engine.settings.now())
        coverage, plan, server_clock = self._measure_and_plan()
        if read_first_listings(self._engine, self._job, coverage, plan, self._usage):
            coverage, plan, server_clock = self._measure_and_plan()
        passes, after = PassResult(FetchResult()), coverage
        if plan.requests:
            passes, after, plan = self._execute_recorded(coverage, plan, server_clock)
        elif judge_job(self._engine, self._job).has_changed:
            after = self._engine.measure(self._job, trust_census=False)
        is_read_anew = self._job.force and not self._job.user_selected and passes.is_complete
        update_findings(self._engine, self._job, after, is_read_anew=is_read_anew)
        mixed_feeds = self._engine.find_mixed_feeds(after) if plan.requests else None
        seconds = time.monotonic() - started
        result = build_run_result(self._job, plan, coverage, after, passes, self._usage, seconds)
        return replace(result, mixed_feeds=mixed_feeds, cross_feed=self._cross_feed)

    def _execute_recorded(
        self, coverage: Coverage, plan: Plan, server_clock: datetime
    ) -> tuple[PassResult, Coverage, Plan]:
        """Execute the plan between the start and the end of the run's record in the store.

        Returns:
            What came of it, the coverage then, and what of the plan was not left to others.
        """
        with self._engine.database.transaction() as connection:
            delete_old_requests(connection)
            description, vendor_access = self._job.window.description, self._engine.vendor_access
            start_run(connection, self.run_id, description, len(plan.requests), vendor_access)
        outcome, metrics = "failed", None
        try:
            plan = leave_history_to_older_runs(self._engine, self._job, coverage, plan, self.run_id)
            passes = self._run_passes(coverage, plan, server_clock)
            after = self._measure_after(passes)
            outcome = "stopped" if passes.fetched.stopped else "finished"
            metrics = self._build_metrics(coverage, after, passes)
        except DatabaseUnavailable:
            outcome = ""  # cannot be recorded; the next run finds that this process is gone
            raise
        except Exception:
            raise
        except BaseException:  # Ctrl-C, or Dagster's Terminate
            outcome = "interrupted"
            raise
        finally:
            if outcome:
                self._finish(outcome, metrics)
        return passes, after, plan

    @traced(PROOF)
    def _measure_after(self, passes: PassResult) -> Coverage:
        """What the store contains now; bars are judged, and symbols that the vendor does not serve set aside first."""
        for interval in (self._job.interval, *self._job.stored_as):
            judge_job(self._engine, replace(self._job, interval=interval))
        after = self._engine.measure(self._job, trust_census=False)
        if not passes.fetched.stopped and set_aside_unserved(self._engine.database, after):
            return self._engine.measure(self._job, trust_census=False)
        return after

    def _finish(self, outcome: str, metrics: RunMetrics | None) -> None:
        get_current_span().set(run_id=str(self.run_id), outcome=outcome, **asdict(self._usage))
        database = self._engine.database
        database.retry_transaction(lambda connection: finish_run(connection, self.run_id, outcome, metrics))
        keep_census(database)

    def _build_metrics(self, before: Coverage, after: Coverage, passes: PassResult) -> RunMetrics:
        missing = int(before.missing.sum()), int(after.missing.sum())
        return RunMetrics(*missing, inserted=passes.fetched.written.inserted, calls=self._usage.calls)

    def _run_passes(self, coverage: Coverage, plan: Plan, server_clock: datetime) -> PassResult:
        """Execute the plan; with the hybrid strategy, request once more what failed for a passing reason."""
        grace = self._engine.settings.stop_seconds
        first = run_with_graceful_shutdown(self._run_pass(coverage, plan, server_clock), grace)
        failed_ids = first.fetched.repeatable_ids
        is_repeated = self._job.strategy is Strategy.HYBRID and 0 < len(failed_ids) < len(first.fetched.outcomes)
        if not is_repeated or first.fetched.stopped:
            return first
        coverage, plan, server_clock = self._measure_and_plan(failed_ids)
        return first.add_later_pass(run_with_graceful_shutdown(self._run_pass(coverage, plan, server_clock), grace))

    @traced(PLAN)
    def _measure_and_plan(self, symbol_ids: frozenset[int] | None = None) -> tuple[Coverage, Plan, datetime]:
        """The coverage, the plan for all symbols or for ``symbol_ids``, and the database's time before measuring."""
        with self._engine.database.transaction() as connection:
            server_clock = read_server_time(connection)
        coverage = self._engine.measure(self._job, trust_census=False)
        plan = hold_back(self._engine, self._job, coverage, self._engine.plan(self._job, coverage), self._later)
        if symbol_ids is not None:
            requests = tuple(request for request in plan.requests if request.symbol.symbol_id in symbol_ids)
            plan = replace(plan, requests=requests, deferred_until={})
        return coverage, plan, server_clock

    async def _run_pass(self, coverage: Coverage, plan: Plan, server_clock: datetime) -> PassResult:
        async with self._engine.open_vendor_client(self._job.purpose, self.run_id, self._usage) as (
            rate_limiter,
            client,
        ):
            try:
                has_account = await sync_quota(client, rate_limiter.budget, self._engine.settings.now())
            except VendorError as error:
                return PassResult(FetchResult(stopped=error))
            address = AddressCheck(self._engine.settings.base_url, has_account=has_account)
            claims = self._engine.create_claims(self.run_id, self._job.interval)
            fetcher, progress = self._build_fetcher(plan, claims, rate_limiter, client, server_clock, address)
            async with maintain_heartbeat(claims, rate_limiter, client):
                planned_ids = {request.symbol.symbol_id for request in plan.requests}
                claimed_ids = await claims.claim(planned_ids, server_clock)
                requests = [request for request in plan.requests if request.symbol.symbol_id in claimed_ids]
                fetched, awaiting = await self._fetch(fetcher, progress, requests, coverage)
                fetched = replace(fetched, stopped=fetched.stopped or address.find_fault())
                self._fetched = merge_results([self._fetched, fetched])
                record_answers(self._engine, self._job, plan, fetched, self._fetched, rate_limiter.now())
                if not fetched.stopped and address.is_confirmed:
                    lookups = look_up_absence(self._engine, self._job, client, self._daily_answers)
                    fetched = replace(fetched, stopped=await lookups)
                if not fetched.stopped and address.is_confirmed:
                    fetched = replace(fetched, stopped=await self._ask_other_feed(client, fetched.outcomes, claims))
        return PassResult(fetched, fetcher.claimed_elsewhere | (planned_ids - claimed_ids), awaiting)

    async def _fetch(
        self, fetcher: Fetcher, progress: ProgressTracker, requests: Sequence[PlannedRequest], coverage: Coverage
    ) -> tuple[FetchResult, frozenset[int]]:
        """Send the requests, tentative ones in blocks; returns also the symbol_ids that were left out."""
        if self._job.force or self._job.user_selected:
            return await self._fetch_in_batches(fetcher, progress, requests), frozenset()
        certain, tentative = probing.split_requests(requests, coverage)
        fetched = await self._fetch_in_batches(fetcher, progress, certain)
        blocks, keep_probing = probing.build_blocks(tentative, coverage), probing.is_probe_due(coverage)
        while keep_probing and blocks and not fetched.stopped:
            block = blocks.pop(0)
            fetched = merge_results([fetched, await self._fetch_in_batches(fetcher, progress, block)])
            came = sum((asked.symbol.symbol_id, asked.last_session) in fetched.published_sessions for asked in block)
            asked = [request for request in block if request.symbol.symbol_id not in fetcher.claimed_elsewhere]
            keep_probing = probing.has_enough_come(came, asked, coverage)
        held_back = [] if fetched.stopped else blocks
        return fetched, frozenset(request.symbol.symbol_id for block in held_back for request in block)

    async def _fetch_in_batches(
        self, fetcher: Fetcher, progress: ProgressTracker, requests: Sequence[PlannedRequest]
    ) -> FetchResult:
        size = self._job.batch_size or max(1, len(requests))
        batches = [requests[start : start + size] for start in range(0, len(requests), size)]
        results: list[FetchResult] = []
        for number, batch in enumerate(batches, 1):
            progress.start_batch(batch, number, len(batches))
            results.append(await fetcher.fetch_all(batch, min(size, self._engine.settings.in_flight_max)))
            if results[-1].stopped:
                break
            if number < len(batches):
                await asyncio.sleep(self._job.batch_delay_seconds)
        return merge_results(results)

    async def _ask_other_feed(
        self, client: VendorClient, outcomes: Collection[int], claims: HeldClaims
    ) -> VendorError | None:
        """Ask the vendor's other feed what is open; returns the error that stops the run, if there is one."""
        try:
            self._cross_feed += await ask_other_feed(self._engine, self._job, client, outcomes, claims)
        except VendorError as error:
            return error
        return None

    def _build_fetcher(
        self,
        plan: Plan,
        claims: HeldClaims,
        rate_limiter: SharedRateLimiter,
        client: VendorClient,
        server_clock: datetime,
        address: AddressCheck,
    ) -> tuple[Fetcher, ProgressTracker]:
        job, settings = self._job, self._engine.settings
        with self._engine.database.transaction() as connection:
            spelling, *others = [
                find_interval_spelling(connection, interval) for interval in (job.interval, *job.stored_as)
            ]
        context = WriteContext(
            *(plan, job.source_interval, spelling, settings.vendor_host, settings.now()),
            replace_other_feed=job.replace_other_feed,
        )
        along = [context.convert(*pair) for pair in zip(job.stored_as, others, strict=True)]
        tickers = {request.symbol.symbol_id for request in plan.requests}
        progress = ProgressTracker(self._on_progress, len(tickers), self._usage)
        fetcher = Fetcher(
            database=self._engine.database,
            contexts=(context, *along),
            run_id=self.run_id,
            claims=claims,
            rate_limiter=rate_limiter,
            client=client,
            progress=progress,
            server_clock=server_clock,
            address=address,
        )
        return fetcher, progress
