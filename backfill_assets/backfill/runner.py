"""How a run goes: claim, probe, ask, explain, and prove.

The parts come from ``engine``; what to ask is ``plan``'s, how to fetch and store is ``pursuit``'s.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias
from uuid import uuid4

import numpy as np

from backfill_assets.backfill import absence_lookup, probing
from backfill_assets.backfill.fetch.batch_writer import WriteContext
from backfill_assets.backfill.fetch.fetcher import Fetcher
from backfill_assets.backfill.fetch.graceful_shutdown import run_with_graceful_shutdown
from backfill_assets.backfill.fetch.heartbeat import maintain_heartbeat
from backfill_assets.backfill.fetch.quota_sync import sync_quota
from backfill_assets.backfill.fetch.shared_rate_limiter import SharedRateLimiter, Usage
from backfill_assets.backfill.planner import Plan, PlannedRequest, Strategy
from backfill_assets.backfill.results import ProgressListener, RunResult, SlotCounts, TickerOutcome
from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.eodhd.errors import TransientError, VendorError
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.arrays import Int64
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import UNSETTLED_STATES, SlotState
from backfill_assets.store.bars.bar_writer import WriteCounts, find_interval_spelling, read_server_time
from backfill_assets.store.quota.request_log import delete_old_requests
from backfill_assets.store.runs import RunMetrics, claim_symbols, finish_run, start_run

if TYPE_CHECKING:
    from backfill_assets.backfill.engine import BackfillJob, Engine

Int64: TypeAlias = Int64


class BackfillRun:
    """One run of a job; ``go`` once."""

    def __init__(self, engine: "Engine", job: "BackfillJob", on_progress: ProgressListener) -> None:
        self.engine = engine
        self.job = job
        self.on_progress = on_progress
        self.run_id = uuid4()
        self.usage = Usage()
        self.outcomes: dict[int, TickerOutcome] = {}
        self.written = WriteCounts()
        self.rejected = 0
        self.claimed_elsewhere = 0
        self.awaiting_publication = 0
        self.stopped: VendorError | None = None

    def execute(self) -> RunResult:
        """Measure, plan, claim, ask, store, measure again."""
        started = time.monotonic()
        self.engine.create_budget()  # without a token there is no run, not even one with nothing to ask
        self.engine.require_matching_host()
        coverage, plan, server_clock = self._measure_and_plan()
        if not plan.requests:
            return self._build_result(coverage, coverage, plan, time.monotonic() - started)
        with self.engine.database.transaction() as connection:
            delete_old_requests(connection)
            start_run(connection, self.run_id, self.job.window.description, len(plan.requests))
        outcome: str | None = "failed"
        figures: RunMetrics | None = None
        try:
            after = self._run_passes(coverage, plan, server_clock)
            outcome, figures = "stopped" if self.stopped else "finished", self._build_figures(coverage, after)
        except DatabaseUnavailable:
            outcome = None  # there is nowhere to write it: the next run finds this process gone
            raise
        except Exception:
            raise
        except BaseException:  # what Ctrl-C or Dagster's Terminate raises
            outcome = "interrupted"
            raise
        finally:
            if outcome:
                self._finish(outcome, figures)
        return self._build_result(coverage, after, plan, time.monotonic() - started)

    def _finish(self, outcome: str, figures: RunMetrics | None) -> None:
        database = self.engine.database
        database.retry_transaction(lambda connection: finish_run(connection, self.run_id, outcome, figures))

    def _build_figures(self, before: Coverage, after: Coverage) -> RunMetrics:
        missing = int(before.missing.sum()), int(after.missing.sum())
        return RunMetrics(*missing, inserted=self.written.inserted, calls=self.usage.calls)

    def _run_passes(self, coverage: Coverage, plan: Plan, server_clock: datetime) -> Coverage:
        run_with_graceful_shutdown(self._run_pass(coverage, plan, server_clock))
        failed_ids = frozenset(
            symbol_id for symbol_id, o in self.outcomes.items() if isinstance(o.error, TransientError)
        )
        any_succeeded = len(failed_ids) < len(self.outcomes)
        if self.job.strategy is Strategy.HYBRID and failed_ids and any_succeeded and not self.stopped:
            coverage, second_plan, server_clock = self._measure_and_plan(failed_ids)
            run_with_graceful_shutdown(self._run_pass(coverage, second_plan, server_clock))
        return self.engine.measure(self.job)

    def _measure_and_plan(self, symbol_ids: frozenset[int] | None = None) -> tuple[Coverage, Plan, datetime]:
        with self.engine.database.transaction() as connection:
            server_clock = read_server_time(connection)
        coverage = self.engine.measure(self.job)
        plan = self.engine.plan(self.job, coverage)
        if symbol_ids is not None:
            plan = replace(
                plan, requests=tuple(a for a in plan.requests if a.symbol.symbol_id in symbol_ids), deferred=0
            )
        return coverage, plan, server_clock

    async def _run_pass(self, coverage: Coverage, plan: Plan, server_clock: datetime) -> None:
        async with self.engine.open_vendor_client(self.run_id, self.usage) as (rate_limiter, client):
            try:
                await sync_quota(client, rate_limiter.budget, self.engine.settings.now())
            except VendorError as error:
                self.stopped = error
                return
            fetcher = self._build_fetcher(plan, rate_limiter, client, server_clock)
            async with maintain_heartbeat(self.engine.database, self.run_id, rate_limiter, client):
                try:
                    await self._fetch(fetcher, self._claim_requests(plan, server_clock), coverage)
                finally:
                    self._collect(fetcher)
                absence_lookup.record_calendar_drift(
                    self.engine.database, fetcher.off_calendar_days, len(fetcher.outcomes), rate_limiter.now()
                )
                if not self.stopped:
                    await self._explain_absence(client)

    async def _fetch(self, fetcher: Fetcher, requests: Sequence[PlannedRequest], coverage: Coverage) -> None:
        if self.job.force or self.job.user_selected:
            await self._fetch_in_batches(fetcher, requests)
            return
        certain, tentative = probing.split_requests(requests, coverage)
        await self._fetch_in_batches(fetcher, certain)
        size = probing.compute_first_block_size(coverage)
        keep_probing = probing.is_probe_due(coverage)
        while keep_probing and tentative and not fetcher.stopped:
            block, tentative = tentative[:size], tentative[size:]
            await self._fetch_in_batches(fetcher, block)
            published_count = sum(
                (request.symbol.symbol_id, request.last_session) in fetcher.published_sessions for request in block
            )
            size *= 2
            keep_probing = 2 * published_count >= len(block)
        self.awaiting_publication = len(tentative)

    async def _fetch_in_batches(self, fetcher: Fetcher, requests: Sequence[PlannedRequest]) -> None:
        size = self.job.batch_size or max(1, len(requests))
        batches = [requests[start : start + size] for start in range(0, len(requests), size)]
        for number, batch in enumerate(batches, 1):
            fetcher.batch = (number, len(batches))
            await fetcher.fetch_all(batch, min(size, self.engine.settings.in_flight_max))
            if fetcher.stopped:
                return
            if number < len(batches):
                await asyncio.sleep(self.job.batch_delay_seconds)

    async def _explain_absence(self, client: EodhdClient) -> None:
        coverage = await asyncio.to_thread(self.engine.measure, self.job)
        try:
            await absence_lookup.explain_absence(
                client, self.engine.database, coverage, bulk=self.engine.settings.bulk_daily
            )
        except VendorError as error:
            self.stopped = error

    def _build_fetcher(
        self, plan: Plan, rate_limiter: SharedRateLimiter, client: EodhdClient, server_clock: datetime
    ) -> Fetcher:
        with self.engine.database.transaction() as connection:
            interval_spelling = find_interval_spelling(connection, self.job.interval)
        context = WriteContext(
            plan,
            self.job.source_interval,
            interval_spelling,
            self.engine.settings.vendor_host,
            self.engine.settings.now(),
        )
        return Fetcher(
            database=self.engine.database,
            context=context,
            run_id=self.run_id,
            rate_limiter=rate_limiter,
            client=client,
            on_progress=self.on_progress,
            server_clock=server_clock,
            total_tickers=len({request.symbol.symbol_id for request in plan.requests}),
        )

    def _claim_requests(self, plan: Plan, planned_at: datetime) -> list[PlannedRequest]:
        """The asks whose tickers no other run is asking for."""
        symbol_ids = {request.symbol.symbol_id for request in plan.requests}
        with self.engine.database.transaction() as connection:
            claimed_ids = claim_symbols(
                connection, self.run_id, sorted(symbol_ids), self.job.interval, planned_at=planned_at
            )
        self.claimed_elsewhere += len(symbol_ids - claimed_ids)
        return [ask for ask in plan.requests if ask.symbol.symbol_id in claimed_ids]

    def _collect(self, fetcher: Fetcher) -> None:
        self.outcomes |= fetcher.outcomes
        self.written += fetcher.written
        self.rejected += fetcher.rejected
        self.stopped = fetcher.stopped

    def _build_result(self, before: Coverage, after: Coverage, plan: Plan, seconds: float) -> RunResult:
        requested_ids = {request.symbol.symbol_id for request in plan.requests}
        slot_keys = np.unique(plan.slot_keys)  # row × slots of the window + ordinal: the same before and after
        planned = len(slot_keys)
        absent = self._count_absence_reasons(after, slot_keys)
        return RunResult(
            described=self.job.window.description,
            sessions=len(self.job.window.sessions),
            before=SlotCounts.from_coverage(before),
            after=SlotCounts.from_coverage(after),
            planned=planned,
            stored=planned - sum(absent.values()),
            absent=absent,
            outcomes=tuple(sorted(self.outcomes.values(), key=lambda o: o.ticker)),
            requests=self.usage.requests,
            calls=self.usage.calls,
            rate_limited=self.usage.rate_limited,
            seconds=seconds,
            written=self.written,
            rejected=self.rejected,
            claimed_elsewhere=self.claimed_elsewhere,
            deferred=plan.deferred,
            stopped=self.stopped,
            not_requested=len(requested_ids) - len(self.outcomes) - self.claimed_elsewhere - self.awaiting_publication,
            awaiting_publication=self.awaiting_publication,
        )

    def _count_absence_reasons(self, after: Coverage, slot_keys: Int64) -> dict[str, int]:
        """Why slots that were asked for are still without a final bar."""
        slots, classified = after.open_slots, after.slot_states
        is_planned = np.isin(after.grid.get_slot_keys(slots.row, slots.ordinal), slot_keys)
        is_absent = is_planned & np.isin(classified.state, UNSETTLED_STATES)
        pairs = np.column_stack([slots.row[is_absent], classified.state[is_absent].astype(np.int64)])
        reasons: Counter[str] = Counter()
        for (row, state), count in zip(*np.unique(pairs, axis=0, return_counts=True), strict=True):
            outcome = self.outcomes.get(after.symbols[row].symbol_id)
            reasons[_describe_absence(outcome, SlotState(state))] += int(count)
        if unverified := int(np.isin(after.external_bars.slot_key, slot_keys).sum()):
            reasons["still as somebody else wrote it"] = unverified
        return dict(reasons)


def _describe_absence(outcome: TickerOutcome | None, state: SlotState) -> str:
    if outcome is None:
        return "not asked (another run is at it, or probes found nothing yet)"
    if outcome.error is not None:
        return type(outcome.error).__name__
    return "not published" if outcome.kind == "not published" else f"{state.name.lower()} at the vendor"
