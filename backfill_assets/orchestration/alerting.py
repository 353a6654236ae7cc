"""The sensor that tells people: it follows check results and the ends of runs, and sends what is news."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import dagster as dg
from dagster import DagsterEventType

from backfill_assets.alerts.causes import cause_of_error
from backfill_assets.alerts.observation import Observation, from_metadata, run_ended
from backfill_assets.alerts.telling import tell
from backfill_assets.backfill.engine import Engine
from backfill_assets.orchestration.checks import OBSERVATION
from backfill_assets.orchestration.sensors import status_of
from backfill_assets.settings import Settings

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
        seen = [*_checks(context.instance, cursor), *_runs(context.instance, cursor)]
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


def _checks(instance: dg.DagsterInstance, cursor: dict[str, int]) -> Iterator[Observation]:
    """Check results since the cursor, which moves."""
    wanted = dg.EventRecordsFilter(DagsterEventType.ASSET_CHECK_EVALUATION, after_cursor=cursor["checks"])
    for record in instance.event_log_storage.get_event_records(wanted, limit=AT_ONCE, ascending=True):
        cursor["checks"] = record.storage_id
        event = record.event_log_entry.dagster_event
        told = event.asset_check_evaluation_data.metadata.get(OBSERVATION) if event else None
        if told is not None and isinstance(told.value, dict):
            yield from_metadata(told.value, event_id=f"check {record.storage_id}")


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
        run = instance.get_run_by_id(record.run_id)
        at = datetime.fromtimestamp(record.timestamp, UTC)
        failed = record.event_log_entry.dagster_event_type is DagsterEventType.RUN_FAILURE
        error = _error(instance, record.run_id) if failed else None
        cause = cause_of_error(error) if error else ""
        page = f"the run {record.run_id} in Dagster's UI"
        yield run_ended(_name(run), record.run_id, at, error=error, cause=cause, go_to=page)


def _name(run: dg.DagsterRun | None) -> str:
    """What people call a run: its job, or the assets that it was for."""
    if run is None:
        return "a deleted run"
    if run.asset_selection and run.job_name.startswith("__"):
        return ", ".join(sorted(key.to_user_string() for key in run.asset_selection))
    return run.job_name


def _error(instance: dg.DagsterInstance, run_id: str) -> str:
    """The first line of why the first step failed, without the name of Dagster's class."""
    failures = instance.get_records_for_run(run_id, of_type=DagsterEventType.STEP_FAILURE, limit=1).records
    event = failures[0].event_log_entry.dagster_event if failures else None
    error = event.step_failure_data.error if event else None
    if error is None:
        return "the run ended before its first step, see its log"
    innermost = error.cause or error
    return innermost.message.strip().splitlines()[0].removeprefix("dagster._core.definitions.events.Failure: ")
