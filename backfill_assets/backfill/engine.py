"""The parts that a backfill works with, and the questions that can be put to them.

Knows nothing of Dagster or of a terminal: the command line and the asset make an ``Engine`` and call it.
How a run goes is in ``run``. The vendor's client is imported where something is asked: whoever only looks
at the store does without it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from backfill_assets.backfill.planner import Plan, Strategy, make_plan
from backfill_assets.config.settings import Settings
from backfill_assets.eodhd.errors import TokenRefused
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import Window
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.store.bars.external_bars import read_external_bars
from backfill_assets.store.bars.source_host import require_source_host
from backfill_assets.store.coverage import measure_coverage
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, build_limits
from backfill_assets.store.quota.live_budget import LiveBudget

if TYPE_CHECKING:
    from backfill_assets.backfill.fetch.shared_rate_limiter import SharedRateLimiter, Usage
    from backfill_assets.backfill.results import ProgressListener, RunResult
    from backfill_assets.eodhd.client import EodhdClient

MAX_REQUEST_SPAN = {"1m": timedelta(days=120), "5m": timedelta(days=600)}  # of one request (EODHD.md §2)


@dataclass(frozen=True, slots=True)
class BackfillJob:
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
    source_interval: Interval
    strategy: Strategy = Strategy.HYBRID
    force: bool = False
    user_selected: bool = False
    trigger_sessions: frozenset[date] | None = None
    verify_existing: bool = False
    batch_size: int | None = None
    batch_delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts that a run works with, made once by whoever starts it."""

    database: Database
    settings: Settings

    def measure(self, job: BackfillJob) -> Coverage:
        """The state of every slot of the job's window, read from the store now."""
        grid = build_slot_grid(job.window.sessions, job.interval)
        with self.database.transaction() as connection:
            coverage = measure_coverage(
                connection,
                job.symbols,
                grid,
                job.source_interval,
                self.settings.build_gap_rules(job.source_interval),
                self.settings.now(),
            )
            if job.verify_existing:
                return replace(coverage, external_bars=read_external_bars(connection, job.symbols, grid))
            return coverage

    def plan(self, job: BackfillJob, coverage: Coverage) -> Plan:
        """What the job would ask for, given a survey; spends nothing."""
        return make_plan(
            coverage,
            overlap_sessions=self.settings.overlap_sessions,
            max_span=min(timedelta(days=self.settings.max_span_days), MAX_REQUEST_SPAN[job.source_interval.name]),
            strategy=job.strategy,
            force=job.force,
            user_selected=job.user_selected,
            trigger_sessions=job.trigger_sessions,
            overrides=self.settings.load_calendar_overrides(),
        )

    def create_budget(self) -> Budget:
        """The budget of the token.

        Raises:
            TokenRefused: no token is set.
        """
        return Budget(self.database, self.require_token(), build_limits(self.settings))

    def create_live_budget(self) -> LiveBudget:
        """The budget of live sampling.

        Raises:
            TokenRefused: no token is set.
        """
        return LiveBudget(self.database, self.require_token(), build_limits(self.settings), self.settings.live_budget)

    def estimate_seconds(self, plan: Plan) -> float:
        """How long carrying a plan out takes if the vendor answers as usual."""
        settings = self.settings
        return plan.estimate_seconds(
            int(settings.requests_per_minute * settings.minute_share),
            settings.rate_window_seconds,
            settings.in_flight_max,
        )

    def run(self, job: BackfillJob, on_progress: "ProgressListener") -> "RunResult":
        """Do the job and prove it.

        Ends early, with what was fetched stored, when the vendor refuses the token or the day's calls
        are gone (``RunResult.stopped``).

        Raises:
            TokenRefused: no token is set.
            UsageError: the database holds bars of another host.
            DatabaseUnavailable: the database is gone; what was stored stays.
        """
        from backfill_assets.backfill.runner import BackfillRun

        return BackfillRun(self, job, on_progress).execute()

    def require_matching_host(self) -> None:
        """Make sure that what the vendor asked now gives may be stored beside what is there.

        Raises:
            UsageError: the database holds bars of another host.
        """
        with self.database.transaction() as connection:
            require_source_host(connection, self.settings.vendor_host)

    @asynccontextmanager
    async def open_vendor_client(
        self, run_id: UUID | None = None, usage: "Usage | None" = None, budget: Budget | None = None
    ) -> "AsyncIterator[tuple[SharedRateLimiter, EodhdClient]]":
        """The vendor's client behind the shared budget (or the one given), for the time of the context."""
        from backfill_assets.backfill.fetch.concurrency import AdaptiveConcurrencyLimit
        from backfill_assets.backfill.fetch.shared_rate_limiter import SharedRateLimiter, Usage
        from backfill_assets.eodhd.client import EodhdClient

        settings = self.settings
        concurrency = AdaptiveConcurrencyLimit(settings.in_flight_start, settings.in_flight_max)
        async with (
            SharedRateLimiter(
                budget or self.create_budget(), self.database, concurrency, settings.now, run_id, usage or Usage()
            ) as rate_limiter,
            EodhdClient(
                base_url=settings.base_url,
                token=self.require_token(),
                rate_limiter=rate_limiter,
                timeout_seconds=settings.request_timeout_seconds,
                attempts=settings.attempts,
                backoff_seconds=settings.backoff_seconds,
                max_connections=settings.in_flight_max,
            ) as client,
        ):
            yield rate_limiter, client

    def require_token(self) -> str:
        """The vendor's token.

        Raises:
            TokenRefused: none is set.
        """
        if self.settings.token is None:
            raise TokenRefused("no API token is set")
        return self.settings.token.get_secret_value().strip()
