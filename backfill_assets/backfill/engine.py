"""The parts that a backfill works with: database, settings, planner, budgets and the vendor's client.

Knows neither Dagster nor the terminal; the command line and the assets create an ``Engine``. What a run does with it is
in ``backfill.runner``. This is the only module that creates the vendor's client. It imports the client when it is
needed, because httpx and tenacity take time to load and most commands only read the store.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from uuid import UUID

from backfill_assets.backfill.failed_requests import defer_unreadable, read_failing_tickers
from backfill_assets.backfill.fetch.concurrency import AdaptiveConcurrencyLimit
from backfill_assets.backfill.fetch.graceful_shutdown import call_on_stop
from backfill_assets.backfill.fetch.held_claims import SURE_SECONDS, HeldClaims
from backfill_assets.backfill.fetch.shared_rate_limiter import SharedRateLimiter, Usage
from backfill_assets.backfill.listed_requests import fit_to_listings
from backfill_assets.backfill.optional_endpoints import StoredOptionalEndpoints
from backfill_assets.backfill.planner import Plan, PlanOptions, Strategy, make_plan
from backfill_assets.config.settings import Settings
from backfill_assets.eodhd.pricing import CALL_PRICES, REQUEST_LIMITS
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import Window
from backfill_assets.market.exchanges.feed_beginnings import find_feed_beginning
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor import VendorClient
from backfill_assets.market.vendor_errors import StopRequested, TokenRefused
from backfill_assets.market.vendor_prices import CallPrices
from backfill_assets.store.bars.external_bars import read_external_bars
from backfill_assets.store.bars.mixed_feeds import MixedFeeds, find_mixed_feeds
from backfill_assets.store.bars.source_host import require_source_host
from backfill_assets.store.coverage import measure_coverage
from backfill_assets.store.listing_bounds import read_listing_bounds
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.quota.budget import Budget, build_limits, fingerprint_token
from backfill_assets.store.quota.live_budget import LiveBudget


@dataclass(frozen=True, slots=True)
class BackfillJob:
    """What a run has to do.

    Attributes:
        window: the sessions.
        symbols: the universe, or a selection of it.
        interval: of the bars.
        source_interval: the vendor interval that the bars are built from.
        strategy: which gaps are requested.
        force: request everything in the window, complete or not.
        replace_other_feed: replace bars of another source interval within the window.
        user_selected: a user chose the symbols: request every gap and suspect bar once, regardless of the retry
            schedule.
        trigger_sessions: sessions whose gaps make a ticker due; other gaps of the window are then requested with them.
            None means all sessions.
        verify_existing: compare external bars with the vendor's, and take them over.
        purpose: what the intraday requests are made for.
        patient: request absent bars once, and once more when that makes them vendor gaps.
        batch_size: tickers per batch, if the run goes in batches.
        batch_delay_seconds: pause between batches.
        stored_as: other intervals as whose bars the answers are stored, too; built from the same rows.
        universe_note: what a person should know of a past universe, in one line; empty without.
    """

    window: Window
    symbols: tuple[Symbol, ...]
    interval: Interval
    source_interval: Interval
    strategy: Strategy = Strategy.HYBRID
    force: bool = False
    replace_other_feed: bool = False
    user_selected: bool = False
    trigger_sessions: frozenset[date] | None = None
    verify_existing: bool = False
    purpose: Purpose = Purpose.GAP
    patient: bool = False
    batch_size: int | None = None
    batch_delay_seconds: float = 0.0
    stored_as: tuple[Interval, ...] = ()
    universe_note: str = ""

    @property
    def market(self) -> MarketProfile:
        """The exchange of the window."""
        return self.window.market


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts that a run works with, created once per process.

    ``claims_sure_seconds``: how long after a heartbeat a run is sure of its claims (``fetch.held_claims``).
    """

    database: Database
    settings: Settings
    claims_sure_seconds: float = SURE_SECONDS

    @property
    def prices(self) -> CallPrices:
        """What the vendor charges for each request."""
        return CALL_PRICES

    def get_max_span(self, source: Interval) -> timedelta:
        """The longest span of one intraday request of a source interval: the vendor's, or a shorter one that is set."""
        return min(timedelta(days=self.settings.max_span_days), REQUEST_LIMITS.get_max_span(source.name))

    def measure(self, job: BackfillJob, *, trust_census: bool = True) -> Coverage:
        """The state of every slot of the job's window, read from the store now (``store.coverage``)."""
        grid = build_slot_grid(job.window.sessions, job.interval)
        rules = self.settings.build_gap_rules(job.market, job.source_interval)
        if job.patient:
            rules = replace(rules, retry_schedule=rules.retry_schedule.ask_once_more())
        with self.database.transaction() as connection:
            coverage = measure_coverage(
                connection,
                job.symbols,
                grid,
                job.source_interval,
                rules,
                self.settings.now(),
                trust_census=trust_census,
            )
            if job.verify_existing:
                return replace(coverage, external_bars=read_external_bars(connection, job.symbols, grid))
            return coverage

    def find_mixed_feeds(self, coverage: Coverage) -> MixedFeeds | None:
        """The sessions of a coverage whose bars come from two feeds of the vendor; None if there are none."""
        with self.database.transaction() as connection:
            return find_mixed_feeds(connection, coverage.symbols, coverage.grid)

    def plan(self, job: BackfillJob, coverage: Coverage) -> Plan:
        """The requests that the job would send for a measured coverage; no vendor calls.

        Tickers whose newest answer could not be read wait, unless a person aims at tickers.
        """
        options = PlanOptions(
            calls_per_request=self.prices.intraday,
            overlap_sessions=self.settings.overlap_sessions,
            max_span=self.get_max_span(job.source_interval),
            max_trading=REQUEST_LIMITS.get_max_trading(job.source_interval.seconds),
            vendor_max_span=REQUEST_LIMITS.get_max_span(job.source_interval.name),
            first_day=find_feed_beginning(job.market, job.source_interval.name),
            strategy=job.strategy,
            force=job.force,
            user_selected=job.user_selected,
            trigger_sessions=job.trigger_sessions,
        )
        plan = make_plan(coverage, options)
        if not plan.requests:
            return plan
        with self.database.transaction() as connection:
            tickers = {request.symbol.symbol_id: request.symbol.ticker for request in plan.requests}
            plan = fit_to_listings(plan, coverage, read_listing_bounds(connection, tickers.items()))
            if job.force or job.user_selected:
                return plan
            return defer_unreadable(plan, read_failing_tickers(connection, self.vendor_access))

    def create_budget(self, purpose: Purpose = Purpose.GAP) -> Budget:
        """The budget of the token for a purpose.

        Raises:
            TokenRefused: no token is set.
        """
        if purpose is Purpose.LIVE:
            return self.create_live_budget()
        return Budget(self.database, self.require_token(), build_limits(self.settings), purpose)

    def create_live_budget(self) -> LiveBudget:
        """The budget of live collection.

        Raises:
            TokenRefused: no token is set.
        """
        return LiveBudget(self.database, self.require_token(), build_limits(self.settings), self.settings.live_budget)

    def create_claims(self, run_id: UUID, interval: Interval) -> HeldClaims:
        """The claims of a run, none at first."""
        return HeldClaims(self.database, run_id, interval, sure_seconds=self.claims_sure_seconds)

    def estimate_seconds(self, plan: Plan) -> float:
        """Estimated duration of a plan in seconds, with the vendor's usual response time."""
        settings = self.settings
        return plan.estimate_seconds(
            int(settings.requests_per_minute * settings.minute_share),
            settings.rate_window_seconds,
            settings.in_flight_max,
        )

    def require_matching_host(self) -> None:
        """Make sure that the store contains no bars of another vendor host.

        Raises:
            UsageError: the database contains bars of another host.
        """
        with self.database.transaction() as connection:
            require_source_host(connection, self.settings.vendor_host)

    @asynccontextmanager
    async def open_vendor_client(
        self, purpose: Purpose, run_id: UUID | None = None, usage: Usage | None = None
    ) -> AsyncIterator[tuple[SharedRateLimiter, VendorClient]]:
        """Open the vendor's client behind the rate limiter of the shared budget.

        Args:
            purpose: what the requests are made for; ``VendorClient.for_purpose`` gives a client of another one.
            run_id: the run that the requests belong to, for the request log.
            usage: counts what is spent.

        Raises:
            TokenRefused: no token is set.
        """
        from backfill_assets.eodhd.client import EodhdClient

        settings = self.settings
        concurrency = AdaptiveConcurrencyLimit(settings.in_flight_start, settings.in_flight_max)
        async with (
            SharedRateLimiter(
                self.create_budget(purpose), self.database, concurrency, settings.now, run_id, usage
            ) as rate_limiter,
            EodhdClient(
                base_url=settings.base_url,
                token=self.require_token(),
                rate_limiter=rate_limiter,
                purpose=purpose,
                optional_endpoints=self.create_optional_endpoints(),
                timeout_seconds=settings.request_timeout_seconds,
                attempts=settings.attempts,
                backoff_seconds=settings.backoff_seconds,
                max_connections=settings.in_flight_max,
            ) as client,
        ):
            stopped = StopRequested("a signal told this process to stop")
            with call_on_stop(lambda: rate_limiter.close(stopped)):
                yield rate_limiter, client

    def create_optional_endpoints(self) -> StoredOptionalEndpoints:
        """What is known about endpoints that the token's plan may lack.

        Raises:
            TokenRefused: no token is set.
        """
        return StoredOptionalEndpoints(self.database, self.require_token(), self.settings.now)

    @property
    def vendor_access(self) -> str:
        """A fingerprint of the vendor's address and the token: failures with one say nothing about another."""
        token = self.settings.token.get_secret_value() if self.settings.token else ""
        return fingerprint_token(f"{self.settings.base_url} {token.strip()}")

    def require_token(self) -> str:
        """The vendor's token.

        Raises:
            TokenRefused: none is set.
        """
        if self.settings.token is None:
            raise TokenRefused("no API token is set")
        return self.settings.token.get_secret_value().strip()
