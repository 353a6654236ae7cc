"""What became known of symbols since their absent bars were explained, and what that refutes.

Triggers of the tables with evidence add a row for each symbol that a statement says something new of. Nobody waits for
anybody: the end of a run and the step that explains months (``quality.census.explaining``) take the rows away.
"""

from dataclasses import dataclass

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.timestamps import DAY_SECONDS
from backfill_assets.store.postgres.array_reader import POSTGRES_EPOCH, read_columns
from backfill_assets.store.postgres.connection import Connection

_SELECT_CHANGES = "SELECT symbol_id, since_day FROM backfill.evidence_changes"
# What is refuted goes in the same transaction as the rows that say so. A session may begin on the eve of its day.
_APPLY = """
WITH taken AS (
    DELETE FROM backfill.evidence_changes c USING (
        SELECT ctid FROM backfill.evidence_changes LIMIT %(limit)s FOR UPDATE SKIP LOCKED) t
    WHERE c.ctid = t.ctid RETURNING c.symbol_id, c.since_day
), refuted AS (
    UPDATE backfill.census_months m SET missing = NULL, no_trade = NULL, vendor_gap = NULL, suspect = NULL,
           measured_at = NULL
    FROM (SELECT symbol_id, min(since_day) AS since_day FROM taken GROUP BY symbol_id) c
    WHERE m.symbol_id = c.symbol_id AND m.month + interval '1 month 1 day' > c.since_day AND m.measured_at IS NOT NULL
)
SELECT count(*) FROM taken
"""
_LOCK = 0x6578706C  # "expl" in ASCII: one process at a time explains months
_TRY_LOCK = """
SELECT CASE WHEN current_setting('transaction_read_only') = 'off'
                 AND has_table_privilege('backfill.evidence_changes', 'DELETE')
            THEN pg_try_advisory_xact_lock(%(lock)s) ELSE false END
"""
MAX_APPLIED = 100_000


@dataclass(frozen=True, eq=False)
class EvidenceChanges:
    """Changes that were not applied yet, shape (changes,).

    Attributes:
        symbol_id: the symbol.
        since_day: the oldest session that a change is of, in days since 1970; the least number: all are.
    """

    symbol_id: Int64
    since_day: Int64


def try_lock_explanations(connection: Connection) -> bool:
    """Whether this process may explain months until the transaction ends; not while another one does, or none can."""
    is_ours: bool = connection.execute(_TRY_LOCK, {"lock": _LOCK}).fetchall()[0][0]
    return is_ours


def read_evidence_changes(connection: Connection) -> EvidenceChanges:
    """All changes that were not applied yet."""
    found = read_columns(connection, _SELECT_CHANGES, {}, {"symbol_id": ">i8", "since_day": ">i8"})
    return EvidenceChanges(found["symbol_id"], found["since_day"] + POSTGRES_EPOCH // DAY_SECONDS)


def apply_evidence_changes(connection: Connection, limit: int = MAX_APPLIED) -> int:
    """Take away the explanations that changes refute, and the changes with them; returns how many changes."""
    ((count,),) = connection.execute(_APPLY, {"limit": limit}).fetchall()
    return int(count)
