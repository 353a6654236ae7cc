"""Folds the deltas that the triggers of ``market_data`` append into the months of the census.

A step in the background, in batches. A batch is one transaction: killed at any moment it loses nothing and counts
nothing twice. It waits for nobody, and no writer of bars waits for it. What is not counted yet is counted in
``recount``; readers add the deltas that are left (``reader``).
"""

from psycopg.errors import LockNotAvailable

from backfill_assets.store.census.months import COUNTS, IS_NAMED, add_counts, try_lock_census
from backfill_assets.store.postgres.connection import Connection, Database

BATCH_SIZE = 50_000  # deltas; a batch of this program's writer leaves a few hundred
_TAKE_DELTAS = f"""
WITH taken AS (
    DELETE FROM backfill.census_deltas
    WHERE ctid = ANY (ARRAY(SELECT ctid FROM backfill.census_deltas LIMIT %(limit)s)) RETURNING *
)
SELECT symbol_id, interval_type, month, {", ".join(f"sum({name})::bigint" for name in COUNTS)}, count(*)
FROM taken WHERE {IS_NAMED} GROUP BY symbol_id, interval_type, month
"""  # noqa: S608 - only constants are inserted
_HAS_CHANGES = "SELECT EXISTS (SELECT FROM backfill.find_census_changes())"
# A writer of a new partition may wait as long at most, until it has its triggers.
_WAIT_BRIEFLY = "SET LOCAL lock_timeout = '100ms'"
_CREATE_TRIGGERS = "SELECT backfill.create_census_triggers()"


def fold_census(database: Database, *, limit: int = BATCH_SIZE) -> int:
    """Fold one batch; returns how many deltas, 0 also while another process is at it."""
    with database.transaction() as connection:
        if not try_lock_census(connection):
            return 0
        rows = connection.execute(_TAKE_DELTAS.encode(), {"limit": limit}).fetchall()
        add_counts(connection, [row[:-1] for row in rows])
        return sum(row[-1] for row in rows)


def notice_tables(database: Database) -> None:
    """Let the triggers count new partitions, and have the months counted again of those that came or went.

    Where writers have such a partition locked, it is tried again the next time.
    """
    with database.transaction() as connection:
        if connection.execute(_HAS_CHANGES).fetchall() == [(True,)] and try_lock_census(connection):
            _create_triggers(connection)


def _create_triggers(connection: Connection) -> None:
    try:
        with connection.transaction():
            connection.execute(_WAIT_BRIEFLY)
            connection.execute(_CREATE_TRIGGERS)
    except LockNotAvailable:
        return
