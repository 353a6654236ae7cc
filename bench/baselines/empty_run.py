"""Baseline: what Dagster itself takes for a run. Its sensor requests runs of a job with one op that does nothing.

A code location beside ours, with the ``dagster.yaml`` of the package: the same storage, launcher and daemon.
"""

import dagster as dg

from backfill_assets.orchestration.partition_ranges import UNFINISHED_STATUSES

SENSOR = "empty_run_sensor"


@dg.op
def do_nothing() -> None:
    """The least that a run can do."""


@dg.job(executor_def=dg.in_process_executor)
def empty_run() -> None:
    """One step."""
    do_nothing()


@dg.sensor(name=SENSOR, job=empty_run, minimum_interval_seconds=5)
def request_run(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Request one run after the other."""
    if context.instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED_STATUSES)):
        return dg.SkipReason("a run is under way")
    number = int(context.cursor or 0) + 1
    context.update_cursor(str(number))
    return dg.RunRequest(run_key=str(number))


defs = dg.Definitions(jobs=[empty_run], sensors=[request_run])
