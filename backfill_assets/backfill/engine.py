"""The parts that a backfill works with, and the questions that can be put to them.

Knows nothing of Dagster or of a terminal: the command line and the asset make an ``Engine`` and call it.
How a run goes is in ``run``. The vendor's client is imported where something is asked: whoever only looks
at the store does without it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from backfill_assets.backfill.planner import Plan, Strategy, make_plan
from backfill_assets.config.settings import Settings
from backfill_assets.eodhd.errors import TokenRefused
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import slot_grid
from backfill_assets.market.calendar.windows import Window
from backfill_assets.store.bars.source_host import require_host
from backfill_assets.store.coverage import Coverage, measure
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, limits_of
from backfill_assets.store.quota.live_budget import LiveBudget
from backfill_assets.store.symbols import Symbol

if TYPE_CHECKING:
    from backfill_assets.backfill.fetch.shared_rate_limiter import Pacer, Spent
    from backfill_assets.backfill.results import Listener, RunResult
    from backfill_assets.eodhd.client import EodhdClient

LONGEST_SPAN = {"1m": timedelta(days=120), "5m": timedelta(days=600)}  # of one request (EODHD.md §2)


@dataclass(frozen=True, slots=True)
class Job:
    """What a run is to do.

    Attributes:
        window: the sessions.
        symbols: the universe, or the part of it that was chosen.
        interval: of the bars.
        source: the vendor interval they are built from.
        strategy: which gaps are asked for.
        force: ask for everything in the window, complete or not.
        explicit: a person chose the symbols: one ask for each gap, whatever the ladder says.
        only: sessions whose gaps make a ticker due; the others of the window only come along. None: all.
        verify_existing: compare bars that somebody else wrote with the vendor's, and take them over.
        batch_size: tickers at a time, if given.
        delay: seconds of rest between batches.
    """

    window: Window
    symbols: tuple[Symbol, ...]
    interval: Interval
    source: Interval
    strategy: Strategy = Strategy.HYBRID
    force: bool = False
    explicit: bool = False
    only: frozenset[date] | None = None
    verify_existing: bool = False
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
                connection,
                job.symbols,
                grid,
                job.source,
                self.settings.rules(job.source),
                self.settings.now(),
                list_theirs=job.verify_existing,
            )

    def plan(self, job: Job, coverage: Coverage) -> Plan:
        """What the job would ask for, given a survey; spends nothing."""
        return make_plan(
            coverage,
            overlap_sessions=self.settings.overlap_sessions,
            max_span=min(timedelta(days=self.settings.max_span_days), LONGEST_SPAN[job.source.name]),
            strategy=job.strategy,
            force=job.force,
            explicit=job.explicit,
            only=job.only,
            exceptions=self.settings.calendar_exceptions(),
        )

    def budget(self) -> Budget:
        """The budget of the token.

        Raises:
            TokenRefused: no token is set.
        """
        return Budget(self.database, self.token(), limits_of(self.settings))

    def live_budget(self) -> LiveBudget:
        """The budget of live sampling.

        Raises:
            TokenRefused: no token is set.
        """
        return LiveBudget(self.database, self.token(), limits_of(self.settings), self.settings.live_budget)

    def estimated_seconds(self, plan: Plan) -> float:
        """How long carrying a plan out takes if the vendor answers as usual."""
        s = self.settings
        return plan.estimated_seconds(
            int(s.requests_per_minute * s.minute_share), s.rate_window_seconds, s.in_flight_max
        )

    def run(self, job: Job, listen: "Listener") -> "RunResult":
        """Do the job and prove it.

        Ends early, with what was fetched stored, when the vendor refuses the token or the day's calls
        are gone (``RunResult.stopped``).

        Raises:
            TokenRefused: no token is set.
            UsageError: the database holds bars of another host.
            DatabaseUnavailable: the database is gone; what was stored stays.
        """
        from backfill_assets.backfill.runner import Run

        return Run(self, job, listen).go()

    def require_one_source(self) -> None:
        """Make sure that what the vendor asked now gives may be stored beside what is there.

        Raises:
            UsageError: the database holds bars of another host.
        """
        with self.database.transaction() as connection:
            require_host(connection, self.settings.vendor_host)

    @asynccontextmanager
    async def asking(
        self, run_id: UUID | None = None, spent: "Spent | None" = None, budget: Budget | None = None
    ) -> "AsyncIterator[tuple[Pacer, EodhdClient]]":
        """The vendor's client behind the shared budget (or the one given), for the time of the context."""
        from backfill_assets.backfill.fetch.concurrency import Flight
        from backfill_assets.backfill.fetch.shared_rate_limiter import Pacer, Spent
        from backfill_assets.eodhd.client import EodhdClient

        s = self.settings
        flight = Flight(s.in_flight_start, s.in_flight_max)
        async with (
            Pacer(budget or self.budget(), self.database, flight, s.now, run_id, spent or Spent()) as pacer,
            EodhdClient(
                base_url=s.base_url,
                token=self.token(),
                gate=pacer,
                timeout_seconds=s.request_timeout_seconds,
                attempts=s.attempts,
                backoff_seconds=s.backoff_seconds,
                max_connections=s.in_flight_max,
            ) as client,
        ):
            yield pacer, client

    def token(self) -> str:
        """The vendor's token.

        Raises:
            TokenRefused: none is set.
        """
        if self.settings.token is None:
            raise TokenRefused("no API token is set")
        return self.settings.token.get_secret_value().strip()
