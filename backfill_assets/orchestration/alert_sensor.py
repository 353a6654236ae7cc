"""The alert sensor: it reads new check results, ends of runs and open decisions, and sends messages about changes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import dagster as dg
from dagster import DagsterEventType

from backfill_assets.alerts.causes import find_error_cause
from backfill_assets.alerts.delivery import count_unreachable
from backfill_assets.alerts.heartbeat import send_heartbeat
from backfill_assets.alerts.notify import process_observations
from backfill_assets.alerts.observation import Observation, build_run_observation, parse_observation
from backfill_assets.alerts.open_decisions import observe_decisions
from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import Settings
from backfill_assets.orchestration.checks import OBSERVATION_KEY
from backfill_assets.orchestration.dagster_internals.failure_messages import strip_failure_class
from backfill_assets.orchestration.sensors import get_default_sensor_status

MAX_EVENTS_PER_TICK = 100  # of one kind in one tick; the rest is read in the next tick
RUN_END_EVENTS: tuple[Literal[DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_SUCCESS], ...] = (
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_SUCCESS,
)


def build_alert_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor that sends one message for each change of state; which changes: ``alerts.state_changes``."""

    @dg.sensor(
        name="alert_sensor",
        description="Sends messages about checks that fail or recover, and about runs that failed.",
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=get_default_sensor_status(settings),
    )
    def alert(context: dg.SensorEvaluationContext, backfill_engine: dg.ResourceParam[Engine]) -> dg.SkipReason:
        """Record check results and ends of runs since the last tick, and send the messages that are due.

        The look was healthy, and is told to the heartbeat's address, if all was read and every destination accepts
        what is sent to it.
        """
        if context.cursor is None:  # earlier events are not reported
            context.update_cursor(
                json.dumps(
                    {"checks": _get_newest_event_id(context.instance), "runs": _get_newest_event_id(context.instance)}
                )
            )
            return dg.SkipReason("following check results and runs from now on")
        cursor = json.loads(context.cursor)
        observations = [
            *_read_check_results(context.instance, cursor, backfill_engine.settings.as_of),
            *_read_ended_runs(context.instance, cursor),
        ]
        now = backfill_engine.settings.now()
        waiting = observe_decisions(backfill_engine.database, now)
        result = process_observations(backfill_engine.database, backfill_engine.settings, [*observations, waiting], now)
        context.update_cursor(json.dumps(cursor))
        unreachable = len(result.failed) - result.skipped
        problems = f", {unreachable} addresses failed and will be retried" if unreachable else ""
        problems += f", {result.skipped} messages skipped because their addresses reject them" if result.skipped else ""
        problems += _beat(backfill_engine, now)
        return dg.SkipReason(f"{len(observations)} results read, {result.sent} messages sent{problems}")

    return alert


def _beat(engine: Engine, now: datetime) -> str:
    """Send the heartbeat unless an alert reaches nobody at one of the addresses; returns what went wrong with it."""
    if engine.settings.heartbeat_url is None or count_unreachable(engine.database, engine.settings, now):
        return ""
    failure = send_heartbeat(engine.settings)
    return f"; {failure}" if failure else ""


def _get_newest_event_id(instance: dg.DagsterInstance) -> int:
    """The storage id of the newest event of any kind; 0 if there is none."""
    return instance.event_log_storage.get_maximum_record_id() or 0


def _read_check_results(
    instance: dg.DagsterInstance, cursor: dict[str, int], as_of: datetime | None
) -> Iterator[Observation]:
    """Check results after ``cursor["checks"]``, which is advanced."""
    event_filter = dg.EventRecordsFilter(DagsterEventType.ASSET_CHECK_EVALUATION, after_cursor=cursor["checks"])
    for record in instance.event_log_storage.get_event_records(event_filter, limit=MAX_EVENTS_PER_TICK, ascending=True):
        cursor["checks"] = record.storage_id
        event = record.event_log_entry.dagster_event
        observation = event.asset_check_evaluation_data.metadata.get(OBSERVATION_KEY) if event else None
        if observation is not None and isinstance(observation.value, dict):
            observed_at = as_of or datetime.fromtimestamp(record.timestamp, UTC)  # for results without a time
            yield parse_observation(
                {"observed_at": observed_at, **observation.value}, event_id=f"check {record.storage_id}"
            )


def _read_ended_runs(instance: dg.DagsterInstance, cursor: dict[str, int]) -> Iterator[Observation]:
    """Failed and succeeded runs after ``cursor["runs"]``, which is advanced, in the order in which they ended."""
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
    """One observation for the job of a run, or for each of its assets."""
    ended_at = datetime.fromtimestamp(record.timestamp, UTC)
    failed = record.event_log_entry.dagster_event_type is DagsterEventType.RUN_FAILURE
    reason = _read_error(instance, record) if failed else ""
    for name, passed in _read_outcomes(instance, record.run_id, failed=failed):
        error, cause = (None, "") if passed else (reason, find_error_cause(reason))
        link = f"the run {record.run_id} in Dagster's UI"
        yield build_run_observation(name, record.run_id, ended_at, error=error, cause=cause, go_to=link)


def _read_outcomes(instance: dg.DagsterInstance, run_id: str, *, failed: bool) -> Iterator[tuple[str, bool]]:
    """The name of the run's job, or of each of its assets, and whether it succeeded.

    Runs of Dagster's own asset jobs are followed by asset, so the next success of an asset ends its failure, whichever
    assets were selected with it. Assets that a failed run did not reach are left out.
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
    for asset in assets:  # the step of an asset has the asset's name
        if not failed or asset in steps:
            yield asset, asset not in failed_steps
        elif not failed_steps:
            yield asset, False


def _list_planned_assets(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """The assets that a run of one of Dagster's own jobs was to materialize; none if it only evaluated checks."""
    asset_keys = set(run.asset_selection or ())
    if not asset_keys:  # a run of a schedule has no asset selection
        planned = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
        asset_keys = {record.asset_key for record in planned.records if record.asset_key}
    return sorted(key.to_user_string() for key in asset_keys)


def _read_error(instance: dg.DagsterInstance, record: dg.EventLogRecord) -> str:
    """The first line of the error of the first failed step, or of the run, without Dagster's class name."""
    failures = instance.get_records_for_run(record.run_id, of_type=DagsterEventType.STEP_FAILURE, limit=1).records
    step = failures[0].event_log_entry.dagster_event if failures else None
    run = record.event_log_entry.dagster_event
    data = step.step_failure_data if step else run.event_specific_data if run else None
    error = getattr(data, "error", None)
    if error is None:  # run monitoring ended the run
        message = ((run.message if run else None) or "").split("\n")[0]
        return f"no error was recorded (process killed?), see the run's log: {message}"
    root_cause = error.cause or error
    first_line = str(root_cause.message).strip().splitlines()[0]
    return strip_failure_class(first_line)
