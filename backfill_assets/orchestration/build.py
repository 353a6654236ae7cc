"""Builds the Dagster definitions from the settings."""

import dagster as dg

from backfill_assets.config.settings import Settings
from backfill_assets.orchestration.action_assets import build_adjusted_bars_spec, corporate_actions
from backfill_assets.orchestration.alert_sensor import build_alert_sensor
from backfill_assets.orchestration.assets import build_bars_asset, data_quality_report, market_symbols
from backfill_assets.orchestration.dagster_internals.partition_start import resolve_first_partition_day
from backfill_assets.orchestration.jobs import backfill_gaps, build_verify_job, daily_data, review_bars
from backfill_assets.orchestration.live_assets import build_live_schedule, live_quotes
from backfill_assets.orchestration.partitions import build_bars_partitions
from backfill_assets.orchestration.resources import EngineResource
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


def build_definitions(settings: Settings) -> dg.Definitions:
    """Assets, checks, sensors, schedules and jobs for the intervals in the settings.

    Raises:
        DatabaseUnavailable: no database; the number of symbols decides how many days are partitions.
    """
    partitions = build_bars_partitions(settings, resolve_first_partition_day(settings))
    verify_jobs = [build_verify_job(interval) for interval in settings.intervals]
    live = {interval.name for interval in settings.list_live_intervals()}
    return dg.Definitions(
        assets=[
            market_symbols,
            *(build_bars_asset(interval, partitions, live=interval in live) for interval in settings.intervals),
            *([live_quotes] if settings.live else []),
            corporate_actions,
            build_adjusted_bars_spec(settings.intervals),
            data_quality_report,
        ],
        jobs=[backfill_gaps, review_bars, daily_data, *verify_jobs],
        sensors=_build_sensors(settings, partitions),
        schedules=[
            *(build_window_checks_schedule(settings, job) for job in verify_jobs),
            build_morning_report_schedule(settings),
            build_review_schedule(settings, review_bars),
            *([build_live_schedule(settings)] if settings.live else []),
        ],
        resources={"engine": EngineResource()},
        executor=dg.in_process_executor,
    )


def _build_sensors(settings: Settings, partitions: dg.MultiPartitionsDefinition) -> list[dg.SensorDefinition]:
    return [
        build_symbol_partitions_sensor(settings),
        build_alert_sensor(settings),
        build_daily_data_sensor(settings, daily_data),
        *(build_gap_backfill_sensor(settings, interval, partitions) for interval in settings.intervals),
    ]
