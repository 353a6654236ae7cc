"""Builds the Dagster definitions from the settings. What others call is ``definitions.build_backfill_definitions``.

Which exchanges there are says the setting, never the database: what is there must not come and go with rows.
"""

import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import dagster as dg

from backfill_assets.config.calendar_cache import use_calendar_cache
from backfill_assets.config.settings import Settings
from backfill_assets.orchestration.action_assets import build_adjusted_bars_spec, corporate_actions
from backfill_assets.orchestration.alert_sensor import build_alert_sensor
from backfill_assets.orchestration.catalog import describe_assets, read_asset_relations
from backfill_assets.orchestration.complete_sessions_sensor import verify_sessions
from backfill_assets.orchestration.dagster_internals.partition_start import resolve_first_partition_days
from backfill_assets.orchestration.exchange_definitions import (
    Definition,
    ExchangeDefinitions,
    build_exchange_definitions,
)
from backfill_assets.orchestration.exchange_names import build_bars_key
from backfill_assets.orchestration.gated_universes import list_gated_universes
from backfill_assets.orchestration.jobs import backfill_gaps
from backfill_assets.orchestration.live_assets import build_live_schedule, live_quotes
from backfill_assets.orchestration.quality_report import build_overview_asset
from backfill_assets.orchestration.reading_jobs import daily_data, review_bars
from backfill_assets.orchestration.resources import RESOURCE_KEY, build_engine_resource
from backfill_assets.orchestration.schedules import build_review_schedule, build_window_checks_schedule
from backfill_assets.orchestration.shared_sensors import build_daily_data_sensor, build_symbol_partitions_sensor
from backfill_assets.orchestration.universe_asset import market_symbols
from backfill_assets.orchestration.verify_jobs import build_verify_job


def build_definitions(settings: Settings, overrides: Mapping[str, Any] = MappingProxyType({})) -> dg.Definitions:
    """Assets, checks, sensors, schedules and jobs for the exchanges and intervals in the settings.

    They name no executor, so that they merge into any project.

    Args:
        settings: what is shown, and when it starts.
        overrides: of the settings that runs and ticks read; by field name.

    Raises:
        UsageError: an exchange's calendar or a universe cannot be used.
        DatabaseUnavailable: no database; the number of symbols decides how many days are partitions.
    """
    use_calendar_cache(settings)
    parts = _build_parts(settings)
    verify_jobs = [build_verify_job(interval) for interval in settings.intervals]
    has_live = settings.live and any(part.market.has_live_quotes for part in parts)
    return dg.Definitions(
        assets=_describe_assets(settings, _build_assets(settings, parts, has_live=has_live)),
        jobs=[
            *(backfill_gaps, review_bars, daily_data, *verify_jobs),
            *([verify_sessions] if any(part.gates for part in parts) else []),
        ],
        sensors=_build_sensors(settings, parts),
        schedules=[
            *(build_window_checks_schedule(settings, job) for job in verify_jobs),
            *_build_schedules(settings, parts),
            *([build_live_schedule(settings, overrides)] if has_live else []),
        ],
        resources={RESOURCE_KEY: build_engine_resource(overrides)},
    )


def _build_parts(settings: Settings) -> list[ExchangeDefinitions]:
    markets, gated = settings.markets, list_gated_universes(settings)
    first_days = resolve_first_partition_days(settings, markets)
    return [
        build_exchange_definitions(settings, market, first_days[market.exchange], gated[market.exchange])
        for market in markets
    ]


def _describe_assets(settings: Settings, assets: Sequence[Definition]) -> list[Definition]:
    relations = read_asset_relations(settings)
    with warnings.catch_warnings():
        for kind in (dg.BetaWarning, dg.PreviewWarning):  # of code references and partitioned checks; the pin covers it
            warnings.simplefilter("ignore", kind)
        return describe_assets(assets, relations, settings.owners, settings.code_url)


def _build_assets(settings: Settings, parts: Sequence[ExchangeDefinitions], *, has_live: bool) -> list[Definition]:
    markets = [part.market for part in parts]
    bars = [build_bars_key(interval, market.exchange) for market in markets for interval in settings.intervals]
    return [
        market_symbols,
        *(asset for part in parts for asset in part.bars),
        *([live_quotes] if has_live else []),
        corporate_actions,
        build_adjusted_bars_spec(bars),
        *(part.report for part in parts),
        *([build_overview_asset(markets)] if len(markets) > 1 else []),
        *(asset for part in parts for asset in part.gates),
    ]


def _build_schedules(settings: Settings, parts: Sequence[ExchangeDefinitions]) -> list[dg.ScheduleDefinition]:
    return [*(part.report_schedule for part in parts), build_review_schedule(settings, review_bars)]


def _build_sensors(settings: Settings, parts: Sequence[ExchangeDefinitions]) -> list[dg.SensorDefinition]:
    return [
        build_symbol_partitions_sensor(settings),
        build_alert_sensor(settings),
        build_daily_data_sensor(settings, daily_data),
        *(sensor for part in parts for sensor in part.sensors),
    ]
