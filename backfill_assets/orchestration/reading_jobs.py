"""The jobs that read again or read what bars are compared with: the weekly review and the daily data."""

from dataclasses import asdict

import dagster as dg
from pydantic import Field

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, collect_jobs
from backfill_assets.backfill.review_result import ReviewResult
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.orchestration.certificates import certify_and_log
from backfill_assets.orchestration.daily_data import raise_failures, read_and_record
from backfill_assets.orchestration.exchange_loop import start_attempts
from backfill_assets.orchestration.exchange_names import build_bars_key
from backfill_assets.orchestration.jobs import EXCHANGE_DESCRIPTION, INTERVAL_DESCRIPTION
from backfill_assets.orchestration.progress_log import log_progress
from backfill_assets.orchestration.universe_asset import POOL


class ReviewConfig(dg.Config):
    """What to review: the symbols that are due, or ``symbols`` even if reviewed recently; at most ``calls`` calls."""

    interval: str = Field(DEFAULT_INTERVAL, description=INTERVAL_DESCRIPTION)
    symbols: list[str] = Field(
        default_factory=list, description="Tickers such as AAPL, even if reviewed recently; unset: those that are due."
    )
    exchange: str | None = Field(None, description=EXCHANGE_DESCRIPTION)
    calls: int | None = Field(None, description="Largest number of calls to spend; unset: what the day has left over.")


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def review_recent(
    context: dg.OpExecutionContext, config: ReviewConfig, backfill_engine: dg.ResourceParam[Engine]
) -> None:
    """Re-read recent sessions with leftover quota; vendor corrections are stored as revisions."""
    from backfill_assets.backfill.review import run_review  # imports the vendor's client

    request = JobRequest(interval=config.interval, symbols=config.symbols, exchange=config.exchange)
    collected = collect_jobs(backfill_engine, request)
    jobs = {job.market.exchange: job for job in collected.jobs}
    attempts, results, calls_left = start_attempts(collected, context.log), [], config.calls

    def review(market: MarketProfile) -> ReviewResult:
        with log_progress(backfill_engine, context.log.info) as listener:
            return run_review(backfill_engine, jobs[market.exchange], listener, calls=calls_left)

    for market in attempts.markets:
        result = attempts.attempt(market, review)
        if result is None:
            continue
        results.append(result)
        calls_left = None if calls_left is None else calls_left - result.calls
        certify_and_log(context, backfill_engine, market, config.interval)
        _log_review(context, build_bars_key(config.interval, market.exchange), result)
    attempts.raise_failures()
    for stopped in filter(None, (result.stopped for result in results)):
        raise dg.Failure(f"{stopped}; what was read is stored", allow_retries=False)


def _log_review(context: dg.OpExecutionContext, key: dg.AssetKey, result: ReviewResult) -> None:
    figures = {**result.as_dict(), "written": dg.JsonMetadataValue(asdict(result.written))}
    context.log_event(dg.AssetObservation(key, metadata={k: v for k, v in figures.items() if v is not None}))
    context.log.info(f"{result.reviewed} of {result.due} due tickers reviewed; {result.written.revised} bars revised")
    for warning in result.describe_warnings():
        context.log.warning(warning)


@dg.job(
    executor_def=dg.in_process_executor,
    description="Re-read the last 20 sessions of every symbol and store the vendor's corrections (weekly).",
)
def review_bars() -> None:
    """One step: ``review_recent``."""
    review_recent()


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def read_settled_days(context: dg.OpExecutionContext, backfill_engine: dg.ResourceParam[Engine]) -> None:
    """Read the daily data of settled sessions that were not read yet, and the corporate actions that are due."""
    raise_failures(read_and_record(context, backfill_engine, backfill_engine.settings.markets))


@dg.job(
    name="read_daily_data",
    executor_def=dg.in_process_executor,
    description="Read the daily data that bars are compared with (once for each session).",
)
def daily_data() -> None:
    """One step: ``read_settled_days``."""
    read_settled_days()
