"""Partitions an existing table of ours by years: copies, compares, switches; each step is a transaction of its own.

Whatever ends the process, ``market_data`` is whole and readable and writable, and the next call goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from backfill_assets.errors import UsageError
from backfill_assets.store.partitioning.copying import (
    apply_changes,
    begin_comparison,
    compare_batch,
    copy_batch,
    count_applied,
    count_pending,
    is_emptied,
    record_compared,
)
from backfill_assets.store.partitioning.job import (
    PartitioningJob,
    abandon_job,
    begin_step,
    drop_former_table,
    read_job,
    start_job,
)
from backfill_assets.store.partitioning.switching import analyze_bars, switch_tables
from backfill_assets.store.partitioning.table_facts import TableFacts, list_obstacles, read_facts
from backfill_assets.store.postgres.connection import Connection, Database

BATCH_ROWS = 200_000  # about two seconds a step
MAX_PENDING = 20_000  # changes that are applied while everybody else waits
MAX_APPLIED = 500_000  # changes since the comparison began; those bars are compared while everybody else waits
DONE = "done"

ProgressListener = Callable[["PartitioningProgress"], None]


@dataclass(frozen=True, slots=True)
class PartitioningProgress:
    """What a partitioning has just done.

    Attributes:
        stage: ``copying``, ``verifying``, ``switched`` or ``done``.
        copied_rows: bars in the partitioned copy.
        verified_rows: bars that were compared.
        verified_hash: the sum of their hashes, in both tables.
    """

    stage: str
    copied_rows: int
    verified_rows: int
    verified_hash: int


def describe_table(database: Database, now: datetime) -> tuple[TableFacts, Sequence[str], PartitioningJob | None]:
    """The facts of ``market_data``, what stands in the way, and the partitioning that is under way, if one is."""
    with database.transaction() as connection:
        job = read_job(connection)
        return read_facts(connection, now), () if job else list_obstacles(connection), job


def partition_table(database: Database, now: datetime, listen: ProgressListener) -> PartitioningProgress:
    """Partition ``market_data``, or go on with it; returns what was copied and compared.

    Raises:
        UsageError: the table is not this program's own plain table, or something refers to it; names what.
        DatabaseUnavailable: another transaction held the table for a minute, or the server is gone; the next call goes
            on.
    """
    database.retry_transaction(lambda connection: _start(connection, now))
    last = PartitioningProgress("copying", 0, 0, 0)
    while (progress := _take_step(database, last)).stage != DONE:
        last = progress
        listen(progress)
    return progress


def abandon_partitioning(database: Database) -> bool:
    """Give up a partitioning that is under way; False if there is none, or its table has switched already."""

    def abandon(connection: Connection) -> bool:
        job = begin_step(connection)
        if job is None or job.stage == "switched":
            return False
        abandon_job(connection)
        return True

    return database.retry_transaction(abandon)


def _start(connection: Connection, now: datetime) -> None:
    if begin_step(connection) is not None:
        return
    if obstacles := list_obstacles(connection):
        raise UsageError("; ".join(obstacles))
    start_job(connection, read_facts(connection, now))


def _take_step(database: Database, last: PartitioningProgress) -> PartitioningProgress:
    """The next transaction of the partitioning, and how it stands then; as it last stood if nothing is left to do."""
    with database.transaction() as connection:
        job = read_job(connection)
    if job is None:
        return PartitioningProgress(DONE, last.copied_rows, last.verified_rows, last.verified_hash)
    steps = {"copying": _copy, "verifying": _verify_or_switch, "switched": _finish}
    steps[job.stage](database)
    return PartitioningProgress(job.stage, job.copied_rows, job.verified_rows, job.verified_hash)


def _copy(database: Database) -> None:
    def copy(connection: Connection) -> None:
        job = begin_step(connection)
        if job is None or job.stage != "copying" or copy_batch(connection, job, BATCH_ROWS):
            return
        apply_changes(connection, BATCH_ROWS)
        if count_pending(connection, MAX_PENDING) < MAX_PENDING:
            begin_comparison(connection)

    database.retry_transaction(copy)


def _verify_or_switch(database: Database) -> None:
    """Compare the next batch; once all are compared, apply what changed meanwhile, and switch."""
    with database.snapshot() as snapshot:
        job = read_job(snapshot)
        compared = None if job is None or job.stage != "verifying" else compare_batch(snapshot, job, BATCH_ROWS)

    def record(connection: Connection) -> None:
        there = begin_step(connection)
        if there != job or there is None:  # another process did it
            return
        if compared is not None:
            record_compared(connection, *compared)
        elif count_applied(connection) > MAX_APPLIED:
            begin_comparison(connection)
        elif is_emptied(connection) or count_pending(connection, MAX_PENDING + 1) > MAX_PENDING:
            apply_changes(connection, BATCH_ROWS)
        else:
            switch_tables(connection, MAX_PENDING)

    database.retry_transaction(record)


def _finish(database: Database) -> None:
    with database.transaction() as connection:
        analyze_bars(connection)

    def drop(connection: Connection) -> None:
        job = begin_step(connection)
        if job is not None and job.stage == "switched":
            drop_former_table(connection)

    database.retry_transaction(drop)
