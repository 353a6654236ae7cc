"""The job that fills a window of a person's choice, and its configuration.

The jobs that read again are in ``reading_jobs``, those that only judge in ``verify_jobs``.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

import dagster as dg
from pydantic import Field

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.job_request import JobRequest, collect_jobs
from backfill_assets.backfill.planner import Plan, Strategy
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.orchestration.assets import FORCE_DESCRIPTION, STRATEGY_DESCRIPTION
from backfill_assets.orchestration.certificates import certify_and_log
from backfill_assets.orchestration.dagster_internals.materialization_events import record_partitions
from backfill_assets.orchestration.daily_data import read_and_record
from backfill_assets.orchestration.exchange_loop import start_attempts
from backfill_assets.orchestration.exchange_names import build_bars_key
from backfill_assets.orchestration.materialization import (
    build_run_metadata,
    find_complete_partitions,
    run_and_measure,
    summarize_run,
)
from backfill_assets.orchestration.progress_log import log_progress
from backfill_assets.orchestration.universe_asset import POOL
from backfill_assets.orchestration.verify_jobs import build_check_evaluations

INTERVAL_DESCRIPTION = "The bar interval, such as 30m."
SYMBOLS_DESCRIPTION = "Tickers such as AAPL; unset: every active symbol."
EXCHANGE_DESCRIPTION = "The vendor's code of an exchange; unset: those of the symbols, else all that are collected."


class WindowConfig(dg.Config):
    """A window and how to fill it: ``start`` to ``end``, both inclusive, or the past ``hours_back`` (48 if unset)."""

    interval: str = Field(DEFAULT_INTERVAL, description=INTERVAL_DESCRIPTION)
    hours_back: float | None = Field(None, description="Hours back from now; unset with no start and end: 48.")
    start: str | None = Field(None, description="The first session, such as 2026-06-01; belongs to end.")
    end: str | None = Field(None, description="The last session, which is included.")
    symbols: list[str] = Field(default_factory=list, description=SYMBOLS_DESCRIPTION)
    exchange: str | None = Field(None, description=EXCHANGE_DESCRIPTION)
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
            exchange=self.exchange,
            strategy=Strategy(self.strategy),
            force=self.force,
            verify_existing=self.verify_existing,
            will_request=True,
        )


@dataclass(frozen=True)
class _Filled:
    """What came of a window on one exchange; without evaluations and error if it was only planned."""

    plan: Plan
    evaluations: Sequence[dg.AssetCheckEvaluation] = ()
    stopped: Exception | None = None


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def fill_window(
    context: dg.OpExecutionContext, config: WindowConfig, backfill_engine: dg.ResourceParam[Engine]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Plan a window and, unless it is a dry run, fill it and record its complete partitions."""
    collected = collect_jobs(backfill_engine, config.to_job_request())
    if collected.unknown:
        context.log.warning("not active symbols: %s", ", ".join(map(str, collected.unknown)))
    jobs = {job.market.exchange: job for job in collected.jobs}
    attempts = start_attempts(collected, context.log)
    results: list[_Filled] = []
    for market in attempts.markets:
        filled = attempts.attempt(market, lambda m: _fill(context, config, backfill_engine, jobs[m.exchange]))
        if filled is not None:
            results.append(filled)
            yield from filled.evaluations
    if config.dry_run or not any(job.window.sessions for job in jobs.values()):
        plans = [result.plan for result in results]
        figures = {"requests": sum(len(plan.requests) for plan in plans), "calls": sum(plan.calls for plan in plans)}
        context.add_output_metadata({**figures, "dry run": config.dry_run})
    attempts.raise_failures()
    raise_stopped(result.stopped for result in results)


def raise_stopped(errors: Iterable[Exception | None]) -> None:
    """End a step as a failure if something stopped one of its runs.

    Raises:
        Failure: the first error.
    """
    for stopped in filter(None, errors):
        raise dg.Failure(f"{stopped}; what was fetched is stored", allow_retries=False)


def _fill(context: dg.OpExecutionContext, config: WindowConfig, engine: Engine, job: BackfillJob) -> _Filled:
    job = replace(job, user_selected=job.user_selected or config.has_explicit_window)
    plan = engine.plan(job, engine.measure(job))
    seconds = engine.estimate_seconds(plan)
    context.log.info(
        f"{job.window.description}: {len(plan.requests)} requests · {plan.calls} calls · about {seconds:.0f} s"
    )
    if config.dry_run or not job.window.sessions:
        return _Filled(plan)
    with log_progress(engine, context.log.info) as listener:
        materialized = run_and_measure(engine, job, listener)
    complete = [partition for partition, _ in find_complete_partitions(engine, materialized)]
    key = build_bars_key(config.interval, job.market.exchange)
    record_partitions(context, key, complete, job.market.exchange)
    if materialized.result.stopped is None:
        read_and_record(context, engine, [job.market])
    certify_and_log(context, engine, job.market, config.interval, job.window.sessions)
    context.log.info(summarize_run(materialized))
    context.log_event(dg.AssetObservation(key, metadata=build_run_metadata(materialized, len(complete))))
    evaluations = build_check_evaluations(engine, job.market, config.interval)
    return _Filled(plan, evaluations, materialized.result.stopped)


@dg.job(executor_def=dg.in_process_executor, description="Fill a window of your choice, or only plan it (dry_run).")
def backfill_gaps() -> None:
    """One step: ``fill_window``."""
    fill_window()
