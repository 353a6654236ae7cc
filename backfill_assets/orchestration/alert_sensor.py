"""The sensor that tells people: it follows check results and the ends of runs, and sends what is news."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import dagster as dg
from dagster import DagsterEventType

from backfill_assets.alerts.causes import cause_of_error
from backfill_assets.alerts.notify import tell
from backfill_assets.alerts.observation import Observation, from_metadata, run_ended
from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import Settings
from backfill_assets.orchestration.checks import OBSERVATION
from backfill_assets.orchestration.sensors import status_of

AT_ONCE = 100  # events of one kind in one tick; the rest waits for the next
ENDS: tuple[Literal[DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_SUCCESS], ...] = (
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_SUCCESS,
)


def alert_sensor(settings: Settings) -> dg.SensorDefinition:
    """Sends one message for each change of state; see ``alerts``."""

    @dg.sensor(
        name="alert_sensor",
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=status_of(settings),
    )
    def alert(context: dg.SensorEvaluationContext, engine: dg.ResourceParam[Engine]) -> dg.SkipReason:
        """Take note of what happened since the last tick and send what is due."""
        if context.cursor is None:  # what was before is history
            context.update_cursor(json.dumps({"checks": _newest(context.instance), "runs": _newest(context.instance)}))
            return dg.SkipReason("following check results and runs from now on")
        cursor = json.loads(context.cursor)
        seen = [*_checks(context.instance, cursor, engine.settings.as_of), *_runs(context.instance, cursor)]
        done = tell(engine.database, engine.settings, seen, engine.settings.now())
        context.update_cursor(json.dumps(cursor))
        down = len(done.failed) - done.skipped
        trouble = f", {down} addresses are down and will be tried again" if down else ""
        trouble += f", {done.skipped} messages skipped that their addresses refuse" if done.skipped else ""
        return dg.SkipReason(f"{len(seen)} results heard, {done.sent} messages sent{trouble}")

    return alert


def _newest(instance: dg.DagsterInstance) -> int:
    """The number of the newest event of any kind."""
    return instance.event_log_storage.get_maximum_record_id() or 0


def _checks(instance: dg.DagsterInstance, cursor: dict[str, int], as_of: datetime | None) -> Iterator[Observation]:
    """Check results since the cursor, which moves."""
    wanted = dg.EventRecordsFilter(DagsterEventType.ASSET_CHECK_EVALUATION, after_cursor=cursor["checks"])
    for record in instance.event_log_storage.get_event_records(wanted, limit=AT_ONCE, ascending=True):
        cursor["checks"] = record.storage_id
        event = record.event_log_entry.dagster_event
        told = event.asset_check_evaluation_data.metadata.get(OBSERVATION) if event else None
        if told is not None and isinstance(told.value, dict):
            at = as_of or datetime.fromtimestamp(record.timestamp, UTC)  # for what was told without a moment
            yield from_metadata({"observed_at": at, **told.value}, event_id=f"check {record.storage_id}")


def _runs(instance: dg.DagsterInstance, cursor: dict[str, int]) -> Iterator[Observation]:
    """Runs that failed or went through since the cursor, in the order in which they ended; the cursor moves."""
    after = cursor["runs"]
    ended = [
        record
        for kind in ENDS
        for record in instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(kind, after_storage_id=after), limit=AT_ONCE, ascending=True
        ).records
    ]
    for record in sorted(ended, key=lambda record: record.storage_id)[:AT_ONCE]:
        cursor["runs"] = record.storage_id
        yield from _ending(instance, record)


def _ending(instance: dg.DagsterInstance, record: dg.EventLogRecord) -> Iterator[Observation]:
    """What the end of a run says about each job or asset that it was for."""
    at = datetime.fromtimestamp(record.timestamp, UTC)
    failed = record.event_log_entry.dagster_event_type is DagsterEventType.RUN_FAILURE
    why = _error(instance, record) if failed else ""
    for name, passed in _outcomes(instance, record.run_id, failed=failed):
        error, cause = (None, "") if passed else (why, cause_of_error(why))
        page = f"the run {record.run_id} in Dagster's UI"
        yield run_ended(name, record.run_id, at, error=error, cause=cause, go_to=page)


def _outcomes(instance: dg.DagsterInstance, run_id: str, *, failed: bool) -> Iterator[tuple[str, bool]]:
    """What people call what a run was for, its job or each of its assets, and whether that went through.

    Followed by asset, a failure ends with the next success, whatever else was chosen with it. What a failed
    run did not come to, for something before it failed, says nothing.
    """
    run = instance.get_run_by_id(run_id)
    assets = _assets(instance, run) if run and run.job_name.startswith("__") else []
    if not assets:
        yield (run.job_name if run else "a deleted run"), not failed
        return
    ends = {DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE} if failed else set()
    records = instance.get_records_for_run(run_id, of_type=ends).records if ends else []
    steps = {r.event_log_entry.step_key: r.event_log_entry.dagster_event_type for r in records}
    broken = {step for step, end in steps.items() if end is DagsterEventType.STEP_FAILURE}
    for asset in assets:  # its step has its name
        if not failed or asset in steps:
            yield asset, asset not in broken
        elif not broken:
            yield asset, False


def _assets(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """The assets that a run of one of Dagster's own jobs was to make; none if it was for checks alone."""
    chosen = set(run.asset_selection or ())
    if not chosen:  # a schedule's
        planned = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
        chosen = {record.asset_key for record in planned.records if record.asset_key}
    return sorted(key.to_user_string() for key in chosen)


def _error(instance: dg.DagsterInstance, record: dg.EventLogRecord) -> str:
    """The first line of why the first step or the run failed, without the name of Dagster's class."""
    failures = instance.get_records_for_run(record.run_id, of_type=DagsterEventType.STEP_FAILURE, limit=1).records
    step = failures[0].event_log_entry.dagster_event if failures else None
    run = record.event_log_entry.dagster_event
    data = step.step_failure_data if step else run.event_specific_data if run else None
    error = getattr(data, "error", None)
    if error is None:  # Dagster found it gone, or gave it up
        said = ((run.message if run else None) or "").split("\n")[0]
        return f"it left no reason (killed?), see its log: {said}"
    innermost = error.cause or error
    first = str(innermost.message).strip().splitlines()[0]
    return first.removeprefix("dagster._core.definitions.events.Failure: ")
