"""The schedules: the checks, the morning reports, the weekly review.

A report's cron line is in its exchange's time zone, the others are in New York's.
"""

import warnings
from typing import Any

import dagster as dg

from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import US
from backfill_assets.orchestration.exchange_names import add_exchange, build_report_key
from backfill_assets.orchestration.quality_report import OVERVIEW_KEY
from backfill_assets.orchestration.timetable import Morning

SUNDAY_NOON_CRON = "0 12 * * 0"  # no session: the day's calls are free


def get_default_schedule_status(settings: Settings) -> dg.DefaultScheduleStatus:
    """RUNNING unless BACKFILL_AUTO is off."""
    return dg.DefaultScheduleStatus.RUNNING if settings.auto else dg.DefaultScheduleStatus.STOPPED


def build_window_checks_schedule(settings: Settings, job: Any) -> dg.ScheduleDefinition:
    """Evaluates the checks without a materialization, so that gaps are reported even if no run starts.

    Raises:
        UsageError: BACKFILL_CHECKS_CRON is not a valid cron expression.
    """
    require_valid_checks_cron(settings)
    return dg.ScheduleDefinition(
        name=job.name.replace("verify_window", "window_checks_schedule"),
        job=job,
        cron_schedule=settings.checks_cron,
        execution_timezone=str(US.zone),
        default_status=get_default_schedule_status(settings),
    )


def require_valid_checks_cron(settings: Settings) -> None:
    """Check BACKFILL_CHECKS_CRON as Dagster does; the settings check the number of its fields only.

    Raises:
        UsageError: it is not a valid cron expression.
    """
    try:
        with warnings.catch_warnings():
            # Dagster only warns of a step beyond the field's range, such as */70
            warnings.filterwarnings("error", "Found a cron schedule", UserWarning)
            dg.ScheduleDefinition(name="checks", job_name="checks", cron_schedule=settings.checks_cron)
    except (dg.DagsterInvalidDefinitionError, UserWarning):
        raise UsageError(
            f"BACKFILL_CHECKS_CRON is {settings.checks_cron!r}: not a valid cron expression; example: */15 * * * *"
        ) from None


def build_morning_report_schedule(settings: Settings, market: MarketProfile, morning: Morning) -> dg.ScheduleDefinition:
    """Materializes an exchange's report in its morning, when bars of its last session are overdue.

    With several exchanges, the overview of all with it.
    """
    overview = [OVERVIEW_KEY] if len(settings.exchanges) > 1 else []
    return dg.ScheduleDefinition(
        name=add_exchange("morning_report_schedule", market.exchange),
        target=dg.AssetSelection.assets(build_report_key(market.exchange), *overview),
        cron_schedule=morning.report_cron,
        execution_timezone=str(market.zone),
        default_status=get_default_schedule_status(settings),
    )


def build_review_schedule(settings: Settings, job: Any) -> dg.ScheduleDefinition:
    """Starts the weekly review; symbols that it does not reach come first the next time."""
    return dg.ScheduleDefinition(
        name="review_schedule",
        job=job,
        cron_schedule=SUNDAY_NOON_CRON,
        execution_timezone=str(US.zone),
        default_status=get_default_schedule_status(settings),
    )
