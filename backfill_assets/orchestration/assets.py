"""The assets of an exchange's bars, one an interval. They translate between Dagster and the engine.

The universe is in ``universe_asset``, the reports are in ``quality_report``; the work is in ``backfill`` and
``quality``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
from pydantic import Field

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.planner import Strategy
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.orchestration import checks
from backfill_assets.orchestration.certificates import certify_and_log
from backfill_assets.orchestration.dagster_internals.materialization_events import record_partitions
from backfill_assets.orchestration.daily_data import read_and_record
from backfill_assets.orchestration.exchange_names import (
    GROUP,
    add_exchange,
    build_bars_key,
    build_market_metadata,
    describe_market,
)
from backfill_assets.orchestration.materialization import (
    build_partition_job,
    build_run_metadata,
    find_complete_partitions,
    run_and_measure,
    summarize_run,
)
from backfill_assets.orchestration.progress_log import log_progress
from backfill_assets.orchestration.timetable import Morning
from backfill_assets.orchestration.universe_asset import POOL, UNIVERSE_KEY

SENSOR_TAG = "dagster/sensor_name"
PARENT_TAG, RETRY_TAG = "dagster/parent_run_id", "dagster/retry_number"
STRATEGY_DESCRIPTION = (
    "Which gaps to request: all in the window (targeted), the same with a second pass over failed requests (hybrid), or"
    " those after each symbol's newest final bar (incremental)."
)
FORCE_DESCRIPTION = "Request everything in the window, also complete sessions and recent requests."
CHECKS_WINDOW_DESCRIPTION = "Hours back from now that the checks look at; unset: 48."


class BarsConfig(dg.Config):
    """The launchpad options of one run."""

    strategy: str = Field("hybrid", description=STRATEGY_DESCRIPTION)
    force: bool = Field(False, description=FORCE_DESCRIPTION)
    hours_back: float | None = Field(None, description=CHECKS_WINDOW_DESCRIPTION)


@dataclass(frozen=True)
class ExchangeBars:
    """What the assets of an exchange's bars have in common.

    Attributes:
        market: the exchange, as it was when the definitions were loaded; runs read it again.
        exchanges: all that are collected.
        partitions: symbol × day.
        morning: when its bars are overdue.
        days: what the description says of the hours of a day; empty where there is a night between two.
    """

    market: MarketProfile
    exchanges: tuple[str, ...]
    partitions: dg.MultiPartitionsDefinition
    morning: Morning
    days: str


def build_bars_asset(bars: ExchangeBars, interval: str, *, live: bool) -> dg.AssetsDefinition:
    """The asset of one interval's bars with its checks; each can be selected alone.

    Args:
        bars: of which exchange.
        interval: name of the interval.
        live: whether live samples make bars of this interval.
    """
    exchange = bars.market.exchange
    key = build_bars_key(interval, exchange)

    @dg.multi_asset(
        name=add_exchange(f"bars_{interval}", exchange),
        specs=[_build_spec(bars, interval)],
        check_specs=checks.build_check_specs(key, bars.market, live=live),
        can_subset=True,
        pool=POOL,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def fill_bars(
        context: dg.AssetExecutionContext, config: BarsConfig, backfill_engine: dg.ResourceParam[Engine]
    ) -> Iterator[Any]:
        market = backfill_engine.settings.get_market(exchange)
        checks.build_evaluation_job(
            backfill_engine, market, interval, config.hours_back
        )  # rejects an invalid window before any vendor call
        stopped = None
        if context.selected_asset_keys:
            stopped = _materialize(context, config, backfill_engine, market, interval)
        evaluation = checks.evaluate(backfill_engine, market, interval, config.hours_back)
        yield from checks.build_check_results(key, evaluation, context.selected_asset_check_keys)
        if stopped is not None:
            raise dg.Failure(f"{stopped}; what was fetched is stored", allow_retries=False)

    return fill_bars


def _build_spec(bars: ExchangeBars, interval: str) -> dg.AssetSpec:
    market = bars.market
    return dg.AssetSpec(
        build_bars_key(interval, market.exchange),
        description=f"{interval} bars in Postgres. A partition is green once each slot of its session has a final bar"
        f" or provably had no trade.{bars.days}{describe_market(market)}",
        deps=[UNIVERSE_KEY],
        skippable=True,
        group_name=add_exchange(GROUP, market.exchange),
        kinds={"postgres", "eodhd"},
        freshness_policy=dg.FreshnessPolicy.cron(
            deadline_cron=bars.morning.deadline_cron,
            lower_bound_delta=bars.morning.reach,
            timezone=str(market.zone),
        ),
        partitions_def=bars.partitions,
        metadata=build_market_metadata(market, bars.exchanges),
    )


def is_manual_run(tags: Mapping[str, str]) -> bool:
    """Whether a person started the run with these tags.

    "Re-execute" in the UI copies the tags of the sensor's run, so the parent's tag decides; a retry has that one, too.
    """
    re_executed = PARENT_TAG in tags and RETRY_TAG not in tags
    return re_executed or SENSOR_TAG not in tags


def _materialize(
    context: dg.AssetExecutionContext, config: BarsConfig, engine: Engine, market: MarketProfile, interval: str
) -> Exception | None:
    """Fill the run's partition range and record its complete partitions; returns the error that stopped it."""
    is_manual = is_manual_run(context.run.tags)  # then each gap is requested once, regardless of the retry schedule
    job = build_partition_job(engine, market, interval, context.partition_keys, explicit=is_manual)
    job = replace(job, strategy=Strategy(config.strategy), force=config.force, replace_other_feed=config.force)
    if not job.window.sessions or not job.symbols:
        context.log.info("no session due: the selected days have not opened, or no selected symbol is active")
        return None
    with log_progress(engine, context.log.info) as listener:
        materialized = run_and_measure(engine, job, listener)
    key = build_bars_key(interval, market.exchange)
    recorded = set() if is_manual else context.instance.get_materialized_partitions(key)
    complete = [
        partition
        for partition, written in find_complete_partitions(engine, materialized)
        if written or f"{partition[1]}|{partition[0]}" not in recorded
    ]
    record_partitions(context, key, complete, market.exchange)  # first: what follows takes longer than few bars
    if materialized.result.stopped is None:
        read_and_record(context, engine, [market])
    certify_and_log(context, engine, market, interval, job.window.sessions)
    context.log.info(summarize_run(materialized))
    context.log_event(dg.AssetObservation(key, metadata=build_run_metadata(materialized, len(complete))))
    return materialized.result.stopped
