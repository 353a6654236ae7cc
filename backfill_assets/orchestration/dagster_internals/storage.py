"""Dagster's own storage in Postgres, next to the bars, with planned events written in batches.

``dagster.yaml`` names ``BackfillStorage``. Relies on the constructor of ``DagsterPostgresStorage``, on
``ConfigurableClassData`` (what every class named in ``dagster.yaml`` is made with), and for batches on
``prepare_insert_event_batch`` and ``store_event_batch`` of ``PostgresEventLogStorage``, which exist since
https://github.com/dagster-io/dagster/pull/19862 (2024), and on ``_event_to_row``, ``_store_asset_event`` and
``_store_asset_event_tags``.

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
from dagster._core.storage.event_log.schema import ConcurrencyLimitsTable, SqlEventLogStorageTable
from dagster._serdes import ConfigurableClassData
from dagster_postgres import PostgresEventLogStorage
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
        super().__init__(url, inst_data=inst_data)
        self._event_log_storage = BatchingEventLogStorage(url) if batch_planned else SteadyEventLogStorage(url)

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
    """Stores planned materializations like materializations: a batch in one statement.

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
        """Store events of any kind; those of planned partitions as one batch."""
        planned = [e for e in events if e.dagster_event_type is DagsterEventType.ASSET_MATERIALIZATION_PLANNED]
        others = [e for e in events if e.dagster_event_type is not DagsterEventType.ASSET_MATERIALIZATION_PLANNED]
        if planned:
            statement = self.prepare_insert_event_batch(planned).returning(SqlEventLogStorageTable.c.id)
            with self._connect() as connection:
                ids = [int(row[0]) for row in connection.execute(statement)]
            with self.index_transaction() as connection:
                self._store_asset_event_tags(connection, planned, ids)
                self._store_asset_event(connection, planned[-1], ids[-1])
        if others:
            super().store_event_batch(others)
