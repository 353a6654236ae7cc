"""What runs by the clock: the checks, the report of the morning, the weekly review. Times are New York's."""

import warnings
from typing import Any

import dagster as dg

from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.orchestration.partitions import TIME_ZONE

MORNING_CRON = "15 8 * * 2-6"
SUNDAY_NOON_CRON = "0 12 * * 0"  # when nothing else needs the day's calls


def get_default_schedule_status(settings: Settings) -> dg.DefaultScheduleStatus:
    """Whether schedules run by default."""
    return dg.DefaultScheduleStatus.RUNNING if settings.auto else dg.DefaultScheduleStatus.STOPPED


def build_window_checks_schedule(settings: Settings, job: Any) -> dg.ScheduleDefinition:
    """The checks without a materialisation, so that a gap is noticed although nothing runs.

    Raises:
        UsageError: BACKFILL_CHECKS_CRON is not a valid cron expression.
    """
    try:
        with warnings.catch_warnings():
            # of a step beyond the field's range, such as */70, Dagster only warns
            warnings.filterwarnings("error", "Found a cron schedule", UserWarning)
            return dg.ScheduleDefinition(
                name=job.name.replace("verify_window", "window_checks_schedule"),
                job=job,
                cron_schedule=settings.checks_cron,
                execution_timezone=str(TIME_ZONE),
                default_status=get_default_schedule_status(settings),
            )
    except (dg.DagsterInvalidDefinitionError, UserWarning):  # the settings check the number of fields only
        raise UsageError(
            f"BACKFILL_CHECKS_CRON is {settings.checks_cron!r}: not a valid cron expression; example: */15 * * * *"
        ) from None


def build_morning_report_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """The report, once absence counts."""
    return dg.ScheduleDefinition(
        name="morning_report_schedule",
        target=dg.AssetSelection.assets("data_quality_report"),
        cron_schedule=MORNING_CRON,
        execution_timezone=str(TIME_ZONE),
        default_status=get_default_schedule_status(settings),
    )


def build_review_schedule(settings: Settings, job: Any) -> dg.ScheduleDefinition:
    """The weekly review; who is not reached goes first the next time."""
    return dg.ScheduleDefinition(
        name="review_schedule",
        job=job,
        cron_schedule=SUNDAY_NOON_CRON,
        execution_timezone=str(TIME_ZONE),
        default_status=get_default_schedule_status(settings),
    )
