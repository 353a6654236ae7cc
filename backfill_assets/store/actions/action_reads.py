"""For which symbols and days all actions of a kind are known, and which requests for them were sent.

One table for each kind: ``backfill.split_reads``, ``backfill.dividend_reads``. When they are requested is decided in
``backfill.actions``.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, TypeAlias

from backfill_assets.store.postgres.connection import Connection

ReadsTable: TypeAlias = Literal["split_reads", "dividend_reads"]
FIRST_POSSIBLE_DAY = date(1900, 1, 1)  # of a whole history
_UPSERT_OWN_READ = """
INSERT INTO backfill.{} (symbol_id, known_after, known_until, read_at, requested_at)
VALUES (%(id)s, %(known_after)s, %(known_until)s, %(now)s, %(now)s)
ON CONFLICT (symbol_id) DO UPDATE SET
    known_after = EXCLUDED.known_after, known_until = EXCLUDED.known_until, read_at = EXCLUDED.read_at,
    requested_at = EXCLUDED.requested_at
"""
# What a file says goes on from what is known up to the session before it; after a gap it begins anew.
_UPSERT_FILE_READS = """
INSERT INTO backfill.{} AS r (symbol_id, known_after, known_until, read_at)
SELECT id, %(previous)s, %(day)s, %(now)s FROM unnest(%(ids)s::int[]) AS t (id) ORDER BY 1
ON CONFLICT (symbol_id) DO UPDATE SET
    known_after = CASE WHEN r.known_until >= %(previous)s THEN r.known_after ELSE EXCLUDED.known_after END,
    known_until = EXCLUDED.known_until, read_at = EXCLUDED.read_at
WHERE r.known_until IS NULL OR r.known_until < EXCLUDED.known_until
"""
_CLAIM_REQUESTS = """
INSERT INTO backfill.{} AS r (symbol_id, requested_at)
SELECT id, %(now)s FROM unnest(%(ids)s::int[]) AS t (id) ORDER BY 1
ON CONFLICT (symbol_id) DO UPDATE SET requested_at = EXCLUDED.requested_at
WHERE r.requested_at IS NULL OR r.requested_at <= %(before)s
RETURNING symbol_id
"""
_DEFER_REQUESTS = "UPDATE backfill.{} SET requested_at = %(at)s WHERE symbol_id = ANY (%(ids)s::int[])"
# Actions of a symbol without daily rows are of no use. Files alone do not have what is known of a whole history.
_SELECT_UNREAD = """
SELECT t.id FROM unnest(%(ids)s::int[]) AS t (id) LEFT JOIN backfill.{} r ON r.symbol_id = t.id
WHERE (r.requested_at IS NULL OR r.requested_at <= %(before)s)
  AND EXISTS (SELECT FROM backfill.daily_prices d WHERE d.symbol_id = t.id AND d.read_at IS NOT NULL)
  AND (NOT %(only_incomplete)s OR r.known_after IS NULL OR r.known_after > %(first_day)s)
ORDER BY r.requested_at NULLS FIRST, t.id LIMIT %(limit)s
"""
# The end is that of the newest listing; without listings, the newest session with rows of the vendor.
_SELECT_UNREAD_ENDED = """
SELECT t.id FROM unnest(%(ids)s::int[]) AS t (id) LEFT JOIN backfill.{} r ON r.symbol_id = t.id
LEFT JOIN (SELECT symbol_id, max(listed_until) AS last_day FROM backfill.listings WHERE withdrawn_at IS NULL
           GROUP BY symbol_id) l ON l.symbol_id = t.id
WHERE (r.requested_at IS NULL OR r.requested_at <= %(before)s)
  AND (r.known_after IS NULL OR r.known_after > %(first_day)s OR r.known_until < l.last_day
       OR l.last_day IS NULL AND EXISTS (
           SELECT FROM backfill.session_evidence e
           WHERE e.symbol_id = t.id AND e.session_day > r.known_until AND e.source_rows > 0))
ORDER BY r.requested_at NULLS FIRST, t.id LIMIT %(limit)s
"""
_COUNT_REQUESTS = "SELECT count(*) FROM backfill.{} WHERE requested_at >= %(since)s"
_COUNT_REQUESTS_OF = """
SELECT count(*) FROM backfill.{} WHERE requested_at >= %(since)s AND symbol_id = ANY (%(ids)s::int[])
"""


@dataclass(frozen=True, slots=True)
class MarketFile:
    """A market's file of the actions of one session.

    Attributes:
        symbol_ids: the symbols that were looked for; those with a row that cannot be read are none of them.
        source: the vendor's endpoint.
        read_at: UTC.
        previous_day: the session before.
        day: the session.
        is_complete: whether a stored action of the session counts no more if the file lacks it.
    """

    symbol_ids: Collection[int]
    source: str
    read_at: datetime
    previous_day: date
    day: date
    is_complete: bool


def record_own_read(
    connection: Connection, table: ReadsTable, symbol_id: int, known_after: date, known_until: date, now: datetime
) -> None:
    """Record that a symbol's own list has every action after ``known_after`` up to ``known_until``."""
    values = {"id": symbol_id, "known_after": known_after, "known_until": known_until, "now": now}
    connection.execute(_name(_UPSERT_OWN_READ, table), values)


def record_file_reads(connection: Connection, table: ReadsTable, file: MarketFile) -> None:
    """Record that a market's file has every action of its symbols after the session before up to its own."""
    values = {"ids": sorted(file.symbol_ids), "previous": file.previous_day, "day": file.day, "now": file.read_at}
    connection.execute(_name(_UPSERT_FILE_READS, table), values)


def claim_requests(
    connection: Connection, table: ReadsTable, symbol_ids: Collection[int], now: datetime, before: datetime
) -> list[int]:
    """The symbols whose list may be requested now: none that was requested after ``before``, by whichever process."""
    values = {"ids": sorted(symbol_ids), "now": now, "before": before}
    return sorted(symbol_id for (symbol_id,) in connection.execute(_name(_CLAIM_REQUESTS, table), values))


def defer_requests(
    connection: Connection, table: ReadsTable, symbol_ids: Collection[int], at: datetime | None = None
) -> None:
    """Give up claims on lists that were not read, as if they had been requested at ``at``; None: never."""
    connection.execute(_name(_DEFER_REQUESTS, table), {"ids": sorted(symbol_ids), "at": at})


def find_unread_symbols(
    connection: Connection,
    table: ReadsTable,
    symbol_ids: Collection[int],
    before: datetime,
    limit: int,
    *,
    only_incomplete: bool = False,
) -> list[int]:
    """At most ``limit`` symbols with daily rows whose list was not requested after ``before``, oldest request first.

    ``only_incomplete``: those of which not all actions are known from the beginning on.
    """
    values = {"ids": sorted(symbol_ids), "before": before, "limit": limit, "only_incomplete": only_incomplete}
    values["first_day"] = FIRST_POSSIBLE_DAY
    return [symbol_id for (symbol_id,) in connection.execute(_name(_SELECT_UNREAD, table), values)]


def find_unread_ended_symbols(
    connection: Connection, table: ReadsTable, symbol_ids: Collection[int], before: datetime, limit: int
) -> list[int]:
    """At most ``limit`` inactive symbols of which not all actions are known up to the end of their bars.

    None whose list was requested after ``before``. Whether they have daily rows does not matter.
    """
    values = {"ids": sorted(symbol_ids), "before": before, "limit": limit, "first_day": FIRST_POSSIBLE_DAY}
    return [symbol_id for (symbol_id,) in connection.execute(_name(_SELECT_UNREAD_ENDED, table), values)]


def count_requests(
    connection: Connection, table: ReadsTable, since: datetime, symbol_ids: Collection[int] | None = None
) -> int:
    """For how many symbols (of all, or of some) the list was last requested since a moment."""
    statement = _name(_COUNT_REQUESTS if symbol_ids is None else _COUNT_REQUESTS_OF, table)
    values = {"since": since, "ids": None if symbol_ids is None else sorted(symbol_ids)}
    return int(connection.execute(statement, values).fetchall()[0][0])


def _name(statement: str, table: ReadsTable) -> bytes:
    return statement.format(table).encode()
