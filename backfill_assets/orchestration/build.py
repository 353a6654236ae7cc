"""Everything that Dagster shows, put together for given settings."""

import dagster as dg

from backfill_assets.config.settings import Settings
from backfill_assets.orchestration.alert_sensor import alert_sensor
from backfill_assets.orchestration.assets import bars_asset, data_quality_report, market_symbols
from backfill_assets.orchestration.dagster_internals.partition_start import first_partition_day
from backfill_assets.orchestration.jobs import backfill_gaps, review_bars, verify_window
from backfill_assets.orchestration.live_assets import live_quotes, live_schedule
from backfill_assets.orchestration.partitions import bars_partitions
from backfill_assets.orchestration.resources import EngineResource
from backfill_assets.orchestration.schedules import morning_report_schedule, review_schedule, window_checks_schedule
from backfill_assets.orchestration.sensors import gap_backfill_sensor, symbol_partitions_sensor


def build_definitions(settings: Settings) -> dg.Definitions:
    """Assets, checks, sensors, schedules and jobs for the intervals that are switched on.

    Raises:
        DatabaseUnavailable: no database: the universe's size decides how many days are partitions.
    """
    partitions = bars_partitions(settings, first_partition_day(settings))
    verifying = [verify_window(interval) for interval in settings.intervals]
    live = {interval.name for interval in settings.live_intervals()}
    return dg.Definitions(
        assets=[
            market_symbols,
            *(bars_asset(interval, partitions, live=interval in live) for interval in settings.intervals),
            *([live_quotes] if settings.live else []),
            data_quality_report,
        ],
        jobs=[backfill_gaps, review_bars, *verifying],
        sensors=[
            symbol_partitions_sensor(settings),
            alert_sensor(settings),
            *(gap_backfill_sensor(settings, interval, partitions) for interval in settings.intervals),
        ],
        schedules=[
            *(window_checks_schedule(settings, job) for job in verifying),
            morning_report_schedule(settings),
            review_schedule(settings, review_bars),
            *([live_schedule(settings)] if settings.live else []),
        ],
        resources={"engine": EngineResource()},
        executor=dg.in_process_executor,
    )
