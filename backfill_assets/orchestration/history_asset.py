"""The assets that show how far the history has come: one for each exchange, a partition a month, green when complete.

Runs of ``fill_history`` and ``verify_window`` record the months that the census shows to be complete: those become so
by other runs, too, also when nothing of the history is left to request. Nothing else materializes them.
Dagster cannot withdraw an event: what is deleted later is found by the next walk, and by the checks.
"""

from contextlib import suppress
from datetime import datetime
from typing import Any

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.history.estimate import describe_history
from backfill_assets.backfill.history.frontier import require_history_from
from backfill_assets.backfill.history.spending import HistoryWalk
from backfill_assets.config.counts import format_count
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, parse_interval
from backfill_assets.market.calendar.sessions import SessionsUnknown
from backfill_assets.market.calendar.windows import list_newest_known_sessions
from backfill_assets.market.exchanges.feed_beginnings import find_feed_beginning
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.orchestration.dagster_internals.materialization_events import record_materializations
from backfill_assets.orchestration.exchange_names import GROUP, add_exchange, build_bars_key, describe_market
from backfill_assets.quality.census.report import WholeHistory, read_whole_histories
from backfill_assets.quality.census.upkeep import update_census
from backfill_assets.quality.month_strip import build_month_strip

MONTH_FORMAT = "%Y-%m"


def build_history_key(interval: str, exchange: str) -> dg.AssetKey:
    """The key of the asset that shows the history of an interval's bars of an exchange."""
    name = "history" if interval == DEFAULT_INTERVAL else f"history_{interval}"
    return dg.AssetKey(add_exchange(name, exchange))


def build_history_specs(settings: Settings, market: MarketProfile) -> list[dg.AssetSpec]:
    """The assets of an exchange, one an interval; none without BACKFILL_HISTORY_FROM.

    Raises:
        UsageError: BACKFILL_HISTORY_FROM is before everything that the vendor has.
    """
    require_history_from(settings)
    if settings.history_from is None:
        return []
    return [
        dg.AssetSpec(
            build_history_key(interval, market.exchange),
            description="The months since BACKFILL_HISTORY_FROM that are over and complete: fill_history and"
            " verify_window record each. There is nothing to materialize by hand. How far all of it is: under Events,"
            " in the newest observation." + describe_market(market),
            # lineage only: no change of the bars marks a month as out of date
            deps=[dg.AssetDep(build_bars_key(interval, market.exchange), partition_mapping=dg.AllPartitionMapping())],
            group_name=add_exchange(GROUP, market.exchange),
            kinds={"postgres"},
            partitions_def=_build_months(settings, market, interval),
        )
        for interval in settings.intervals
    ]


def _build_months(settings: Settings, market: MarketProfile, interval: str) -> dg.MonthlyPartitionsDefinition:
    """The months since BACKFILL_HISTORY_FROM, or since the vendor's feed of the interval begins."""
    beginning = find_feed_beginning(market, settings.choose_source(market, parse_interval(interval)).name)
    first = max(settings.history_from or beginning, beginning)
    return dg.MonthlyPartitionsDefinition(start_date=first.strftime(MONTH_FORMAT), fmt=MONTH_FORMAT)


def record_history(context: dg.OpExecutionContext, engine: Engine, walk: HistoryWalk) -> None:
    """Record the months that are complete and that Dagster does not show yet, and how far all of it has come."""
    settings = engine.settings
    if settings.history_from is None:  # symbols with days of their own alone have no asset
        return
    progress = {name: value for name, value in (describe_history(engine) or {}).items() if value is not None}
    for interval in settings.intervals:
        update_census(engine.database, settings, settings.markets, parse_interval(interval))
        for key, history in record_complete_months(context, engine, interval):
            metadata = {**progress, "newest walk": walk.describe_end(), **_describe(history)}
            context.log_event(dg.AssetObservation(key, metadata=metadata))


def record_complete_months(
    context: dg.OpExecutionContext, engine: Engine, interval: str
) -> list[tuple[dg.AssetKey, WholeHistory]]:
    """Record the months that are complete by the census and that Dagster does not show yet; returns what was read.

    Nothing is read without BACKFILL_HISTORY_FROM: then there is no asset.
    """
    settings = engine.settings
    if settings.history_from is None:
        return []
    histories = [
        (build_history_key(interval, history.table.scope.market.exchange), history)
        for history in read_whole_histories(engine.database, settings, list_known(settings), interval)
    ]
    for key, history in histories:
        months = find_new_months(context.instance, history, key, settings.now())
        record_materializations(context, months)
        context.log.info(f"{key.to_user_string()}: {format_count(len(months), 'more month')} complete")
    return histories


def _describe(history: WholeHistory) -> dict[str, Any]:
    """What the asset shows of the whole store: the answer in one line, and each month."""
    strip = build_month_strip(history.table.list_by_month())
    return {
        "whole store": history.answer.describe(),
        "months of the whole store": dg.MarkdownMetadataValue(strip.to_markdown()),
    }


def list_known(settings: Settings) -> list[MarketProfile]:
    """The exchanges whose sessions can be told now."""
    known = []
    for market in settings.markets:
        with suppress(SessionsUnknown):
            list_newest_known_sessions(market, settings.now(), 1)
            known.append(market)
    return known


def find_new_months(
    instance: dg.DagsterInstance, history: WholeHistory, key: dg.AssetKey, now: datetime
) -> list[dg.AssetMaterialization]:
    """The events of months that are over, lack nothing by the census, and are not recorded."""
    recorded, present = instance.get_materialized_partitions(key), now.strftime(MONTH_FORMAT)
    return [
        dg.AssetMaterialization(key, partition=row["month"], metadata=row)
        for row in history.table.list_by_month()
        if row["month"] < present
        and row["month"] not in recorded
        and not row["missing_bars"]
        and not row["unmeasured_symbols"]
    ]
