"""The job that fills gaps of sessions whether they are partitions or not, which ``healing_sensor`` starts.

The job that fills a window of a person's choice is in ``jobs``.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import dagster as dg
from pydantic import Field

from backfill_assets.backfill.due_work import build_retained_sessions_job
from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.older_sessions import find_older_sessions
from backfill_assets.backfill.spare_calls import count_spare_requests
from backfill_assets.backfill.watched_sessions import find_common_day, record_watched
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.market.purposes import Purpose
from backfill_assets.orchestration.certificates import certify_and_log
from backfill_assets.orchestration.dagster_internals.materialization_events import record_partitions
from backfill_assets.orchestration.daily_data import read_and_record
from backfill_assets.orchestration.exchange_names import build_bars_key, build_symbol_dimension
from backfill_assets.orchestration.jobs import INTERVAL_DESCRIPTION, raise_stopped
from backfill_assets.orchestration.materialization import (
    MaterializedRun,
    Partition,
    build_run_metadata,
    build_span_job,
    find_complete_partitions,
    run_and_measure,
    summarize_run,
)
from backfill_assets.orchestration.progress_log import log_progress
from backfill_assets.orchestration.universe_asset import POOL
from backfill_assets.orchestration.verify_jobs import build_check_evaluations


class HealConfig(dg.Config):
    """Which sessions of which symbols to fill."""

    interval: str = Field(DEFAULT_INTERVAL, description=INTERVAL_DESCRIPTION)
    exchange: str = Field(DEFAULT_EXCHANGE, description="The vendor's code of an exchange.")
    symbols: list[str] = Field(description="Tickers such as AAPL.US; none: only write the certificates that are due.")
    start: str = Field(description="The first session, such as 2026-06-01.")
    end: str = Field(description="The last session, which is included.")
    only_spare_calls: bool = Field(
        False, description="Spend only calls that nothing else needs, as for sessions that were not watched before."
    )


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def fill_sessions(
    context: dg.OpExecutionContext, config: HealConfig, backfill_engine: dg.ResourceParam[Engine]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Fill the gaps that are due; record complete partitions in Dagster and watched sessions in the store."""
    engine, market = backfill_engine, backfill_engine.settings.get_market(config.exchange)
    first, last = date.fromisoformat(config.start), date.fromisoformat(config.end)
    job = build_span_job(engine, market, config.interval, config.symbols, first, last)
    if not config.symbols:
        certify_and_log(context, engine, market, config.interval, job.window.sessions)
        return
    if config.only_spare_calls:
        job = replace(job, purpose=Purpose.HISTORY, symbols=job.symbols[: count_spare_requests(engine)])
    if not job.window.sessions or not job.symbols:
        context.log.info(
            "no session due: the selected days have not opened, no selected symbol is active, or no calls are left over"
        )
        return
    with log_progress(engine, context.log.info) as listener:
        materialized = run_and_measure(engine, job, listener)
    if materialized.result.stopped is None:
        read_and_record(context, engine, [market])
    recorded = _record_filled_partitions(context, engine, job, materialized)
    _record_older_sessions(context, engine, job)
    context.log.info(summarize_run(materialized))
    key = build_bars_key(config.interval, market.exchange)
    context.log_event(dg.AssetObservation(key, metadata=build_run_metadata(materialized, recorded)))
    yield from build_check_evaluations(engine, market, config.interval)
    raise_stopped([materialized.result.stopped])


def _record_filled_partitions(
    context: dg.OpExecutionContext, engine: Engine, job: BackfillJob, materialized: MaterializedRun
) -> int:
    """Record the complete partitions of the run's symbols, as a run over partitions does; returns how many.

    What is no partition, or none any more, has no event: nobody would see it.
    """
    exchange, key = job.market.exchange, build_bars_key(job.interval.name, job.market.exchange)
    partitions = set(context.instance.get_dynamic_partitions(build_symbol_dimension(exchange)))
    symbols = tuple(symbol for symbol in job.symbols if str(symbol.ticker) in partitions)
    window = build_retained_sessions_job(engine, job.market, job.interval.name).window
    if not symbols or not window.sessions:
        return 0
    after = engine.measure(replace(job, window=window, symbols=symbols))
    recorded = context.instance.get_materialized_partitions(key)
    complete: list[Partition] = [
        partition
        for partition, written in find_complete_partitions(engine, replace(materialized, after=after))
        if written or f"{partition[1]}|{partition[0]}" not in recorded
    ]
    record_partitions(context, key, complete, exchange)
    return len(complete)


def _record_older_sessions(context: dg.OpExecutionContext, engine: Engine, job: BackfillJob) -> None:
    """Record which older sessions are watched now; certify those of the job that no symbol keeps incomplete."""
    retained = build_retained_sessions_job(engine, job.market, job.interval.name)
    older = find_older_sessions(engine, retained)
    if older is None:
        certify_and_log(context, engine, job.market, job.interval.name, job.window.sessions)
        return
    record_watched(engine, engine.measure(replace(older.job, symbols=job.symbols)), older.newer.window.sessions[0])
    common_day = find_common_day(engine, older.job.symbols, job.interval)
    complete = [s for s in job.window.sessions if common_day is not None and s.day >= common_day]
    certify_and_log(context, engine, job.market, job.interval.name, complete)


@dg.job(
    executor_def=dg.in_process_executor,
    description="Fill gaps of sessions, partitions or not. The healing sensor starts it.",
)
def heal_sessions() -> None:
    """One step: ``fill_sessions``."""
    fill_sessions()
