"""The weekly review: recent sessions of every ticker are read again for corrections (DESIGN.md, decision 2).

It has the lowest priority: it spends only calls of the day that nothing open may need. Who was reviewed longest
ago goes first, one request each. What differs from the store is a revision, as in any run.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.fetch.quota_sync import sync_quota
from backfill_assets.backfill.planner import CALLS_PER_REQUEST, Strategy
from backfill_assets.backfill.results import Progress, ProgressListener, RunResult, TickerOutcome
from backfill_assets.eodhd.errors import VendorError
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE, Symbol
from backfill_assets.market.calendar.windows import Window, build_session_window
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import IMPROVABLE_STATES
from backfill_assets.store.bars.bar_writer import WriteCounts
from backfill_assets.store.evidence.review_log import read_last_reviews, record_reviews

TICKERS_PER_RUN = 250  # of one run; between two the ledger is written


@dataclass(frozen=True, slots=True)
class ReviewResult:
    """What a review did.

    Attributes:
        sessions: how many sessions were read again for each ticker.
        due: tickers that were due.
        affordable: how many of them the calls left over paid for.
        outcomes: per ticker asked, how that ended.
        requests: attempts at the vendor.
        calls: what they cost.
        seconds: how long it took.
        written: what became of the bars received; ``revised`` are the vendor's corrections.
        rejected: rows that broke a rule.
        stopped: what ended it early.
    """

    sessions: int
    due: int
    affordable: int
    outcomes: tuple[TickerOutcome, ...] = ()
    requests: int = 0
    calls: int = 0
    seconds: float = 0.0
    written: WriteCounts = field(default_factory=WriteCounts)
    rejected: int = 0
    stopped: VendorError | None = None

    @property
    def reviewed(self) -> int:
        """How many tickers were read again."""
        return sum(o.error is None for o in self.outcomes)

    @property
    def exit_code(self) -> int:
        """What the process should end with: what is left for another day is no failure, nobody's answer is one."""
        if self.stopped is not None:
            return self.stopped.exit_code
        errors = [o.error.exit_code for o in self.outcomes if o.error]
        return max(errors) if errors and not self.reviewed else 0

    def add_run(self, run_result: RunResult) -> "ReviewResult":
        """With what one more run did."""
        return replace(
            self,
            outcomes=(*self.outcomes, *run_result.outcomes),
            requests=self.requests + run_result.requests,
            calls=self.calls + run_result.calls,
            seconds=self.seconds + run_result.seconds,
            written=self.written + run_result.written,
            rejected=self.rejected + run_result.rejected,
            stopped=run_result.stopped,
        )

    def as_dict(self) -> dict[str, Any]:
        """The review as JSON shows it."""
        plain = ("sessions", "due", "affordable", "reviewed", "requests", "calls", "rejected")
        return {
            **{name: getattr(self, name) for name in plain},
            "seconds": round(self.seconds, 3),
            "written": asdict(self.written),
            "errors": {str(o.ticker): str(o.error) for o in self.outcomes if o.error},
            "stopped": str(self.stopped) if self.stopped else None,
        }


def run_review(
    engine: Engine, job: BackfillJob, on_progress: ProgressListener, *, calls: int | None = None
) -> ReviewResult:
    """Read the recent sessions of the job's tickers again, as far as the calls left over go.

    Args:
        engine: the parts to work with.
        job: whose symbols and interval; the window is the review's own. With ``explicit`` every symbol is due.
        listen: is told of each ticker.
        calls: spend at most so many, whatever is left over.

    Raises:
        VendorError: no token is set, or the vendor refuses it before anything is asked.
    """
    recent, newer = _split_sessions(engine, job)
    if not recent:
        return ReviewResult(sessions=0, due=0, affordable=0)
    wide_coverage = engine.measure(replace(job, window=Window((*recent, *newer), "")))
    window = Window(recent, f"review of the last {len(recent)} sessions")
    job = replace(job, window=window, strategy=Strategy.TARGETED, force=True)
    due = _select_due_symbols(engine, job, wide_coverage)
    calls_left = _count_spare_calls(engine, wide_coverage)
    calls_per_ticker = _count_calls_per_ticker(engine, job, due)
    affordable = min(len(due), (calls_left if calls is None else min(calls_left, calls)) // max(1, calls_per_ticker))
    review_result = ReviewResult(sessions=len(recent), due=len(due), affordable=affordable)
    for start in range(0, affordable, TICKERS_PER_RUN):
        batch_job = replace(job, symbols=due[start : min(start + TICKERS_PER_RUN, affordable)])
        run_result = engine.run(batch_job, _accumulate_progress(on_progress, review_result, affordable))
        _record_reviews(engine, batch_job, run_result)
        review_result = review_result.add_run(run_result)
        if review_result.stopped:
            break
    return review_result


def _split_sessions(engine: Engine, job: BackfillJob) -> tuple[tuple[Session, ...], tuple[Session, ...]]:
    """The last sessions whose absence counts, and the newer ones, which are the usual runs' business."""
    settings = engine.settings
    now, rules = settings.now(), settings.build_gap_rules(job.source_interval)
    opened = build_session_window(
        DEFAULT_EXCHANGE, now, settings.review_sessions + 5, settings.load_calendar_overrides()
    ).sessions
    overdue = [s for s in opened if rules.compute_overdue_at(s) <= now]
    return tuple(overdue[-settings.review_sessions :]), opened[len(overdue) :]


def _select_due_symbols(engine: Engine, job: BackfillJob, coverage: Coverage) -> tuple[Symbol, ...]:
    """Listed tickers that were not reviewed lately, the longest ago first."""
    listed = [s for s, expected in zip(coverage.symbols, coverage.expected, strict=True) if expected]
    with engine.database.transaction() as connection:
        last_reviewed = read_last_reviews(connection, [s.symbol_id for s in listed], job.interval, job.source_interval)
    due_before = engine.settings.now() - timedelta(days=engine.settings.review_days)
    never = datetime.min.replace(tzinfo=UTC)
    due = [s for s in listed if job.user_selected or last_reviewed.get(s.symbol_id, never) <= due_before]
    return tuple(sorted(due, key=lambda s: last_reviewed.get(s.symbol_id, never)))


def _count_spare_calls(engine: Engine, coverage: Coverage) -> int:
    """The day's calls, less one request for each ticker that lacks something by now."""
    now = engine.settings.now()
    asyncio.run(_sync_quota(engine))
    unsettled_rows = np.unique(coverage.open_slots.row[np.isin(coverage.slot_states.state, IMPROVABLE_STATES)])
    return max(0, engine.create_budget().read_status(now).calls_left_today - CALLS_PER_REQUEST * len(unsettled_rows))


async def _sync_quota(engine: Engine) -> None:
    async with engine.open_vendor_client() as (rate_limiter, client):
        await sync_quota(client, rate_limiter.budget, rate_limiter.now())


def _count_calls_per_ticker(engine: Engine, job: BackfillJob, due: Sequence[Symbol]) -> int:
    """What one ticker costs: one request, unless the longest span is set shorter than the review."""
    single_job = replace(job, symbols=tuple(due[:1]))
    return engine.plan(single_job, engine.measure(single_job)).calls


def _accumulate_progress(on_progress: ProgressListener, earlier: ReviewResult, ticker_count: int) -> ProgressListener:
    """A listener for one of several runs that tells of all of them."""

    def report(step: Progress) -> None:
        bars, calls = step.bars + earlier.written.stored, step.calls + earlier.calls
        on_progress(replace(step, done=step.done + len(earlier.outcomes), tickers=ticker_count, bars=bars, calls=calls))

    return report


def _record_reviews(engine: Engine, job: BackfillJob, result: RunResult) -> None:
    answered = {outcome.ticker for outcome in result.outcomes if outcome.error is None}
    ids = [s.symbol_id for s in job.symbols if s.ticker in answered]
    with engine.database.transaction() as connection:
        record_reviews(connection, ids, job.interval, job.source_interval, engine.settings.now())
