"""The assets: the universe, the bars of each interval, and the data-quality report.

They translate between Dagster and the engine; the work is in ``backfill`` and ``quality``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from backfill_assets.backfill.due_work import build_retained_sessions_job
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.listing_filter import UNUSABLE, ListingFilter, parse_filter_words
from backfill_assets.backfill.planner import Strategy
from backfill_assets.backfill.symbol_sync import SymbolSyncResult, sync_universe
from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE, TIME_ZONE
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.orchestration import checks
from backfill_assets.orchestration.catalog import ROW_COUNT
from backfill_assets.orchestration.certificates import certify_and_log
from backfill_assets.orchestration.dagster_internals.materialization_events import record_partitions
from backfill_assets.orchestration.daily_data import read_and_record
from backfill_assets.orchestration.materialization import (
    build_partition_job,
    build_run_metadata,
    find_complete_partitions,
    run_and_measure,
    summarize_run,
)
from backfill_assets.orchestration.partitions import sync_symbol_partitions
from backfill_assets.orchestration.progress_log import log_progress
from backfill_assets.quality.action_entries import mark_sessions
from backfill_assets.quality.corporate_actions_listing import list_window_actions
from backfill_assets.quality.heatmap import build_heatmap
from backfill_assets.quality.live_accuracy import read_live_accuracy
from backfill_assets.quality.report_formats import to_markdown
from backfill_assets.quality.symbol_reports import read_symbol_reports
from backfill_assets.store.name_notes import describe_names
from backfill_assets.store.relations import count_universe_rows
from backfill_assets.store.symbols import read_universe

POOL = "eodhd"
GROUP = "market_data"
UNIVERSE_KEY = dg.AssetKey("market_symbols")
SENSOR_TAG = "dagster/sensor_name"
PARENT_TAG, RETRY_TAG = "dagster/parent_run_id", "dagster/retry_number"
FRESHNESS_POLICY = dg.FreshnessPolicy.cron(
    deadline_cron="0 8 * * 2-6", lower_bound_delta=timedelta(hours=13), timezone=str(TIME_ZONE)
)


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


def build_bars_key(interval: str) -> dg.AssetKey:
    """The key of the asset that holds an interval's bars."""
    return dg.AssetKey(f"bars_{interval}")


@dg.asset(key=UNIVERSE_KEY, group_name=GROUP, kinds={"postgres"}, pool=POOL)
def market_symbols(
    context: dg.AssetExecutionContext, backfill_engine: dg.ResourceParam[Engine]
) -> dg.MaterializeResult[Any]:
    """The universe: active rows of market_symbols. With BACKFILL_SYNC_EXCHANGE, adds the vendor's new symbols first."""
    synced = _sync_with_vendor(backfill_engine)
    with backfill_engine.database.transaction() as connection:
        universe = read_universe(connection, DEFAULT_EXCHANGE)
        row_count = count_universe_rows(connection)
        notes = describe_names(connection, universe)
    active = [str(symbol.ticker) for symbol in universe.symbols if symbol.is_active]
    added, removed = sync_symbol_partitions(context.instance, active)
    return dg.MaterializeResult(
        metadata={
            **{"active": len(active), "partitions added": added, "partitions removed": removed, ROW_COUNT: row_count},
            **(_build_sync_metadata(synced) if synced else {}),
            **({"names not used": "; ".join(notes)} if notes else {}),
        }
    )


def _sync_with_vendor(engine: Engine) -> SymbolSyncResult | None:
    settings = engine.settings
    if settings.sync_exchange is None:
        return None
    wanted = ListingFilter(parse_filter_words(settings.sync_listing), parse_filter_words(settings.sync_type))
    return sync_universe(engine, settings.sync_exchange, wanted)


def _build_sync_metadata(synced: SymbolSyncResult) -> dict[str, int | str]:
    return {
        "listed by the vendor": synced.listed,
        "new": synced.added,
        "unusable": len(synced.left_out.get(UNUSABLE, ())),
        "left out": synced.left_out_count,
        "notes": "; ".join(synced.describe()),
    }


def build_bars_asset(interval: str, partitions: dg.MultiPartitionsDefinition, *, live: bool) -> dg.AssetsDefinition:
    """The asset of one interval's bars with its checks; each can be selected alone.

    Args:
        interval: name of the interval.
        partitions: symbol × day.
        live: whether live samples make bars of this interval.
    """
    key = build_bars_key(interval)
    spec = dg.AssetSpec(
        key,
        description=f"{interval} bars in Postgres. A partition is green once each slot of its session has a final bar"
        " or provably had no trade.",
        deps=[UNIVERSE_KEY],
        skippable=True,
        group_name=GROUP,
        kinds={"postgres", "eodhd"},
        freshness_policy=FRESHNESS_POLICY,
        partitions_def=partitions,
    )

    @dg.multi_asset(
        name=f"bars_{interval}",
        specs=[spec],
        check_specs=checks.build_check_specs(key, live=live),
        can_subset=True,
        pool=POOL,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def bars(
        context: dg.AssetExecutionContext, config: BarsConfig, backfill_engine: dg.ResourceParam[Engine]
    ) -> Iterator[Any]:
        checks.build_evaluation_job(
            backfill_engine, interval, config.hours_back
        )  # rejects an invalid window before any vendor call
        stopped = None
        if context.selected_asset_keys:
            stopped = _materialize(context, config, backfill_engine, interval)
        evaluation = checks.evaluate(backfill_engine, interval, config.hours_back)
        yield from checks.build_check_results(key, evaluation, context.selected_asset_check_keys)
        if stopped is not None:
            raise dg.Failure(f"{stopped}; what was fetched is stored", allow_retries=False)

    return bars


def is_manual_run(tags: Mapping[str, str]) -> bool:
    """Whether a person started the run with these tags.

    "Re-execute" in the UI copies the tags of the sensor's run, so the parent's tag decides; a retry has that one, too.
    """
    re_executed = PARENT_TAG in tags and RETRY_TAG not in tags
    return re_executed or SENSOR_TAG not in tags


def _materialize(
    context: dg.AssetExecutionContext, config: BarsConfig, engine: Engine, interval: str
) -> Exception | None:
    """Fill the run's partition range and record its complete partitions; returns the error that stopped it."""
    is_manual = is_manual_run(context.run.tags)  # then each gap is requested once, regardless of the retry schedule
    job = build_partition_job(engine, interval, context.partition_keys, explicit=is_manual)
    job = replace(job, strategy=Strategy(config.strategy), force=config.force, replace_other_feed=config.force)
    if not job.window.sessions or not job.symbols:
        context.log.info("no session due: the selected days have not opened, or no selected symbol is active")
        return None
    with log_progress(engine, context.log.info) as listener:
        materialized = run_and_measure(engine, job, listener)
    if materialized.result.stopped is None:
        read_and_record(context, engine)
    certify_and_log(context, engine, interval, job.window.sessions)
    key = build_bars_key(interval)
    recorded = set() if is_manual else context.instance.get_materialized_partitions(key)
    complete = [
        partition
        for partition, written in find_complete_partitions(engine, materialized)
        if written or f"{partition[1]}|{partition[0]}" not in recorded
    ]
    record_partitions(context, key, complete)
    context.log.info(summarize_run(materialized))
    context.log_event(dg.AssetObservation(key, metadata=build_run_metadata(materialized, len(complete))))
    return materialized.result.stopped


@dg.asset(group_name=GROUP, kinds={"postgres"}, deps=[build_bars_key(DEFAULT_INTERVAL)])
def data_quality_report(
    context: dg.AssetExecutionContext, backfill_engine: dg.ResourceParam[Engine]
) -> dg.MaterializeResult[Any]:
    """The data-quality report over the default window, with a heat map of all retained sessions."""
    from backfill_assets.quality.heatmap_image import render_heatmap_markdown  # matplotlib is slow to import

    if backfill_engine.settings.token is not None:
        read_and_record(context, backfill_engine)
    retained_coverage = backfill_engine.measure(build_retained_sessions_job(backfill_engine, DEFAULT_INTERVAL))
    evaluation = checks.evaluate(backfill_engine, DEFAULT_INTERVAL)
    if evaluation is None:
        return dg.MaterializeResult(metadata={"symbols": 0})
    with backfill_engine.database.transaction() as connection:
        rows = read_symbol_reports(connection, evaluation.coverage)
        actions = list_window_actions(connection, retained_coverage)
    accuracy = read_live_accuracy(backfill_engine.database, evaluation.coverage)
    worst = sorted(rows, key=lambda row: (-row.estimated_missing_bars, row.completeness, row.symbol))[:100]
    days = [session.day for session in retained_coverage.grid.sessions]
    picture = render_heatmap_markdown(build_heatmap(retained_coverage, mark_sessions(actions, days)))
    return dg.MaterializeResult(
        metadata={
            **{"symbols": len(rows), ROW_COUNT: len(rows)},
            "expected_bars": sum(row.expected_bars for row in rows),
            "bar_count": sum(row.bar_count for row in rows),
            "estimated_missing_bars": sum(row.estimated_missing_bars for row in rows),
            "criteria_failed": sum(not criterion.passed for criterion in evaluation.criteria),
            "live_bars": str(accuracy or "no live bar was replaced by a final bar"),
            "corporate_actions": len(actions),
            "heat-map": dg.MarkdownMetadataValue(picture),
            "report": dg.MarkdownMetadataValue(to_markdown(worst)),
        }
    )
