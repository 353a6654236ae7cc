"""Jobs for the launchpad, with typed configuration: a backfill of any window, the review, and the checks alone."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import date

import dagster as dg
from pydantic import Field

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import Wish, job_of
from backfill_assets.backfill.planner import Strategy
from backfill_assets.market.calendar.intervals import interval_named
from backfill_assets.orchestration import checks
from backfill_assets.orchestration.assets import POOL, bars_key
from backfill_assets.orchestration.dagster_internals.materialization_events import record_partitions
from backfill_assets.orchestration.materialization import complete_partitions, fill, run_metadata, told
from backfill_assets.orchestration.progress_log import progress_in


class WindowConfig(dg.Config):
    """A window and how to fill it; without dates the past ``hours_back`` (48 if unset), dates inclusive."""

    interval: str = "30m"
    hours_back: float | None = None
    start: str | None = None
    end: str | None = None
    symbols: list[str] = Field(default_factory=list)
    strategy: str = "hybrid"
    force: bool = False
    verify_existing: bool = False
    dry_run: bool = False

    @property
    def names_a_window(self) -> bool:
        """Whether a person chose the window; that gets one ask for each gap, as materialising does."""
        return self.hours_back is not None or self.start is not None

    def wish(self) -> Wish:
        """The same as the command line's options.

        Raises:
            ValueError: a date or strategy that is none.
        """
        return Wish(
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
    """Plan and, unless it is a dry run, fill a window; its complete partitions become green."""
    job, unknown = job_of(engine, config.wish())
    job = replace(job, explicit=job.explicit or config.names_a_window)
    if unknown:
        context.log.warning("not active in the universe: %s", ", ".join(map(str, unknown)))
    plan = engine.plan(job, engine.survey(job))
    seconds = engine.estimated_seconds(plan)
    context.log.info(f"{job.window.described}: {len(plan.asks)} requests · {plan.calls} calls · about {seconds:.0f} s")
    if config.dry_run or not job.window.sessions:
        context.add_output_metadata({"requests": len(plan.asks), "calls": plan.calls, "dry run": config.dry_run})
        return
    with progress_in(engine, context.log.info) as listen:
        filled = fill(engine, job, listen)
    complete = [partition for partition, _ in complete_partitions(engine, filled)]
    record_partitions(context, bars_key(config.interval), complete)
    context.log.info(told(filled))
    key = bars_key(config.interval)
    context.log_event(dg.AssetObservation(key, metadata=run_metadata(filled, len(complete))))
    yield from _evaluations(engine, config.interval)
    if filled.result.stopped is not None:
        raise dg.Failure(f"{filled.result.stopped}; what was fetched is stored", allow_retries=False)


def _evaluations(engine: Engine, interval: str, hours_back: float | None = None) -> Iterator[dg.AssetCheckEvaluation]:
    """The results of an interval's checks, from a step that is not the asset's own."""
    key = bars_key(interval)
    live = interval_named(interval) in engine.settings.live_intervals()
    selected = [check.key for check in checks.specs(key, live=live)]
    for result in checks.check_results(key, checks.judged(engine, interval, hours_back), selected):
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
    """Whose recent sessions are read again; with symbols, theirs however lately they were reviewed."""

    interval: str = "30m"
    symbols: list[str] = Field(default_factory=list)
    calls: int | None = None


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def review_recent(context: dg.OpExecutionContext, config: ReviewConfig, engine: dg.ResourceParam[Engine]) -> None:
    """Read recent sessions again, with calls that nothing open needs today."""
    from backfill_assets.backfill.review import review  # brings the vendor's client, which looking does without

    job, _ = job_of(engine, Wish(interval=config.interval, symbols=config.symbols))
    with progress_in(engine, context.log.info) as listen:
        done = review(engine, job, listen, calls=config.calls)
    figures = {**done.as_dict(), "written": dg.JsonMetadataValue(asdict(done.written))}
    context.log_event(
        dg.AssetObservation(bars_key(config.interval), metadata={k: v for k, v in figures.items() if v is not None})
    )
    context.log.info(f"{done.reviewed} of {done.due} tickers due were reviewed; {done.written.revised} bars revised")
    if done.stopped is not None:
        raise dg.Failure(f"{done.stopped}; what was read is stored", allow_retries=False)


@dg.job(description="Read the last 20 sessions of every ticker again for the vendor's corrections (weekly).")
def review_bars() -> None:
    """One step: ``review_recent``."""
    review_recent()


class VerifyConfig(dg.Config):
    """What is judged; the past 48 hours if unset."""

    hours_back: float | None = None


def verify_window(interval: str) -> dg.JobDefinition:
    """The checks of an interval's bars, without a materialisation."""
    suffix = "" if interval == "30m" else f"_{interval}"

    # not in the pool of the backfills: it asks the vendor nothing, and what they leave out is to be noticed meanwhile
    @dg.op(name=f"judge_window{suffix}", out=dg.Out(dg.Nothing))
    def judge_window(config: VerifyConfig, engine: dg.ResourceParam[Engine]) -> Iterator[dg.AssetCheckEvaluation]:
        """Judge what the store holds now."""
        yield from _evaluations(engine, interval, config.hours_back)

    @dg.job(name=f"verify_window{suffix}", description="Judge the success criteria on what the store holds now.")
    def verify() -> None:
        judge_window()

    return verify
