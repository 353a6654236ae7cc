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
from numpy.typing import NDArray

from backfill_assets.backfill import absence_lookup, probing
from backfill_assets.backfill.fetch.batch_writer import Shelf
from backfill_assets.backfill.fetch.fetcher import Pursuit
from backfill_assets.backfill.fetch.graceful_shutdown import run_to_its_end
from backfill_assets.backfill.fetch.heartbeat import heartbeat
from backfill_assets.backfill.fetch.quota_sync import read_account
from backfill_assets.backfill.fetch.shared_rate_limiter import Pacer, Spent
from backfill_assets.backfill.planner import Ask, Plan, Strategy
from backfill_assets.backfill.results import Listener, RunResult, Tally, TickerOutcome
from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.eodhd.errors import TransientError, VendorError
from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.market.gaps.slot_states import State
from backfill_assets.store.bars.bar_writer import WriteCounts, database_now, spelling_in_use
from backfill_assets.store.coverage import Coverage
from backfill_assets.store.quota.request_log import forget_old_requests
from backfill_assets.store.runs import RunFigures, claim, finish_run, start_run

if TYPE_CHECKING:
    from backfill_assets.backfill.engine import Engine, Job

Int64: TypeAlias = NDArray[np.int64]


class Run:
    """One run of a job; ``go`` once."""

    def __init__(self, engine: "Engine", job: "Job", listen: Listener) -> None:
        self.engine = engine
        self.job = job
        self.listen = listen
        self.run_id = uuid4()
        self.spent = Spent()
        self.outcomes: dict[int, TickerOutcome] = {}
        self.written = WriteCounts()
        self.rejected = 0
        self.elsewhere = 0
        self.unprobed = 0
        self.stopped: VendorError | None = None

    def go(self) -> RunResult:
        """Measure, plan, claim, ask, store, measure again."""
        began = time.monotonic()
        self.engine.budget()  # without a token there is no run, not even one with nothing to ask
        self.engine.require_one_source()
        coverage, plan, server_clock = self._survey_and_plan()
        if not plan.asks:
            return self._result(coverage, coverage, plan, time.monotonic() - began)
        with self.engine.database.transaction() as connection:
            forget_old_requests(connection)
            start_run(connection, self.run_id, self.job.window.described, len(plan.asks))
        outcome: str | None = "failed"
        figures: RunFigures | None = None
        try:
            after = self._passes(coverage, plan, server_clock)
            outcome, figures = "stopped" if self.stopped else "finished", self._figures(coverage, after)
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
        return self._result(coverage, after, plan, time.monotonic() - began)

    def _finish(self, outcome: str, figures: RunFigures | None) -> None:
        database = self.engine.database
        database.persistently(lambda connection: finish_run(connection, self.run_id, outcome, figures))

    def _figures(self, before: Coverage, after: Coverage) -> RunFigures:
        missing = int(before.missing.sum()), int(after.missing.sum())
        return RunFigures(*missing, inserted=self.written.inserted, calls=self.spent.calls)

    def _passes(self, coverage: Coverage, plan: Plan, server_clock: datetime) -> Coverage:
        run_to_its_end(self._pass(coverage, plan, server_clock))
        failed = frozenset(symbol_id for symbol_id, o in self.outcomes.items() if isinstance(o.error, TransientError))
        someone_answered = len(failed) < len(self.outcomes)
        if self.job.strategy is Strategy.HYBRID and failed and someone_answered and not self.stopped:
            coverage, again, server_clock = self._survey_and_plan(failed)
            run_to_its_end(self._pass(coverage, again, server_clock))
        return self.engine.survey(self.job)

    def _survey_and_plan(self, only: frozenset[int] | None = None) -> tuple[Coverage, Plan, datetime]:
        with self.engine.database.transaction() as connection:
            server_clock = database_now(connection)
        coverage = self.engine.survey(self.job)
        plan = self.engine.plan(self.job, coverage)
        if only is not None:
            plan = replace(plan, asks=tuple(a for a in plan.asks if a.symbol.symbol_id in only), waiting=0)
        return coverage, plan, server_clock

    async def _pass(self, coverage: Coverage, plan: Plan, server_clock: datetime) -> None:
        async with self.engine.asking(self.run_id, self.spent) as (pacer, client):
            try:
                await read_account(client, pacer.budget, self.engine.settings.now())
            except VendorError as error:
                self.stopped = error
                return
            pursuit = self._pursuit(plan, pacer, client, server_clock)
            async with heartbeat(self.engine.database, self.run_id, pacer, client):
                try:
                    await self._ask(pursuit, self._claimed(plan, server_clock), coverage)
                finally:
                    self._take_over(pursuit)
                absence_lookup.notice_drift(self.engine.database, pursuit.outside, len(pursuit.outcomes), pacer.now())
                if not self.stopped:
                    await self._explain(client)

    async def _ask(self, pursuit: Pursuit, asks: Sequence[Ask], coverage: Coverage) -> None:
        if self.job.force or self.job.explicit:
            await self._in_batches(pursuit, asks)
            return
        certain, tentative = probing.split(asks, coverage)
        await self._in_batches(pursuit, certain)
        size = probing.first_block(coverage)
        widening = probing.may_probe(coverage)
        while widening and tentative and not pursuit.stopped:
            block, tentative = tentative[:size], tentative[size:]
            await self._in_batches(pursuit, block)
            had = sum((ask.symbol.symbol_id, ask.last_session) in pursuit.published for ask in block)
            size *= 2
            widening = 2 * had >= len(block)
        self.unprobed = len(tentative)

    async def _in_batches(self, pursuit: Pursuit, asks: Sequence[Ask]) -> None:
        size = self.job.batch_size or max(1, len(asks))
        batches = [asks[at : at + size] for at in range(0, len(asks), size)]
        for number, batch in enumerate(batches, 1):
            pursuit.batch = (number, len(batches))
            await pursuit.carry_out(batch, min(size, self.engine.settings.in_flight_max))
            if pursuit.stopped:
                return
            if number < len(batches):
                await asyncio.sleep(self.job.delay)

    async def _explain(self, client: EodhdClient) -> None:
        coverage = await asyncio.to_thread(self.engine.survey, self.job)
        try:
            await absence_lookup.explain_absence(
                client, self.engine.database, coverage, bulk=self.engine.settings.bulk_daily
            )
        except VendorError as error:
            self.stopped = error

    def _pursuit(self, plan: Plan, pacer: Pacer, client: EodhdClient, server_clock: datetime) -> Pursuit:
        with self.engine.database.transaction() as connection:
            spelling = spelling_in_use(connection, self.job.interval)
        shelf = Shelf(plan, self.job.source, spelling, self.engine.settings.vendor_host, self.engine.settings.now())
        return Pursuit(
            database=self.engine.database,
            shelf=shelf,
            run_id=self.run_id,
            pacer=pacer,
            client=client,
            listen=self.listen,
            server_clock=server_clock,
            total=len({ask.symbol.symbol_id for ask in plan.asks}),
        )

    def _claimed(self, plan: Plan, planned_at: datetime) -> list[Ask]:
        """The asks whose tickers no other run is asking for."""
        wanted = {ask.symbol.symbol_id for ask in plan.asks}
        with self.engine.database.transaction() as connection:
            mine = claim(connection, self.run_id, sorted(wanted), self.job.interval, planned_at=planned_at)
        self.elsewhere += len(wanted - mine)
        return [ask for ask in plan.asks if ask.symbol.symbol_id in mine]

    def _take_over(self, pursuit: Pursuit) -> None:
        self.outcomes |= pursuit.outcomes
        self.written += pursuit.written
        self.rejected += pursuit.rejected
        self.stopped = pursuit.stopped

    def _result(self, before: Coverage, after: Coverage, plan: Plan, seconds: float) -> RunResult:
        asked_ids = {ask.symbol.symbol_id for ask in plan.asks}
        wanted = np.unique(plan.slots)  # row × slots of the window + ordinal: the same before and after
        planned = len(wanted)
        absent = self._reasons(after, wanted)
        return RunResult(
            described=self.job.window.described,
            sessions=len(self.job.window.sessions),
            before=Tally.of(before),
            after=Tally.of(after),
            planned=planned,
            stored=planned - sum(absent.values()),
            absent=absent,
            outcomes=tuple(sorted(self.outcomes.values(), key=lambda o: o.ticker)),
            requests=self.spent.requests,
            calls=self.spent.calls,
            rate_limited=self.spent.rate_limited,
            seconds=seconds,
            written=self.written,
            rejected=self.rejected,
            elsewhere=self.elsewhere,
            waiting=plan.waiting,
            stopped=self.stopped,
            unasked=len(asked_ids) - len(self.outcomes) - self.elsewhere - self.unprobed,
            unprobed=self.unprobed,
        )

    def _reasons(self, after: Coverage, wanted: Int64) -> dict[str, int]:
        """Why slots that were asked for are still without a final bar."""
        slots, classified = after.slots, after.classified
        unsettled = np.isin(classified.state, [State.PENDING, State.MISSING, State.VENDOR_GAP, State.PROVISIONAL])
        still = unsettled & np.isin(slots.row * after.grid.size + slots.ordinal, wanted)
        pairs = np.column_stack([slots.row[still], classified.state[still].astype(np.int64)])
        reasons: Counter[str] = Counter()
        for (row, state), count in zip(*np.unique(pairs, axis=0, return_counts=True), strict=True):
            outcome = self.outcomes.get(after.symbols[row].symbol_id)
            reasons[_reason(outcome, State(state))] += int(count)
        if unverified := int(np.isin(after.theirs.slot, wanted).sum()):
            reasons["still as somebody else wrote it"] = unverified
        return dict(reasons)


def _reason(outcome: TickerOutcome | None, state: State) -> str:
    if outcome is None:
        return "not asked (another run is at it, or probes found nothing yet)"
    if outcome.error is not None:
        return type(outcome.error).__name__
    return "not published" if outcome.kind == "not published" else f"{state.name.lower()} at the vendor"
