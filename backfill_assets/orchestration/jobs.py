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
from backfill_assets.orchestration.assets import POOL, build_bars_key
from backfill_assets.orchestration.dagster_internals.materialization_events import record_partitions
from backfill_assets.orchestration.daily_data import read_and_record
from backfill_assets.orchestration.materialization import (
    build_run_metadata,
    find_complete_partitions,
    run_and_measure,
    summarize_run,
)
from backfill_assets.orchestration.progress_log import log_progress


class WindowConfig(dg.Config):
    """A window and how to fill it: ``start`` to ``end``, both inclusive, or the past ``hours_back`` (48 if unset)."""

    interval: str = DEFAULT_INTERVAL
    hours_back: float | None = None
    start: str | None = None
    end: str | None = None
    symbols: list[str] = Field(default_factory=list)
    strategy: str = "hybrid"
    force: bool = False
    verify_existing: bool = False
    dry_run: bool = False

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
    context: dg.OpExecutionContext, config: WindowConfig, engine: dg.ResourceParam[Engine]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Plan a window and, unless it is a dry run, fill it and record its complete partitions."""
    job, unknown = build_job(engine, config.to_job_request())
    job = replace(job, user_selected=job.user_selected or config.has_explicit_window)
    if unknown:
        context.log.warning("not active symbols: %s", ", ".join(map(str, unknown)))
    plan = engine.plan(job, engine.measure(job))
    seconds = engine.estimate_seconds(plan)
    context.log.info(
        f"{job.window.description}: {len(plan.requests)} requests · {plan.calls} calls · about {seconds:.0f} s"
    )
    if config.dry_run or not job.window.sessions:
        context.add_output_metadata({"requests": len(plan.requests), "calls": plan.calls, "dry run": config.dry_run})
        return
    with log_progress(engine, context.log.info) as listener:
        materialized = run_and_measure(engine, job, listener)
    if materialized.result.stopped is None:
        read_and_record(context, engine)
    complete = [partition for partition, _ in find_complete_partitions(engine, materialized)]
    record_partitions(context, build_bars_key(config.interval), complete)
    context.log.info(summarize_run(materialized))
    key = build_bars_key(config.interval)
    context.log_event(dg.AssetObservation(key, metadata=build_run_metadata(materialized, len(complete))))
    yield from _build_check_evaluations(engine, config.interval)
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


@dg.job(description="Fill a window of your choice, or only plan it (dry_run).")
def backfill_gaps() -> None:
    """One step: ``fill_window``."""
    fill_window()


class ReviewConfig(dg.Config):
    """What to review: the symbols that are due, or ``symbols`` even if reviewed recently; at most ``calls`` calls."""

    interval: str = DEFAULT_INTERVAL
    symbols: list[str] = Field(default_factory=list)
    calls: int | None = None


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def review_recent(context: dg.OpExecutionContext, config: ReviewConfig, engine: dg.ResourceParam[Engine]) -> None:
    """Re-read recent sessions with leftover quota; vendor corrections are stored as revisions."""
    from backfill_assets.backfill.review import run_review  # imports the vendor's client

    job, _ = build_job(engine, JobRequest(interval=config.interval, symbols=config.symbols))
    with log_progress(engine, context.log.info) as listener:
        result = run_review(engine, job, listener, calls=config.calls)
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


@dg.job(description="Re-read the last 20 sessions of every symbol and store the vendor's corrections (weekly).")
def review_bars() -> None:
    """One step: ``review_recent``."""
    review_recent()


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def read_settled_days(context: dg.OpExecutionContext, engine: dg.ResourceParam[Engine]) -> None:
    """Read the daily data of settled sessions that were not read yet, and the corporate actions that are due."""
    reading = read_and_record(context, engine)
    if reading.stopped is not None:
        raise dg.Failure(f"{reading.stopped}; what was read is stored", allow_retries=False)


@dg.job(name="read_daily_data", description="Read the daily data that bars are compared with (once for each session).")
def daily_data() -> None:
    """One step: ``read_settled_days``."""
    read_settled_days()


class VerifyConfig(dg.Config):
    """The window of the checks; the past 48 hours if unset."""

    hours_back: float | None = None


def build_verify_job(interval: str) -> dg.JobDefinition:
    """The job that evaluates the checks of an interval's bars without a materialization."""
    suffix = "" if interval == DEFAULT_INTERVAL else f"_{interval}"

    # not in the pool: it makes no vendor calls, and must report gaps while a backfill runs
    @dg.op(name=f"judge_window{suffix}", out=dg.Out(dg.Nothing))
    def judge_window(config: VerifyConfig, engine: dg.ResourceParam[Engine]) -> Iterator[dg.AssetCheckEvaluation]:
        """Evaluate the checks on what the store holds now."""
        yield from _build_check_evaluations(engine, interval, config.hours_back)

    @dg.job(name=f"verify_window{suffix}", description="Evaluate the checks on what the store holds now.")
    def verify() -> None:
        judge_window()

    return verify
