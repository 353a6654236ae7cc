"""The jobs and their configuration: a backfill of any window, the review, and the checks alone."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import date

import dagster as dg
from pydantic import Field

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.planner import Strategy
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, parse_interval
from backfill_assets.orchestration import checks
from backfill_assets.orchestration.assets import (
    CHECKS_WINDOW_DESCRIPTION,
    FORCE_DESCRIPTION,
    POOL,
    STRATEGY_DESCRIPTION,
    build_bars_key,
)
from backfill_assets.orchestration.certificates import certify_and_log
from backfill_assets.orchestration.dagster_internals.materialization_events import record_partitions
from backfill_assets.orchestration.daily_data import read_and_record
from backfill_assets.orchestration.materialization import (
    build_run_metadata,
    find_complete_partitions,
    run_and_measure,
    summarize_run,
)
from backfill_assets.orchestration.progress_log import log_progress

INTERVAL_DESCRIPTION = "The bar interval, such as 30m."
SYMBOLS_DESCRIPTION = "Tickers such as AAPL; unset: every active symbol."


class WindowConfig(dg.Config):
    """A window and how to fill it: ``start`` to ``end``, both inclusive, or the past ``hours_back`` (48 if unset)."""

    interval: str = Field(DEFAULT_INTERVAL, description=INTERVAL_DESCRIPTION)
    hours_back: float | None = Field(None, description="Hours back from now; unset with no start and end: 48.")
    start: str | None = Field(None, description="The first session, such as 2026-06-01; belongs to end.")
    end: str | None = Field(None, description="The last session, which is included.")
    symbols: list[str] = Field(default_factory=list, description=SYMBOLS_DESCRIPTION)
    strategy: str = Field("hybrid", description=STRATEGY_DESCRIPTION)
    force: bool = Field(False, description=FORCE_DESCRIPTION)
    verify_existing: bool = Field(
        False,
        description="Compare bars that another program wrote with the vendor's: mark equal ones as verified, and"
        " replace the others.",
    )
    dry_run: bool = Field(False, description="Only plan: log the requests and calls, and send none.")

    @property
    def has_explicit_window(self) -> bool:
        """Whether a person chose the window; then each gap is requested once, as in a manual materialization."""
        return self.hours_back is not None or self.start is not None

    def to_job_request(self) -> JobRequest:
        """The request that the command line's options of the same names make.

        Raises:
            ValueError: invalid date or strategy.
        """
        return JobRequest(
            interval=self.interval,
            hours_back=self.hours_back,
            start=date.fromisoformat(self.start) if self.start else None,
            end=date.fromisoformat(self.end) if self.end else None,
            symbols=self.symbols,
            strategy=Strategy(self.strategy),
            force=self.force,
            verify_existing=self.verify_existing,
        )


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def fill_window(
    context: dg.OpExecutionContext, config: WindowConfig, backfill_engine: dg.ResourceParam[Engine]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Plan a window and, unless it is a dry run, fill it and record its complete partitions."""
    job, unknown = build_job(backfill_engine, config.to_job_request())
    job = replace(job, user_selected=job.user_selected or config.has_explicit_window)
    if unknown:
        context.log.warning("not active symbols: %s", ", ".join(map(str, unknown)))
    plan = backfill_engine.plan(job, backfill_engine.measure(job))
    seconds = backfill_engine.estimate_seconds(plan)
    context.log.info(
        f"{job.window.description}: {len(plan.requests)} requests · {plan.calls} calls · about {seconds:.0f} s"
    )
    if config.dry_run or not job.window.sessions:
        context.add_output_metadata({"requests": len(plan.requests), "calls": plan.calls, "dry run": config.dry_run})
        return
    with log_progress(backfill_engine, context.log.info) as listener:
        materialized = run_and_measure(backfill_engine, job, listener)
    if materialized.result.stopped is None:
        read_and_record(context, backfill_engine)
    certify_and_log(context, backfill_engine, config.interval, job.window.sessions)
    complete = [partition for partition, _ in find_complete_partitions(backfill_engine, materialized)]
    record_partitions(context, build_bars_key(config.interval), complete)
    context.log.info(summarize_run(materialized))
    key = build_bars_key(config.interval)
    context.log_event(dg.AssetObservation(key, metadata=build_run_metadata(materialized, len(complete))))
    yield from _build_check_evaluations(backfill_engine, config.interval)
    if materialized.result.stopped is not None:
        raise dg.Failure(f"{materialized.result.stopped}; what was fetched is stored", allow_retries=False)


def _build_check_evaluations(
    engine: Engine, interval: str, hours_back: float | None = None
) -> Iterator[dg.AssetCheckEvaluation]:
    """The results of an interval's checks, for a step outside the asset."""
    key = build_bars_key(interval)
    live = parse_interval(interval) in engine.settings.list_live_intervals()
    selected = [check.key for check in checks.build_check_specs(key, live=live)]
    for result in checks.build_check_results(key, checks.evaluate(engine, interval, hours_back), selected):
        yield dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=str(result.check_name),
            passed=result.passed,
            metadata=result.metadata or {},
            severity=result.severity,
            description=result.description,
        )


@dg.job(executor_def=dg.in_process_executor, description="Fill a window of your choice, or only plan it (dry_run).")
def backfill_gaps() -> None:
    """One step: ``fill_window``."""
    fill_window()


class ReviewConfig(dg.Config):
    """What to review: the symbols that are due, or ``symbols`` even if reviewed recently; at most ``calls`` calls."""

    interval: str = Field(DEFAULT_INTERVAL, description=INTERVAL_DESCRIPTION)
    symbols: list[str] = Field(
        default_factory=list, description="Tickers such as AAPL, even if reviewed recently; unset: those that are due."
    )
    calls: int | None = Field(None, description="Largest number of calls to spend; unset: what the day has left over.")


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def review_recent(
    context: dg.OpExecutionContext, config: ReviewConfig, backfill_engine: dg.ResourceParam[Engine]
) -> None:
    """Re-read recent sessions with leftover quota; vendor corrections are stored as revisions."""
    from backfill_assets.backfill.review import run_review  # imports the vendor's client

    job, _ = build_job(backfill_engine, JobRequest(interval=config.interval, symbols=config.symbols))
    with log_progress(backfill_engine, context.log.info) as listener:
        result = run_review(backfill_engine, job, listener, calls=config.calls)
    certify_and_log(context, backfill_engine, config.interval)
    figures = {**result.as_dict(), "written": dg.JsonMetadataValue(asdict(result.written))}
    context.log_event(
        dg.AssetObservation(
            build_bars_key(config.interval), metadata={k: v for k, v in figures.items() if v is not None}
        )
    )
    context.log.info(f"{result.reviewed} of {result.due} due tickers reviewed; {result.written.revised} bars revised")
    for warning in result.describe_warnings():
        context.log.warning(warning)
    if result.stopped is not None:
        raise dg.Failure(f"{result.stopped}; what was read is stored", allow_retries=False)


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
    reading = read_and_record(context, backfill_engine)
    if reading.stopped is not None:
        raise dg.Failure(f"{reading.stopped}; what was read is stored", allow_retries=False)


@dg.job(
    name="read_daily_data",
    executor_def=dg.in_process_executor,
    description="Read the daily data that bars are compared with (once for each session).",
)
def daily_data() -> None:
    """One step: ``read_settled_days``."""
    read_settled_days()


class VerifyConfig(dg.Config):
    """The window of the checks; the past 48 hours if unset."""

    hours_back: float | None = Field(None, description=CHECKS_WINDOW_DESCRIPTION)


def build_verify_job(interval: str) -> dg.JobDefinition:
    """The job that evaluates the checks of an interval's bars without a materialization."""
    suffix = "" if interval == DEFAULT_INTERVAL else f"_{interval}"

    # not in the pool: it makes no vendor calls, and must report gaps while a backfill runs
    @dg.op(name=f"judge_window{suffix}", out=dg.Out(dg.Nothing))
    def judge_window(
        context: dg.OpExecutionContext, config: VerifyConfig, backfill_engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.AssetCheckEvaluation]:
        """Evaluate the checks on what the store holds now, and certify what is complete."""
        certify_and_log(context, backfill_engine, interval)
        yield from _build_check_evaluations(backfill_engine, interval, config.hours_back)

    @dg.job(
        name=f"verify_window{suffix}",
        executor_def=dg.in_process_executor,
        description="Evaluate the checks on what the store holds now.",
    )
    def verify() -> None:
        judge_window()

    return verify
