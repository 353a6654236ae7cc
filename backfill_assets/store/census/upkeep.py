"""Keeps the census up: what a run calls at its end, and the verify job each quarter of an hour.

The work is bounded. Where this role or server cannot write, as on a standby, nothing is done.
"""

from backfill_assets.store.census.evidence_changes import apply_evidence_changes, try_lock_explanations
from backfill_assets.store.census.fold import BATCH_SIZE, fold_census, notice_tables
from backfill_assets.store.census.recount import count_uncounted
from backfill_assets.store.postgres.connection import Database

BLOCKS_OF_VERIFYING = 60  # a minute or two, in a process that nobody waits for


def keep_census(database: Database, *, blocks: int = 1) -> None:
    """Notice new partitions, fold the deltas, forget what evidence refutes, and count some blocks of symbols."""
    notice_tables(database)
    while fold_census(database) >= BATCH_SIZE:
        pass
    with database.transaction() as connection:
        if try_lock_explanations(connection):
            apply_evidence_changes(connection)
    while blocks > 0 and count_uncounted(database):
        blocks -= 1
