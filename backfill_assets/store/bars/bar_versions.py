"""What the store knows about earlier versions of bars (docs/decisions/0056).

The triggers and the SQL function ``backfill.bars_known_at`` are in the schema; bars are read in ``bar_table``. Which
bars differ between two moments is read in ``bar_changes``.
"""

from datetime import UTC, datetime

from backfill_assets.store.postgres.connection import Connection

# Of the bars of a window that had an earlier version: when the first one was known, and when the newest revision was
# made. A bar without a row was never revised. Answered from the index alone.
# Parameters: ids (symbol_ids; row is the position, from 0), spellings, first and last (slot starts, both inclusive),
# known_at (null: now).
SELECT_FIRST_KNOWN_AND_REVISED = """
SELECT u.row - 1 AS row, v.timestamp AS stamp, min(v.known_from) AS first_known,
       max(v.known_to) FILTER (WHERE v.ended_by = 'revised'
                                 AND v.known_to <= coalesce(%(known_at)s, 'infinity'::timestamptz)) AS revised
FROM unnest(%(ids)s::int[]) WITH ORDINALITY AS u (symbol_id, row)
JOIN backfill.bar_versions v ON v.symbol_id = u.symbol_id AND v.interval_type = ANY (%(spellings)s)
     AND v.timestamp BETWEEN %(first)s AND %(last)s
WHERE v.ended_by <> 'verified' AND v.known_from <= coalesce(%(known_at)s, 'infinity'::timestamptz)
GROUP BY u.row, v.timestamp
"""
_SELECT_BEGINNING = "SELECT max(began_at) FROM backfill.history_begins"


def read_history_beginning(connection: Connection) -> datetime | None:
    """Since when every version of a bar is kept, UTC.

    Of what was before, only revisions are known: deletions and replaced provisional bars are not. None: the table of
    such moments is empty.
    """
    moment: datetime | None = connection.execute(_SELECT_BEGINNING).fetchall()[0][0]
    return None if moment is None else moment.astimezone(UTC)
