"""Deletes what Dagster has kept for longer than anybody looks at it; Dagster deletes nothing but ticks by itself.

Each function says what it leaves alone. Postgres reuses the space that is set free; files do not get smaller.

Relies on the tables of ``event_log.schema``, on ``SqlEventLogStorage.index_transaction``, on ``delete_run``,
``purge_ticks`` and ``all_instigator_state`` of the instance, and on the tag ``.dagster/repository``. Upstream:
https://github.com/dagster-io/dagster/issues/33785 (open) asks for a retention of event logs;
https://github.com/dagster-io/dagster/pull/33863 would add one by age, whatever is still shown.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy import and_, collate, delete, func, or_, select
from sqlalchemy.sql import ColumnElement

from backfill_assets.errors import UsageError

EVENTS_PER_TRANSACTION = 5000  # a fraction of a second: nobody waits for a lock
RUNS_PER_LOOK = 200
_events, _checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
_RECORDED = (dg.DagsterEventType.ASSET_MATERIALIZATION.value, dg.DagsterEventType.ASSET_OBSERVATION.value)
_PLANNED = AssetCheckExecutionRecordStatus.PLANNED.value


def purge_partition_events(instance: dg.DagsterInstance, key: dg.AssetKey, first_day: date, before: datetime) -> int:
    """Delete an asset's events of days that are no partitions any more; returns how many.

    Args:
        instance: with storage in Postgres.
        key: an asset whose partitions are named ``2026-06-01|AAPL.US``.
        first_day: the first day that is a partition.
        before: events that are younger stay, since a universe that shrinks brings days back.
    """
    dropped_out = and_(
        _events.asset_key == key.to_string(),
        collate(_events.partition, "C") < first_day.isoformat(),
        _events.timestamp < _to_utc(before),
    )
    return _delete_events(_get_storage(instance), dropped_out)


def purge_check_results(instance: dg.DagsterInstance, keys: Collection[dg.AssetKey], before: datetime) -> int:
    """Delete results of checks without partitions, but the newest of each; returns how many.

    The newest result stays also if a later evaluation was planned and never ended. Results of partitions stay: each is
    the newest of its partition, which somebody may wait for.
    """
    storage = _get_storage(instance)
    assets = [key.to_string() for key in keys]
    newest = (
        select(func.max(_checks.id))
        .where(_checks.asset_key.in_(assets))
        .group_by(_checks.asset_key, _checks.check_name, _checks.execution_status == _PLANNED)
    )
    outdated = select(_checks.id, _checks.evaluation_event_storage_id).where(
        _checks.asset_key.in_(assets),
        _checks.partition.is_(None),
        _checks.create_timestamp < _to_utc(before),
        _checks.id.not_in(newest),
    )
    total = 0
    while True:
        with storage.index_transaction() as connection:
            rows = connection.execute(outdated.limit(EVENTS_PER_TRANSACTION)).fetchall()
            event_ids = [event_id for _, event_id in rows if event_id is not None]
            connection.execute(delete(AssetCheckExecutionsTable).where(_checks.id.in_([row[0] for row in rows])))
            connection.execute(delete(SqlEventLogStorageTable).where(_events.id.in_(event_ids)))  # they name no asset
        total += len(rows)
        if len(rows) < EVENTS_PER_TRANSACTION:
            return total


def purge_runs(
    instance: dg.DagsterInstance,
    label: str | None,
    jobs: Collection[str],
    keys: Collection[dg.AssetKey],
    before: datetime,
) -> int:
    """Delete finished runs with their events, if nothing of them is shown as the present state; returns how many.

    A run stays that has recorded a partition, the newest materialization or observation of an asset, or the newest
    result of a check.

    Args:
        instance: with storage in Postgres.
        label: of the code location, as ``get_location_label`` has it; None: of any.
        jobs: names of the jobs whose runs may go; other people may have theirs in the same location.
        keys: the assets whose runs may go, if nothing else was materialized in them.
        before: runs that have changed since stay.
    """
    storage = _get_storage(instance)
    run_ids = _list_finished_runs(instance, label, jobs, frozenset(keys), before)
    deleted = 0
    for first in range(0, len(run_ids), RUNS_PER_LOOK):
        some = run_ids[first : first + RUNS_PER_LOOK]
        shown = _find_shown_runs(storage, some)
        for run_id in some:
            if run_id not in shown:
                instance.delete_run(run_id)
                deleted += 1
    return deleted


def purge_ticks(instance: dg.DagsterInstance, label: str | None, names: Collection[str], before: datetime) -> None:
    """Delete ticks of sensors and schedules of a code location, but the newest of each.

    Args:
        instance: of any storage.
        label: of the code location, as ``get_location_label`` has it; None: of any.
        names: of the sensors and schedules.
        before: younger ticks stay.
    """
    for state in instance.all_instigator_state():
        if state.instigator_name not in names or label not in (None, state.origin.repository_origin.get_label()):
            continue
        newest = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        if newest:
            end = min(before.timestamp(), newest[0].timestamp)
            instance.purge_ticks(state.instigator_origin_id, state.selector_id, end)


def get_location_label(run: dg.DagsterRun) -> str | None:
    """How Dagster marks the runs of a code location; None for a run that none has launched."""
    return run.remote_job_origin.repository_origin.get_label() if run.remote_job_origin else None


def _get_storage(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    storage = instance.event_log_storage
    if not isinstance(storage, PostgresEventLogStorage):
        raise UsageError(
            "BACKFILL_PURGE_DAYS needs Dagster's storage in PostgreSQL, and this instance has"
            f" {type(storage).__name__}; unset it"
        )
    return storage


def _to_utc(moment: datetime) -> datetime:
    """As Dagster stores times: in UTC, without a time zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def _delete_events(storage: SqlEventLogStorage, condition: ColumnElement[bool]) -> int:
    total = 0
    while True:
        with storage.index_transaction() as connection:
            ids = [
                row[0] for row in connection.execute(select(_events.id).where(condition).limit(EVENTS_PER_TRANSACTION))
            ]
            connection.execute(delete(SqlEventLogStorageTable).where(_events.id.in_(ids)))
            connection.execute(delete(AssetEventTagsTable).where(AssetEventTagsTable.c.event_id.in_(ids)))
        total += len(ids)
        if len(ids) < EVENTS_PER_TRANSACTION:
            return total


def _list_finished_runs(
    instance: dg.DagsterInstance,
    label: str | None,
    jobs: Collection[str],
    keys: frozenset[dg.AssetKey],
    before: datetime,
) -> list[str]:
    runs_filter = dg.RunsFilter(
        statuses=FINISHED_STATUSES, updated_before=before, tags={REPOSITORY_LABEL_TAG: label} if label else None
    )
    found: list[str] = []
    cursor = None
    while runs := instance.get_runs(runs_filter, limit=RUNS_PER_LOOK, cursor=cursor):
        cursor = runs[-1].run_id  # it must be there for the next look, so nothing is deleted meanwhile
        found += [
            run.run_id for run in runs if run.job_name in jobs or (run.asset_selection and run.asset_selection <= keys)
        ]
    return found


def _find_shown_runs(storage: SqlEventLogStorage, run_ids: Sequence[str]) -> set[str]:
    """Those of the runs that have recorded something of the present state."""
    other = SqlEventLogStorageTable.alias()
    newest = (
        select(func.max(other.c.id))
        .where(other.c.asset_key == _events.asset_key, other.c.dagster_event_type == _events.dagster_event_type)
        .scalar_subquery()
    )
    recorded = select(_events.run_id).where(
        _events.run_id.in_(run_ids),
        or_(
            _events.partition.is_not(None),
            and_(_events.dagster_event_type.in_(_RECORDED), _events.id == newest),
        ),
    )
    checked = select(_checks.run_id).where(_checks.run_id.in_(run_ids))
    with storage.index_connection() as connection:
        return {row[0] for query in (recorded, checked) for row in connection.execute(query)}
