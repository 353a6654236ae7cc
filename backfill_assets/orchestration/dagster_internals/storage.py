"""Dagster's own storage in Postgres, next to the bars, with planned events written in batches.

``dagster.yaml`` names ``BackfillStorage``. Relies on the attributes that the constructor of ``DagsterPostgresStorage``
sets, on ``ConfigurableClassData`` (what every class named in ``dagster.yaml`` is made with), and for batches on
``prepare_insert_event_batch`` and ``store_event_batch`` of ``PostgresEventLogStorage``, which exist since
https://github.com/dagster-io/dagster/pull/19862 (2024), on ``_event_to_row``, ``_store_asset_event`` and
``_store_asset_event_tags``, and on ``AssetCheckExecutionsTable`` with ``_event_insert_timestamp``.

Upstream: https://github.com/dagster-io/dagster/issues/33831 (open): planned events are inserted row by row, so creating
a run over 1,000 partitions takes seconds; https://github.com/dagster-io/dagster/pull/33832 would batch them.
``BACKFILL_BATCH_PLANNED_EVENTS=false`` turns our batches off.

For pools it relies on ``initialize_concurrency_limit_to_default`` and ``_allocate_concurrency_slots``. Upstream:
https://github.com/dagster-io/dagster/issues/33552 (open): a changed ``default_limit`` fails on Postgres, and the queue
then drops the limits of all pools.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster_postgres
from dagster import DagsterEventType, EventLogEntry
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    ConcurrencyLimitsTable,
    SqlEventLogStorageTable,
)
from dagster._serdes import ConfigurableClassData, serialize_value
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from dagster_postgres.storage import DagsterPostgresStorage
from sqlalchemy import ARRAY, cast, func, select
from sqlalchemy.dialects.postgresql import insert

from backfill_assets.config.settings import load_settings
from backfill_assets.errors import UsageError
from backfill_assets.orchestration.dagster_internals.code_server_channel import limit_silence_of_code_servers
from backfill_assets.store.postgres.dagster_database import prepare_dagster_database

EVENTS_PER_BATCH = 500


def require_usable_installation(module_file: str) -> None:
    """Refuse a path with a percent sign, which alembic's configuration takes for its own syntax.

    Raises:
        UsageError: names the path.
    """
    if "%" in module_file:
        raise UsageError(
            f"Dagster is installed under {Path(module_file).parent.parent}, whose path contains a percent sign; its"
            " migrations cannot be read there, so install it under another path"
        )


class BackfillStorage(DagsterPostgresStorage):
    """Dagster's Postgres storage at the address of the settings; takes no configuration."""

    def __init__(self, url: str, inst_data: ConfigurableClassData | None, *, batch_planned: bool) -> None:
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(EVENTS_PER_BATCH))  # Dagster reads it for every event
        limit_silence_of_code_servers()  # daemon and webserver open the storage before they reach for a code server
        # not the constructor of DagsterPostgresStorage: it would open a second event log, at each tick and run
        super(DagsterPostgresStorage, self).__init__()  # type: ignore[no-untyped-call]
        self.postgres_url, self.should_autocreate_tables, self._inst_data = url, True, inst_data
        self._run_storage = PostgresRunStorage(url)
        self._event_log_storage = BatchingEventLogStorage(url) if batch_planned else SteadyEventLogStorage(url)
        self._schedule_storage = PostgresScheduleStorage(url)

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """No configuration."""
        return {}

    @classmethod
    def from_config_value(
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: object,  # noqa: ARG003 - the signature is Dagster's
    ) -> "BackfillStorage":
        """Open the storage; starts the embedded server if no database is configured.

        Raises:
            UsageError: invalid setting, or Dagster is installed under a path that its migrations cannot read.
            DatabaseUnavailable: no server, or no right to create the database.
        """
        require_usable_installation(dagster_postgres.__file__)
        settings = load_settings()
        return cls(prepare_dagster_database(settings), inst_data, batch_planned=settings.batch_planned_events)


class SteadyEventLogStorage(PostgresEventLogStorage):
    """Keeps the limit of a pool when the setting behind it has changed."""

    def initialize_concurrency_limit_to_default(self, concurrency_key: str) -> bool:
        """Give a pool the limit of ``dagster.yaml``, unless a person has given it one; whether that was possible.

        Dagster inserts the row and updates it after the error. On Postgres the error has ended the transaction.
        """
        limit = self._instance.global_op_concurrency_default_limit if self.has_instance else None
        if limit is None or not self.has_default_pool_limit_col:
            return super().initialize_concurrency_limit_to_default(concurrency_key)
        self._reconcile_concurrency_limits_from_slots()
        table = ConcurrencyLimitsTable
        new_row = insert(table).values(concurrency_key=concurrency_key, limit=limit, using_default_limit=True)
        upsert = new_row.on_conflict_do_update(
            index_elements=[table.c.concurrency_key], set_={"limit": limit}, where=table.c.using_default_limit.is_(True)
        )
        with self.index_transaction() as connection:
            if connection.execute(upsert).rowcount:
                self._allocate_concurrency_slots(connection, concurrency_key, limit)
        return True


class BatchingEventLogStorage(SteadyEventLogStorage):
    """Stores what is planned, materializations and checks, like materializations: a batch in one statement.

    The statement has one array parameter for each column. With one parameter for each value of each row, SQLAlchemy
    takes a quarter of the whole time spent on an event.
    """

    def prepare_insert_event_batch(self, events: Sequence[EventLogEntry]) -> Any:
        """The statement that stores ``events``, in their order."""
        rows = [self._event_to_row(event) for event in events]
        table = SqlEventLogStorageTable
        columns = [func.unnest(cast([row[name] for row in rows], ARRAY(table.c[name].type))) for name in rows[0]]
        return table.insert().from_select(list(rows[0]), select(*columns), include_defaults=False)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of any kind; those of planned partitions as one batch, and those of planned checks."""
        by_kind: dict[DagsterEventType | None, list[EventLogEntry]] = {}
        for event in events:
            by_kind.setdefault(event.dagster_event_type, []).append(event)
        for kind, batch in by_kind.items():
            if kind is DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
                self._store_planned_partitions(batch)
            elif kind is DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
                self._store_planned_checks(batch)
            else:
                super().store_event_batch(batch)

    def _store_planned_partitions(self, events: Sequence[EventLogEntry]) -> None:
        ids = self._insert_events(events)
        with self.index_transaction() as connection:
            self._store_asset_event_tags(connection, events, ids)
            self._store_asset_event(connection, events[-1], ids[-1])

    def _store_planned_checks(self, events: Sequence[EventLogEntry]) -> None:
        ids = self._insert_events(events)
        rows = [row for event, number in zip(events, ids, strict=True) for row in self._build_check_rows(event, number)]
        with self.index_connection() as connection:
            connection.execute(AssetCheckExecutionsTable.insert().values(rows))

    def _build_check_rows(self, event: EventLogEntry, event_id: int) -> list[dict[str, Any]]:
        """The rows of a planned check, one for each of its partitions, as Dagster stores them one by one."""
        planned = event.get_dagster_event().asset_check_planned_data
        partitions = planned.partitions_subset.get_partition_keys() if planned.partitions_subset else [None]
        row = {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "run_id": event.run_id,
            "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
            "evaluation_event": serialize_value(event),
            "evaluation_event_timestamp": self._event_insert_timestamp(event),  # type: ignore[no-untyped-call]
            "evaluation_event_storage_id": event_id,
        }
        return [{**row, "partition": partition} for partition in partitions]

    def _insert_events(self, events: Sequence[EventLogEntry]) -> list[int]:
        """Insert events into the log; returns their ids in order."""
        statement = self.prepare_insert_event_batch(events).returning(SqlEventLogStorageTable.c.id)
        with self._connect() as connection:
            return [int(row[0]) for row in connection.execute(statement)]
