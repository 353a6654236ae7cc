"""The job that deletes Dagster's old history, and its schedule: they exist only with BACKFILL_PURGE_DAYS.

Nothing of the store is deleted, nor what Dagster still shows: partitions that are some, the newest event of each asset,
the newest result of each check, and everything of complete sessions, which other people's assets wait for. How it is
deleted is in ``dagster_internals.history``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from backfill_assets.config.counts import format_count
from backfill_assets.config.settings import Settings
from backfill_assets.market.exchanges.registry import US
from backfill_assets.orchestration.dagster_internals.history import (
    get_location_label,
    purge_check_results,
    purge_partition_events,
    purge_runs,
    purge_ticks,
)
from backfill_assets.orchestration.schedules import get_default_schedule_status

JOB_NAME = "purge_dagster_history"
SCHEDULE_NAME = "purge_schedule"
EARLY_MORNING_CRON = "30 3 * * *"  # in New York: the day's sessions are settled, and most exchanges are closed


@dataclass(frozen=True)
class _Scope:
    """What may be purged: the history of this program's definitions, and of no other's.

    Attributes:
        first_days: of each bars asset, the first day that its definition shows.
        keys: all assets whose runs and check results may go.
        jobs: names of the jobs.
        instigators: names of the sensors and schedules.
    """

    first_days: Mapping[dg.AssetKey, date]
    keys: frozenset[dg.AssetKey]
    jobs: frozenset[str]
    instigators: frozenset[str]


def add_purge(
    definitions: dg.Definitions, settings: Settings, first_days: Mapping[dg.AssetKey, date]
) -> dg.Definitions:
    """``definitions``, with a job that purges their history and its schedule if BACKFILL_PURGE_DAYS is set.

    Args:
        definitions: of this program.
        settings: of the process.
        first_days: of each bars asset, the first day that its definition shows.
    """
    if settings.purge_days is None:
        return definitions
    job = _build_job(settings.purge_days, _find_scope(definitions, first_days))
    schedule = dg.ScheduleDefinition(
        name=SCHEDULE_NAME,
        job=job,
        cron_schedule=EARLY_MORNING_CRON,
        execution_timezone=str(US.zone),
        default_status=get_default_schedule_status(settings),
    )
    return dg.Definitions.merge(definitions, dg.Definitions(jobs=[job], schedules=[schedule]))


def _find_scope(definitions: dg.Definitions, first_days: Mapping[dg.AssetKey, date]) -> _Scope:
    instigators = [*(definitions.sensors or []), *(definitions.schedules or [])]
    return _Scope(
        first_days,
        frozenset(spec.key for spec in definitions.resolve_all_asset_specs()),
        frozenset([*(job.name for job in definitions.jobs or []), JOB_NAME]),
        frozenset([*(instigator.name for instigator in instigators), SCHEDULE_NAME]),
    )


def _build_job(days: int, scope: _Scope) -> dg.JobDefinition:
    @dg.op(name="purge_history", out=dg.Out(dg.Nothing))
    def purge_history(context: dg.OpExecutionContext) -> None:
        """Delete what Dagster has recorded long ago, unless it is shown as the present state."""
        _purge(context, scope, days)

    @dg.job(
        name=JOB_NAME,
        executor_def=dg.in_process_executor,
        description=f"Deletes Dagster's history of more than {days} days that is no longer shown; bars stay.",
    )
    def purge_dagster_history() -> None:
        purge_history()

    return purge_dagster_history


def _purge(context: dg.OpExecutionContext, scope: _Scope, days: int) -> None:
    # By the clock of this machine, as Dagster records: BACKFILL_AS_OF is about the market.
    instance, before = context.instance, datetime.now(UTC) - timedelta(days=days)
    label = get_location_label(context.run)
    events = sum(purge_partition_events(instance, key, first, before) for key, first in scope.first_days.items())
    results = purge_check_results(instance, scope.keys, before)
    runs = purge_runs(instance, label, scope.jobs, scope.keys, before)
    purge_ticks(instance, label, scope.instigators, before)
    context.log.info(
        f"deleted of before {before:%Y-%m-%d}: {format_count(events, 'event')} of days that are no partitions any more,"
        f" {format_count(results, 'check result')}, {format_count(runs, 'run')}, and ticks"
    )
