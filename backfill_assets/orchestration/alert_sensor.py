"""The sensor that tells people: it follows check results and the ends of runs, and sends what is news."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import dagster as dg
from dagster import DagsterEventType

from backfill_assets.alerts.causes import find_error_cause
from backfill_assets.alerts.notify import process_observations
from backfill_assets.alerts.observation import Observation, build_run_observation, parse_observation
from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import Settings
from backfill_assets.orchestration.checks import OBSERVATION_KEY
from backfill_assets.orchestration.sensors import get_default_sensor_status

MAX_EVENTS_PER_TICK = 100  # events of one kind in one tick; the rest waits for the next
RUN_END_EVENTS: tuple[Literal[DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_SUCCESS], ...] = (
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_SUCCESS,
)


def build_alert_sensor(settings: Settings) -> dg.SensorDefinition:
    """Sends one message for each change of state; see ``alerts``."""

    @dg.sensor(
        name="alert_sensor",
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=get_default_sensor_status(settings),
    )
    def alert(context: dg.SensorEvaluationContext, engine: dg.ResourceParam[Engine]) -> dg.SkipReason:
        """Take note of what happened since the last tick and send what is due."""
        if context.cursor is None:  # what was before is history
            context.update_cursor(
                json.dumps(
                    {"checks": _get_newest_event_id(context.instance), "runs": _get_newest_event_id(context.instance)}
                )
            )
            return dg.SkipReason("following check results and runs from now on")
        cursor = json.loads(context.cursor)
        observations = [
            *_read_check_results(context.instance, cursor, engine.settings.as_of),
            *_read_ended_runs(context.instance, cursor),
        ]
        result = process_observations(engine.database, engine.settings, observations, engine.settings.now())
        context.update_cursor(json.dumps(cursor))
        unreachable = len(result.failed) - result.skipped
        problems = f", {unreachable} addresses are down and will be tried again" if unreachable else ""
        problems += f", {result.skipped} messages skipped that their addresses refuse" if result.skipped else ""
        return dg.SkipReason(f"{len(observations)} results heard, {result.sent} messages sent{problems}")

    return alert


def _get_newest_event_id(instance: dg.DagsterInstance) -> int:
    """The number of the newest event of any kind."""
    return instance.event_log_storage.get_maximum_record_id() or 0


def _read_check_results(
    instance: dg.DagsterInstance, cursor: dict[str, int], as_of: datetime | None
) -> Iterator[Observation]:
    """Check results since the cursor, which moves."""
    event_filter = dg.EventRecordsFilter(DagsterEventType.ASSET_CHECK_EVALUATION, after_cursor=cursor["checks"])
    for record in instance.event_log_storage.get_event_records(event_filter, limit=MAX_EVENTS_PER_TICK, ascending=True):
        cursor["checks"] = record.storage_id
        event = record.event_log_entry.dagster_event
        observation = event.asset_check_evaluation_data.metadata.get(OBSERVATION_KEY) if event else None
        if observation is not None and isinstance(observation.value, dict):
            observed_at = as_of or datetime.fromtimestamp(record.timestamp, UTC)  # for what was told without a moment
            yield parse_observation(
                {"observed_at": observed_at, **observation.value}, event_id=f"check {record.storage_id}"
            )


def _read_ended_runs(instance: dg.DagsterInstance, cursor: dict[str, int]) -> Iterator[Observation]:
    """Runs that failed or went through since the cursor, in the order in which they ended; the cursor moves."""
    after = cursor["runs"]
    ended = [
        record
        for kind in RUN_END_EVENTS
        for record in instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(kind, after_storage_id=after), limit=MAX_EVENTS_PER_TICK, ascending=True
        ).records
    ]
    for record in sorted(ended, key=lambda record: record.storage_id)[:MAX_EVENTS_PER_TICK]:
        cursor["runs"] = record.storage_id
        yield from _build_run_observations(instance, record)


def _build_run_observations(instance: dg.DagsterInstance, record: dg.EventLogRecord) -> Iterator[Observation]:
    """What the end of a run says about each job or asset that it was for."""
    ended_at = datetime.fromtimestamp(record.timestamp, UTC)
    failed = record.event_log_entry.dagster_event_type is DagsterEventType.RUN_FAILURE
    reason = _read_error(instance, record) if failed else ""
    for name, passed in _read_outcomes(instance, record.run_id, failed=failed):
        error, cause = (None, "") if passed else (reason, find_error_cause(reason))
        link = f"the run {record.run_id} in Dagster's UI"
        yield build_run_observation(name, record.run_id, ended_at, error=error, cause=cause, go_to=link)


def _read_outcomes(instance: dg.DagsterInstance, run_id: str, *, failed: bool) -> Iterator[tuple[str, bool]]:
    """What people call what a run was for, its job or each of its assets, and whether that went through.

    Followed by asset, a failure ends with the next success, whatever else was chosen with it. What a failed
    run did not come to, for something before it failed, says nothing.
    """
    run = instance.get_run_by_id(run_id)
    assets = _list_planned_assets(instance, run) if run and run.job_name.startswith("__") else []
    if not assets:
        yield (run.job_name if run else "a deleted run"), not failed
        return
    end_events = {DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE} if failed else set()
    records = instance.get_records_for_run(run_id, of_type=end_events).records if end_events else []
    steps = {r.event_log_entry.step_key: r.event_log_entry.dagster_event_type for r in records}
    failed_steps = {step for step, end in steps.items() if end is DagsterEventType.STEP_FAILURE}
    for asset in assets:  # its step has its name
        if not failed or asset in steps:
            yield asset, asset not in failed_steps
        elif not failed_steps:
            yield asset, False


def _list_planned_assets(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """The assets that a run of one of Dagster's own jobs was to make; none if it was for checks alone."""
    asset_keys = set(run.asset_selection or ())
    if not asset_keys:  # a schedule's
        planned = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
        asset_keys = {record.asset_key for record in planned.records if record.asset_key}
    return sorted(key.to_user_string() for key in asset_keys)


def _read_error(instance: dg.DagsterInstance, record: dg.EventLogRecord) -> str:
    """The first line of why the first step or the run failed, without the name of Dagster's class."""
    failures = instance.get_records_for_run(record.run_id, of_type=DagsterEventType.STEP_FAILURE, limit=1).records
    step = failures[0].event_log_entry.dagster_event if failures else None
    run = record.event_log_entry.dagster_event
    data = step.step_failure_data if step else run.event_specific_data if run else None
    error = getattr(data, "error", None)
    if error is None:  # Dagster found it gone, or gave it up
        message = ((run.message if run else None) or "").split("\n")[0]
        return f"it left no reason (killed?), see its log: {message}"
    root_cause = error.cause or error
    first_line = str(root_cause.message).strip().splitlines()[0]
    return first_line.removeprefix("dagster._core.definitions.events.Failure: ")
