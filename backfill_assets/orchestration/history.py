"""The job that fills the history with calls that are left over, and the schedule that starts it.

A tick starts one run at a time, and none while a run for newer sessions waits or is due; a run has a bounded number of
requests. So an open session never waits longer than without a history. What is requested is decided in
``backfill.history``; the asset that shows how far it has come is in ``history_asset``.
"""

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.history.spending import explain_no_walk, walk_history
from backfill_assets.backfill.older_sessions import MAX_SPARE_REQUESTS
from backfill_assets.config.settings import Settings
from backfill_assets.market.vendor_errors import TokenRefused
from backfill_assets.orchestration.heal_ranges import parse_heal_range
from backfill_assets.orchestration.history_asset import record_history
from backfill_assets.orchestration.jobs import raise_stopped
from backfill_assets.orchestration.partition_ranges import list_unfinished_runs, parse_partition_range
from backfill_assets.orchestration.progress_log import log_progress
from backfill_assets.orchestration.schedules import get_default_schedule_status
from backfill_assets.orchestration.universe_asset import POOL

EVERY_FIVE_MINUTES = "*/5 * * * *"
_AFTER_OTHERS = {"dagster/priority": "-1"}  # in the queue of runs


@dg.op(pool=POOL, out=dg.Out(dg.Nothing))
def walk_over_history(context: dg.OpExecutionContext, backfill_engine: dg.ResourceParam[Engine]) -> None:
    """Request what the history lacks, newest first, with calls that are left over; record months that are complete."""
    with log_progress(backfill_engine, context.log.info) as listener:
        walk = walk_history(backfill_engine, listener, max_requests=MAX_SPARE_REQUESTS)
    context.log.info(f"{walk.requests} requests, {walk.inserted} new bars; {walk.describe_end()}")
    record_history(context, backfill_engine, walk)
    raise_stopped([walk.stopped])


@dg.job(
    executor_def=dg.in_process_executor,
    description="Fill sessions since BACKFILL_HISTORY_FROM with calls that are left over, newest first. Its schedule"
    " starts it.",
)
def fill_history() -> None:
    """One step: ``walk_over_history``."""
    walk_over_history()


def build_history_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule that starts a run of ``fill_history`` whenever calls are left over and nothing newer is due."""

    @dg.schedule(
        name="history_schedule",
        description="Fills sessions since BACKFILL_HISTORY_FROM when calls are left over and no newer gap is due.",
        job=fill_history,
        cron_schedule=EVERY_FIVE_MINUTES,
        default_status=get_default_schedule_status(settings),
    )
    def history_schedule(
        context: dg.ScheduleEvaluationContext, backfill_engine: dg.ResourceParam[Engine]
    ) -> dg.RunRequest | dg.SkipReason:
        """Request a run, or say why there is none."""
        if waiting := explain_unfinished(context.instance):
            return dg.SkipReason(waiting)
        try:
            reason = explain_no_walk(backfill_engine)
        except TokenRefused as error:
            reason = str(error)
        return dg.SkipReason(reason) if reason else dg.RunRequest(tags=_AFTER_OTHERS)

    return history_schedule


def explain_unfinished(instance: dg.DagsterInstance) -> str:
    """Why no run starts beside those that wait or are at work: newer sessions come first, and one run is enough."""
    for run in list_unfinished_runs(instance):
        if run.job_name == fill_history.name:
            return "an unfinished run fills the history"
        if parse_partition_range(run.tags) or parse_heal_range(run.tags):
            return "an unfinished run fills newer sessions"
    return ""
