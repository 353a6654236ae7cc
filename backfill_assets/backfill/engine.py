"""A backfill from window to proof: measure, plan, claim, ask, store, measure again.

Knows nothing of Dagster or of a terminal: the command line and the asset call ``run_backfill``.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

from backfill_assets.backfill.account import read_account
from backfill_assets.backfill.flight import Flight
from backfill_assets.backfill.keeping import Shelf
from backfill_assets.backfill.outcome import Listener, RunResult, Tally, TickerOutcome
from backfill_assets.backfill.pacing import Pacer, Spent
from backfill_assets.backfill.plan import Ask, Plan, Strategy, make_plan
from backfill_assets.backfill.pursuit import Pursuit
from backfill_assets.eodhd.client import EodhdClient
from backfill_assets.eodhd.errors import TokenRefused, TransientError, VendorError
from backfill_assets.market.gaps import State
from backfill_assets.market.intervals import Interval
from backfill_assets.market.slots import slot_grid
from backfill_assets.market.windows import Window
from backfill_assets.settings import Settings
from backfill_assets.store.bars import WriteCounts, database_now, spelling_in_use
from backfill_assets.store.budget import Budget, limits_of
from backfill_assets.store.connection import Database
from backfill_assets.store.coverage import Coverage, measure
from backfill_assets.store.requests import forget_old_requests
from backfill_assets.store.runs import claim, finish_run, start_run
from backfill_assets.store.symbols import Symbol

Int64: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Job:
    """What a run is to do. ``batch_size`` tickers at a time, then ``delay`` seconds of rest, if given."""

    window: Window
    symbols: tuple[Symbol, ...]
    interval: Interval
    source: Interval
    strategy: Strategy = Strategy.HYBRID
    force: bool = False
    batch_size: int | None = None
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts that a run works with, made once by whoever starts it."""

    database: Database
    settings: Settings

    def survey(self, job: Job) -> Coverage:
        """The state of every slot of the job's window, read from the store now."""
        grid = slot_grid(job.window.sessions, job.interval)
        with self.database.transaction() as connection:
            return measure(
                connection, job.symbols, grid, job.source, self.settings.rules(job.source), self.settings.now()
            )

    def plan(self, job: Job, coverage: Coverage) -> Plan:
        """What the job would ask for, given a survey; spends nothing."""
        return make_plan(
            coverage,
            overlap_sessions=self.settings.overlap_sessions,
            max_span=timedelta(days=self.settings.max_span_days),
            strategy=job.strategy,
            force=job.force,
        )

    def budget(self) -> Budget:
        """The budget of the token.

        Raises:
            TokenRefused: no token is set.
        """
        return Budget(self.database, self._token(), limits_of(self.settings))

    def estimated_seconds(self, plan: Plan) -> float:
        """How long carrying a plan out takes if the vendor answers as usual."""
        s = self.settings
        return plan.estimated_seconds(
            int(s.requests_per_minute * s.minute_share), s.rate_window_seconds, s.in_flight_max
        )

    def run(self, job: Job, listen: Listener) -> RunResult:
        """Do the job and prove it.

        Ends early, with what was fetched stored, when the vendor refuses the token or the day's calls
        are gone (``RunResult.stopped``).

        Raises:
            TokenRefused: no token is set.
            DatabaseUnavailable: the database is gone; what was stored stays.
        """
        return _Run(self, job, listen).go()

    @asynccontextmanager
    async def asking(
        self, run_id: UUID | None = None, spent: Spent | None = None
    ) -> AsyncIterator[tuple[Pacer, EodhdClient]]:
        """The vendor's client behind the shared budget, for the time of the context."""
        s = self.settings
        flight = Flight(s.in_flight_start, s.in_flight_max)
        budget = self.budget()
        async with (
            Pacer(budget, self.database, flight, s.now, run_id, spent or Spent()) as pacer,
            EodhdClient(
                base_url=s.base_url,
                token=self._token(),
                gate=pacer,
                timeout_seconds=s.request_timeout_seconds,
                attempts=s.attempts,
                backoff_seconds=s.backoff_seconds,
                max_connections=s.in_flight_max,
            ) as client,
        ):
            yield pacer, client

    def _token(self) -> str:
        if self.settings.token is None:
            raise TokenRefused("no API token is set")
        return self.settings.token.get_secret_value()


class _Run:
    def __init__(self, engine: Engine, job: Job, listen: Listener) -> None:
        self.engine = engine
        self.job = job
        self.listen = listen
        self.run_id = uuid4()
        self.spent = Spent()
        self.outcomes: dict[int, TickerOutcome] = {}
        self.written = WriteCounts()
        self.rejected = 0
        self.elsewhere = 0
        self.stopped: VendorError | None = None

    def go(self) -> RunResult:
        began = time.monotonic()
        self.engine.budget()  # without a token there is no run, not even one with nothing to ask
        coverage, plan, server_clock = self._survey_and_plan()
        if not plan.asks:
            return self._result(coverage, coverage, plan, time.monotonic() - began)
        with self.engine.database.transaction() as connection:
            forget_old_requests(connection)
            start_run(connection, self.run_id, self.job.window.described, len(plan.asks))
        outcome = "failed"
        try:
            after = self._passes(plan, server_clock)
            outcome = "stopped" if self.stopped else "finished"
        finally:
            with self.engine.database.transaction() as connection:
                finish_run(connection, self.run_id, outcome)
        return self._result(coverage, after, plan, time.monotonic() - began)

    def _passes(self, plan: Plan, server_clock: datetime) -> Coverage:
        asyncio.run(self._pass(plan, server_clock))
        failed = frozenset(symbol_id for symbol_id, o in self.outcomes.items() if isinstance(o.error, TransientError))
        someone_answered = len(failed) < len(self.outcomes)
        if self.job.strategy is Strategy.HYBRID and failed and someone_answered and not self.stopped:
            _, again, server_clock = self._survey_and_plan(failed)
            asyncio.run(self._pass(again, server_clock))
        return self.engine.survey(self.job)

    def _survey_and_plan(self, only: frozenset[int] | None = None) -> tuple[Coverage, Plan, datetime]:
        with self.engine.database.transaction() as connection:
            server_clock = database_now(connection)
        coverage = self.engine.survey(self.job)
        plan = self.engine.plan(self.job, coverage)
        if only is not None:
            plan = replace(plan, asks=tuple(a for a in plan.asks if a.symbol.symbol_id in only), waiting=0)
        return coverage, plan, server_clock

    async def _pass(self, plan: Plan, server_clock: datetime) -> None:
        async with self.engine.asking(self.run_id, self.spent) as (pacer, client):
            try:
                await read_account(client, pacer.budget, self.engine.settings.now())
            except VendorError as error:
                self.stopped = error
                return
            pursuit = self._pursuit(plan, pacer, client, server_clock)
            try:
                await self._in_batches(pursuit, self._claimed(plan, server_clock))
            finally:
                self._take_over(pursuit)

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
        asked_rows = np.array([row for row, s in enumerate(before.symbols) if s.symbol_id in asked_ids], np.int64)
        planned = _gaps_of(before, asked_rows)
        absent = self._reasons(after, asked_rows)
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
            unasked=len(asked_ids) - len(self.outcomes) - self.elsewhere,
        )

    def _reasons(self, after: Coverage, asked_rows: Int64) -> dict[str, int]:
        """Why slots that were asked for are still without a final bar."""
        slots, classified = after.slots, after.classified
        still = classified.gap & np.isin(slots.row, asked_rows)
        pairs = np.column_stack([slots.row[still], classified.state[still].astype(np.int64)])
        reasons: Counter[str] = Counter()
        for (row, state), count in zip(*np.unique(pairs, axis=0, return_counts=True), strict=True):
            outcome = self.outcomes.get(after.symbols[row].symbol_id)
            reasons[_reason(outcome, State(state))] += int(count)
        return dict(reasons)


def _reason(outcome: TickerOutcome | None, state: State) -> str:
    if outcome is None:
        return "not asked"
    if outcome.error is not None:
        return type(outcome.error).__name__
    return "not published" if outcome.kind == "not published" else f"{state.name.lower()} at the vendor"


def _gaps_of(coverage: Coverage, rows: Int64) -> int:
    return int((coverage.classified.gap & np.isin(coverage.slots.row, rows)).sum())
