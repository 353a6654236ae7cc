"""Whether ``market_data`` has partitions for the bars to come: makes them, and tells a person where that does not work.

Each run looks. A plain table, or one of another program, has no partitions of ours and no finding. The finding ends by
itself when it no longer holds.
"""

from datetime import datetime, timedelta

from backfill_assets.store.evidence.findings import PARTITIONS_END, Finding, record_finding, resolve_findings
from backfill_assets.store.partitioning.job import read_job
from backfill_assets.store.postgres.bar_partitions import (
    BarPartitions,
    ensure_partitions,
    has_later_bars,
    read_partitions,
)
from backfill_assets.store.postgres.connection import Connection, Database

NOTICE = timedelta(days=90)  # years are made long before; if not, somebody has this much time
_SUBJECT = "market_data"


def keep_partitions_ahead(database: Database, now: datetime) -> None:
    """Make missing years, and record or resolve the finding about them."""
    ensure_partitions(database, now)
    with database.transaction() as connection:
        detail = _describe_fault(connection, now)
        if detail is None:
            resolve_findings(connection, PARTITIONS_END, [_SUBJECT], now)
        else:
            record_finding(connection, Finding(PARTITIONS_END, _SUBJECT, detail, now))


def _describe_fault(connection: Connection, now: datetime) -> str | None:
    if (job := read_job(connection)) is not None:
        return (
            f"a partitioning of the table began at {job.started_at:%Y-%m-%d %H:%M}Z and has not ended; go on with it:"
            " `backfill-assets partition-table`, or give it up with --abandon"
        )
    partitions = read_partitions(connection)
    if partitions is None:
        return None
    if partitions.end - now < NOTICE:
        return (
            f"its partitions end with the year {partitions.end_year - 1}, and no more could be made; run"
            " `backfill-assets migrate` as the owner of market_data while little else uses it"
        )
    return _describe_later_bars(connection, partitions)


def _describe_later_bars(connection: Connection, partitions: BarPartitions) -> str | None:
    if not has_later_bars(connection, partitions):
        return None
    return (
        f"it has bars after the year {partitions.end_year - 1}, in the outer partition"
        f" market_data_from_{partitions.end_year}; check who wrote times in the future"
    )
