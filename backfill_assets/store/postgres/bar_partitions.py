"""The years that ``market_data`` is partitioned by, where this program made it so: which there are, and making more.

A table of this form has a partition for each year of UTC and one outer partition at either end
(``store/migrations/0048_bar_partitions.sql``). A plain table, or one of another program, has no years and is left
alone. How a plain one becomes partitioned is in ``store.partitioning``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg import errors

from backfill_assets.store.postgres.connection import Connection, Database

YEARS_AHEAD = 1  # a year that is not begun is always there
MOST_MOVED = 100_000  # rows that move by the way: about a second in which nobody reads or writes
_SELECT_YEARS = "SELECT first_year, end_year FROM backfill.bar_partition_years('market_data')"
_SELECT_HAS_LATER_ROWS = """
SELECT EXISTS (SELECT FROM market_data WHERE "timestamp" >= make_timestamptz(%(end)s, 1, 1, 0, 0, 0, 'UTC'))
"""
_MAKE_YEARS = "SELECT backfill.make_bar_partitions('market_data', %(first)s, %(last)s, %(most)s)"
# Another program reads or writes for longer than the function waits; or this role may read only.
_NOT_NOW = (errors.LockNotAvailable, errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction)


@dataclass(frozen=True, slots=True)
class BarPartitions:
    """The years that are partitions: from ``first_year`` to before ``end_year``, by UTC."""

    first_year: int
    end_year: int

    @property
    def end(self) -> datetime:
        """Before when bars have a year of their own, UTC."""
        return datetime(self.end_year, 1, 1, tzinfo=UTC)


def read_partitions(connection: Connection) -> BarPartitions | None:
    """The years of ``market_data``; None if it is not partitioned by this program. A look at the catalog."""
    ((first, end),) = connection.execute(_SELECT_YEARS).fetchall()
    return None if end is None else BarPartitions(first, end)


def has_later_bars(connection: Connection, partitions: BarPartitions) -> bool:
    """Whether bars lie after the last year, in the outer partition."""
    return bool(connection.execute(_SELECT_HAS_LATER_ROWS, {"end": partitions.end_year}).fetchall()[0][0])


def ensure_partitions(
    database: Database, now: datetime, *, since: datetime | None = None, most_moved: int = MOST_MOVED
) -> int:
    """Make the years that are missing from ``since`` to at least one year after ``now``; returns how many were made.

    A look at the catalog if none is missing. Where they cannot be made now, because another transaction holds the
    table or the role may only read, nothing happens: bars have a place in the outer partitions, and the next call tries
    again. Bars that stand in an outer partition move with their year, unless they are more than ``most_moved``.
    """
    with database.transaction() as connection:
        there = read_partitions(connection)
    if there is None:
        return 0
    first = there.first_year if since is None else min(there.first_year, since.astimezone(UTC).year)
    last = now.astimezone(UTC).year + YEARS_AHEAD
    if first == there.first_year and last < there.end_year:
        return 0

    values = {"first": first, "last": last, "most": most_moved}
    return database.retry_transaction(lambda connection: _make_years(connection, values))


def _make_years(connection: Connection, values: Mapping[str, int]) -> int:
    try:
        with connection.transaction():
            return int(connection.execute(_MAKE_YEARS, values).fetchall()[0][0])
    except _NOT_NOW:
        return 0
