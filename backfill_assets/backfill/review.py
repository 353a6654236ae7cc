"""The weekly review: reads recent sessions of every symbol again for corrections (docs/decisions/0017).

It has the lowest priority and spends only calls that no open gap may need today. The least recently reviewed symbol
comes first, with one request each. Differences from the store become revisions, as in any run. Several exchanges share
the spare calls as equally as their due symbols need them.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from backfill_assets.backfill.due_reviews import count_due_reviews
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.fetch.quota_sync import sync_quota
from backfill_assets.backfill.planner import Strategy
from backfill_assets.backfill.results import Progress, ProgressListener, RunResult
from backfill_assets.backfill.review_result import ReviewResult
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.backfill.scarce_requests import count_turns, count_unsettled
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.calendar.windows import Window, build_session_window
from backfill_assets.market.exchange_order import share_fairly
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import IMPROVABLE_STATES
from backfill_assets.market.purposes import Purpose
from backfill_assets.store.evidence.review_log import read_last_reviews, record_reviews

TICKERS_PER_RUN = 250  # per run; the review log is written after each run


def run_review(
    engine: Engine,
    job: BackfillJob,
    on_progress: ProgressListener,
    *,
    calls: int | None = None,
    later: Sequence[BackfillJob] | None = None,
) -> ReviewResult:
    """Read the recent sessions of the job's symbols again, as far as the spare calls suffice.

    Args:
        engine: the parts to work with.
        job: gives the symbols and the interval; its window is ignored. With ``user_selected`` every symbol is due.
        on_progress: receives a report for each ticker.
        calls: spend at most this many calls.
        later: jobs of other exchanges that follow, to which their share is left; None: all exchanges that are
            collected may follow.

    Raises:
        VendorError: no token is set, or the vendor refuses it before the first request.
    """
    recent, newer = _split_sessions(engine, job)
    if not recent:
        return ReviewResult(sessions=0, due=0, affordable=0)
    wide_coverage = engine.measure(replace(job, window=Window(job.window.market, (*recent, *newer), "")))
    window = Window(job.window.market, recent, f"review of the last {len(recent)} sessions")
    job = replace(job, window=window, strategy=Strategy.TARGETED, force=True, purpose=Purpose.REVIEW)
    due = _select_due_symbols(engine, job, wide_coverage)
    calls_left = _count_spare_calls(engine, job, wide_coverage)
    calls_per_ticker = _count_calls_per_ticker(engine, job, due)
    spare = (calls_left if calls is None else min(calls_left, calls)) // max(1, calls_per_ticker)
    affordable = min(len(due), _leave_shares(engine, job, len(due), spare, later))
    review_result = ReviewResult(sessions=len(recent), due=len(due), affordable=affordable)
    for start in range(0, affordable, TICKERS_PER_RUN):
        batch_job = replace(job, symbols=due[start : min(start + TICKERS_PER_RUN, affordable)])
        run_result = run_backfill(engine, batch_job, _accumulate_progress(on_progress, review_result, affordable))
        _record_reviews(engine, batch_job, run_result)
        review_result = review_result.add_run(run_result)
        if review_result.stopped:
            break
    return review_result


def _split_sessions(engine: Engine, job: BackfillJob) -> tuple[tuple[Session, ...], tuple[Session, ...]]:
    """The last overdue sessions, and the newer ones, which ordinary runs handle."""
    settings = engine.settings
    now, rules = settings.now(), settings.build_gap_rules(job.market, job.source_interval)
    opened = build_session_window(job.market, now, settings.review_sessions + 5).sessions
    overdue = [s for s in opened if rules.compute_overdue_at(s) <= now]
    return tuple(overdue[-settings.review_sessions :]), opened[len(overdue) :]


def _select_due_symbols(engine: Engine, job: BackfillJob, coverage: Coverage) -> tuple[Symbol, ...]:
    """Listed symbols that the vendor serves and that are due for a review, the least recently reviewed first."""
    is_reviewed = (coverage.expected > 0) & ~coverage.absence_evidence.is_unserved
    listed = [symbol for symbol, chosen in zip(coverage.symbols, is_reviewed, strict=True) if chosen]
    with engine.database.transaction() as connection:
        last_reviewed = read_last_reviews(connection, [s.symbol_id for s in listed], job.interval, job.source_interval)
    due_before = engine.settings.now() - timedelta(days=engine.settings.review_days)
    never = datetime.min.replace(tzinfo=UTC)
    due = [s for s in listed if job.user_selected or last_reviewed.get(s.symbol_id, never) <= due_before]
    return tuple(sorted(due, key=lambda s: last_reviewed.get(s.symbol_id, never)))


def _leave_shares(
    engine: Engine, job: BackfillJob, due: int, affordable: int, later: Sequence[BackfillJob] | None
) -> int:
    """How many of the affordable reviews this exchange gets, if the due symbols of others get their share."""
    if job.user_selected:
        return affordable
    following = engine.settings.exchanges if later is None else [other.market.exchange for other in later]
    exchanges = [exchange for exchange in following if exchange != job.market.exchange]
    others = {exchange: count_due_reviews(engine, exchange, job.interval) for exchange in exchanges}
    return share_fairly({job.market.exchange: due, **others}, affordable)[job.market.exchange]


def _count_spare_calls(engine: Engine, job: BackfillJob, coverage: Coverage) -> int:
    """The day's remaining calls, less one request for each unsettled symbol, or the share kept for other requests.

    Unsettled symbols of other exchanges count, too, in their recent sessions.
    """
    now = engine.settings.now()
    asyncio.run(_sync_quota(engine))
    unsettled_rows = np.unique(coverage.open_slots.row[np.isin(coverage.slot_states.state, IMPROVABLE_STATES)])
    others = [market for market in engine.settings.markets if market.exchange != job.market.exchange]
    budget = engine.create_budget().read_status(now)
    turns = count_turns(engine, job.market, job.interval, len(unsettled_rows), budget.resets_at)
    unsettled = max(len(unsettled_rows), turns)
    unsettled += sum(count_unsettled(engine, market, job.interval) for market in others)
    reserved = engine.prices.intraday * unsettled
    calls_left = budget.calls_left_today
    return max(0, min(calls_left - reserved, engine.create_budget(Purpose.REVIEW).read_status(now).calls_left_today))


async def _sync_quota(engine: Engine) -> None:
    async with engine.open_vendor_client(Purpose.REVIEW) as (rate_limiter, client):
        await sync_quota(client, rate_limiter.budget, rate_limiter.now())


def _count_calls_per_ticker(engine: Engine, job: BackfillJob, due: Sequence[Symbol]) -> int:
    """Price per symbol: one request, unless ``max_span_days`` is shorter than the review's window."""
    single_job = replace(job, symbols=tuple(due[:1]))
    return engine.plan(single_job, engine.measure(single_job)).calls


def _accumulate_progress(on_progress: ProgressListener, earlier: ReviewResult, ticker_count: int) -> ProgressListener:
    """A listener for one of several runs that reports their total."""

    def report(step: Progress) -> None:
        bars, calls = step.bars + earlier.written.stored, step.calls + earlier.calls
        on_progress(replace(step, done=step.done + len(earlier.outcomes), tickers=ticker_count, bars=bars, calls=calls))

    return report


def _record_reviews(engine: Engine, job: BackfillJob, result: RunResult) -> None:
    answered = {outcome.ticker for outcome in result.outcomes if outcome.error is None}
    ids = [s.symbol_id for s in job.symbols if s.ticker in answered]
    with engine.database.transaction() as connection:
        record_reviews(connection, ids, job.interval, job.source_interval, engine.settings.now())
