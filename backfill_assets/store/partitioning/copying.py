"""Copying the bars into the twin, applying what changed meanwhile, and comparing both; each step is one transaction.

Nothing here locks ``market_data``. A batch is all bars of some symbols, which are adjacent in the key. Whatever a
writer changes after a batch was copied is among the noted keys, so that the twin holds the truth once these are
applied.
"""

from backfill_assets.errors import DatabaseUnavailable
from backfill_assets.store.partitioning.job import BELOW_ALL_IDS, HIGHEST_ID, PartitioningJob
from backfill_assets.store.partitioning.table_facts import TWIN
from backfill_assets.store.postgres.connection import Connection

_SELECT_BATCH_END = """
SELECT max(symbol_id), count(*) FROM (
    SELECT symbol_id FROM market_data WHERE symbol_id > %(after)s::bigint ORDER BY symbol_id LIMIT %(rows)s) AS batch
"""
_COPY = f"""
INSERT INTO {TWIN} SELECT * FROM market_data
WHERE symbol_id > %(after)s::bigint AND symbol_id <= %(to)s::bigint ORDER BY symbol_id, interval_type, "timestamp"
"""  # noqa: S608 - a constant is inserted
_RECORD_COPIED = """
UPDATE backfill.partitioning SET copied_to = %(to)s, copied_rows = copied_rows + %(rows)s
"""
_COUNT_PENDING = """
SELECT count(*) FROM (SELECT FROM backfill.partitioning_changes WHERE NOT is_applied LIMIT %(limit)s) AS pending
"""
_IS_EMPTIED = "SELECT EXISTS (SELECT FROM backfill.partitioning_changes WHERE symbol_id IS NULL)"
_BEGIN_ANEW = f"""
TRUNCATE {TWIN};
DELETE FROM backfill.partitioning_changes WHERE symbol_id IS NULL;
UPDATE backfill.partitioning SET stage = 'copying', copied_to = {BELOW_ALL_IDS}, copied_rows = 0,
    verified_to = {BELOW_ALL_IDS}, verified_rows = 0, verified_hash = 0
"""  # noqa: S608 - constants are inserted
# Statements of their own, so that the last one sees at least what those saw who noted the keys.
_TAKE_KEYS = """
CREATE TEMPORARY TABLE partitioning_keys ON COMMIT DROP AS
WITH taken AS (
    UPDATE backfill.partitioning_changes SET is_applied = true WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM backfill.partitioning_changes WHERE NOT is_applied AND symbol_id IS NOT NULL LIMIT %(limit)s))
    RETURNING symbol_id, interval_type, "timestamp")
SELECT DISTINCT * FROM taken
"""
_APPLY_KEYS = f"""
ANALYZE partitioning_keys;
DELETE FROM {TWIN} t USING partitioning_keys k
WHERE t.symbol_id = k.symbol_id AND t.interval_type = k.interval_type AND t."timestamp" = k."timestamp";
INSERT INTO {TWIN} SELECT m.* FROM market_data m JOIN partitioning_keys k
    ON m.symbol_id = k.symbol_id AND m.interval_type = k.interval_type AND m."timestamp" = k."timestamp";
DROP TABLE partitioning_keys
"""  # noqa: S608 - constants are inserted
# The text of a row is the same in both, because the twin has the same columns. Keys that wait are left out.
_SUM_UP = """
SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {table} t
WHERE symbol_id > %(after)s::bigint AND symbol_id <= %(to)s::bigint AND NOT EXISTS (
    SELECT FROM backfill.partitioning_changes c WHERE NOT c.is_applied AND c.symbol_id = t.symbol_id
    AND c.interval_type = t.interval_type AND c."timestamp" = t."timestamp")
"""
_RECORD_VERIFIED = """
UPDATE backfill.partitioning SET verified_to = %(to)s, verified_rows = verified_rows + %(rows)s,
    verified_hash = verified_hash + %(hash)s
"""
_BEGIN_COMPARISON = f"""
UPDATE backfill.partitioning SET stage = 'verifying', verified_to = {BELOW_ALL_IDS}, verified_rows = 0,
    verified_hash = 0;
DELETE FROM backfill.partitioning_changes WHERE is_applied
"""  # noqa: S608 - a constant is inserted
_COUNT_APPLIED = "SELECT count(*) FROM backfill.partitioning_changes WHERE is_applied"


def copy_batch(connection: Connection, job: PartitioningJob, rows: int) -> bool:
    """Copy the bars of the next symbols, about ``rows``; False if all are copied."""
    end = _find_batch_end(connection, job.copied_to, rows)
    if end is None:
        return False
    copied = connection.execute(_COPY.encode(), {"after": job.copied_to, "to": end}).rowcount
    connection.execute(_RECORD_COPIED, {"to": end, "rows": copied})
    return True


def apply_changes(connection: Connection, limit: int) -> bool:
    """Bring up to ``limit`` noted bars of the twin to what ``market_data`` holds; whether any was noted.

    After a TRUNCATE of ``market_data`` everything begins anew instead.
    """
    if is_emptied(connection):
        connection.execute(_BEGIN_ANEW.encode())
        return True
    taken = connection.execute(_TAKE_KEYS, {"limit": limit}).rowcount
    connection.execute(_APPLY_KEYS.encode())
    return taken > 0


def is_emptied(connection: Connection) -> bool:
    """Whether ``market_data`` was emptied as a whole, which no key tells."""
    return connection.execute(_IS_EMPTIED).fetchall() == [(True,)]


def count_pending(connection: Connection, limit: int) -> int:
    """How many noted changes wait to be applied; counted up to ``limit``."""
    return int(connection.execute(_COUNT_PENDING, {"limit": limit}).fetchall()[0][0])


def count_applied(connection: Connection) -> int:
    """How many changes were applied since the comparison began."""
    return int(connection.execute(_COUNT_APPLIED).fetchall()[0][0])


def begin_comparison(connection: Connection) -> None:
    """Have everything compared, from the first symbol on."""
    connection.execute(_BEGIN_COMPARISON.encode())


def compare_batch(snapshot: Connection, job: PartitioningJob, rows: int) -> tuple[int, int, int] | None:
    """Compare the bars of the next symbols, about ``rows``, in one snapshot.

    Returns:
        The last of the symbols, how many bars they have and the sum of their hashes; None if all were compared, or
        everything begins anew.

    Raises:
        DatabaseUnavailable: both tables differ.
    """
    end = _find_batch_end(snapshot, job.verified_to, rows)
    if end is None or is_emptied(snapshot):
        return None
    values = {"after": job.verified_to, "to": end}
    found, copied = (
        snapshot.execute(_SUM_UP.format(table=table), values).fetchall() for table in ("market_data", TWIN)
    )
    if found != copied:
        raise DatabaseUnavailable(
            f"the copy of market_data differs from it between symbol_id {job.verified_to + 1} and {end}:"
            f" {copied[0][0]:,} bars instead of {found[0][0]:,}, or other values; nothing has changed, run"
            " `backfill-assets partition-table --abandon` and report this as a bug"
        )
    return end, found[0][0], int(found[0][1])


def record_compared(connection: Connection, end: int, rows: int, hashed: int) -> None:
    """Record what ``compare_batch`` returned."""
    connection.execute(_RECORD_VERIFIED, {"to": end, "rows": rows, "hash": hashed})


def _find_batch_end(connection: Connection, after: int, rows: int) -> int | None:
    """The last symbol of a batch; of the last batch, the highest that there can be. None after that."""
    end, found = connection.execute(_SELECT_BATCH_END, {"after": after, "rows": rows}).fetchall()[0]
    if after == HIGHEST_ID:
        return None
    return HIGHEST_ID if found < rows else int(end)
