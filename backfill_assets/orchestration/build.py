"""Builds the Dagster definitions from the settings. What others call is ``definitions.build_backfill_definitions``."""

import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import dagster as dg

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.orchestration.action_assets import build_adjusted_bars_spec, corporate_actions
from backfill_assets.orchestration.alert_sensor import build_alert_sensor
from backfill_assets.orchestration.assets import build_bars_asset, data_quality_report, market_symbols
from backfill_assets.orchestration.catalog import describe_assets, read_asset_relations
from backfill_assets.orchestration.complete_sessions import build_complete_sessions_asset
from backfill_assets.orchestration.complete_sessions_sensor import build_complete_sessions_sensor, verify_sessions
from backfill_assets.orchestration.dagster_internals.partition_start import resolve_first_partition_day
from backfill_assets.orchestration.jobs import backfill_gaps, build_verify_job, daily_data, review_bars
from backfill_assets.orchestration.live_assets import build_live_schedule, live_quotes
from backfill_assets.orchestration.partitions import build_bars_partitions
from backfill_assets.orchestration.resources import RESOURCE_KEY, build_engine_resource
from backfill_assets.orchestration.schedules import (
    build_morning_report_schedule,
    build_review_schedule,
    build_window_checks_schedule,
)
from backfill_assets.orchestration.sensors import (
    build_daily_data_sensor,
    build_gap_backfill_sensor,
    build_symbol_partitions_sensor,
)


def build_definitions(settings: Settings, overrides: Mapping[str, Any] = MappingProxyType({})) -> dg.Definitions:
    """Assets, checks, sensors, schedules and jobs for the intervals in the settings.

    They name no executor, so that they merge into any project.

    Args:
        settings: what is shown, and when it starts.
        overrides: of the settings that runs and ticks read; by field name.

    Raises:
        DatabaseUnavailable: no database; the number of symbols decides how many days are partitions.
    """
    partitions = build_bars_partitions(settings, resolve_first_partition_day(settings))
    verify_jobs = [build_verify_job(interval) for interval in settings.intervals]
    return dg.Definitions(
        assets=_build_described_assets(settings, partitions),
        jobs=[
            *(backfill_gaps, review_bars, daily_data, *verify_jobs),
            *([verify_sessions] if _list_gated_universes(settings) else []),
        ],
        sensors=_build_sensors(settings, partitions),
        schedules=[
            *(build_window_checks_schedule(settings, job) for job in verify_jobs),
            build_morning_report_schedule(settings),
            build_review_schedule(settings, review_bars),
            *([build_live_schedule(settings, overrides)] if settings.live else []),
        ],
        resources={RESOURCE_KEY: build_engine_resource(overrides)},
    )


def _build_described_assets(
    settings: Settings, partitions: dg.MultiPartitionsDefinition
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    relations = read_asset_relations(settings)
    with warnings.catch_warnings():
        for kind in (dg.BetaWarning, dg.PreviewWarning):  # of code references and partitioned checks; the pin covers it
            warnings.simplefilter("ignore", kind)
        return describe_assets(_build_assets(settings, partitions), relations, settings.owners, settings.code_url)


def _build_assets(
    settings: Settings, partitions: dg.MultiPartitionsDefinition
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    live = {interval.name for interval in settings.list_live_intervals()}
    return [
        market_symbols,
        *(build_bars_asset(interval, partitions, live=interval in live) for interval in settings.intervals),
        *([live_quotes] if settings.live else []),
        corporate_actions,
        build_adjusted_bars_spec(settings.intervals),
        data_quality_report,
        *(build_complete_sessions_asset(settings, universe) for universe in _list_gated_universes(settings)),
    ]


def _list_gated_universes(settings: Settings) -> tuple[str, ...]:
    """Certificates are about bars of the default interval, so without its asset there is nothing to certify."""
    return settings.universes if DEFAULT_INTERVAL in settings.intervals else ()


def _build_sensors(settings: Settings, partitions: dg.MultiPartitionsDefinition) -> list[dg.SensorDefinition]:
    return [
        build_symbol_partitions_sensor(settings),
        build_alert_sensor(settings),
        build_daily_data_sensor(settings, daily_data),
        *(build_gap_backfill_sensor(settings, interval, partitions) for interval in settings.intervals),
        *([build_complete_sessions_sensor(settings)] if _list_gated_universes(settings) else []),
    ]
