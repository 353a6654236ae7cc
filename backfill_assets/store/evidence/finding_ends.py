"""What shows that a finding no longer holds: answers after a listing's end or on a closed day, and longer answers.

Findings themselves are in ``findings``; what ends each kind is decided in ``backfill.finding_ends``.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from backfill_assets.store.evidence.confirmed_lives import IS_END_CONFIRMED
from backfill_assets.store.evidence.findings import PLAN_LIMITED
from backfill_assets.store.exchanges import IS_OF_EXCHANGE, list_names
from backfill_assets.store.postgres.connection import Connection

# Of a symbol without daily data the last day is unknown; then sessions from shortly before the finding count. After an
# end that is confirmed, rows are another instrument's.
_SELECT_ANSWERED_AGAIN = f"""
SELECT f.symbol_id FROM unnest(%(ids)s::int[], %(found_at)s::timestamptz[]) AS f (symbol_id, found_at)
WHERE EXISTS (
    SELECT 1 FROM backfill.session_evidence e LEFT JOIN backfill.listing_lives l USING (symbol_id)
    WHERE e.symbol_id = f.symbol_id AND e.is_published AND e.published_at > f.found_at
      AND ({IS_END_CONFIRMED}) IS NOT TRUE
      AND e.session_day > coalesce(l.last_day, (f.found_at AT TIME ZONE 'UTC')::date - 5))
"""  # noqa: S608 - only a constant is inserted
_CONTINUE_LIVES = "UPDATE backfill.listing_lives SET has_ended = false WHERE symbol_id = ANY (%(ids)s) AND has_ended"
_SELECT_ENDED = "SELECT symbol_id FROM backfill.listing_lives WHERE symbol_id = ANY (%(ids)s) AND has_ended"
_REOPEN_FINDINGS = """
UPDATE backfill.findings SET resolved_at = NULL
WHERE kind = %(kind)s AND subject = ANY (%(subjects)s) AND resolved_at IS NOT NULL
"""
_SELECT_CLOSURES = """
SELECT day FROM backfill.exchange_closures WHERE exchange = %(exchange)s AND day = ANY (%(days)s)
"""
_DELETE_ANSWERED_CLOSURES = f"""
DELETE FROM backfill.exchange_closures c
WHERE exchange = %(exchange)s AND day = ANY (%(days)s) AND %(more_than)s < (
    SELECT count(DISTINCT symbol_id) FROM backfill.session_evidence e
    WHERE e.session_day = c.day AND e.is_published AND e.symbol_id IN (
        SELECT symbol_id FROM market_symbols WHERE {IS_OF_EXCHANGE}))
RETURNING day
"""  # noqa: S608 - only a constant is inserted
_RECORD_REACH = """
UPDATE backfill.findings SET reach_days = least(reach_days, %(days)s)
WHERE kind = %(kind)s AND subject = %(subject)s AND resolved_at IS NULL
"""
_FORGET_REACH = "UPDATE backfill.findings SET reach_days = NULL WHERE kind = %(kind)s AND resolved_at IS NOT NULL"
_SELECT_REACHES = """
SELECT subject, coalesce(reach_days, 0) FROM backfill.findings WHERE kind = %(kind)s AND resolved_at IS NULL
"""


def find_symbols_answering_again(connection: Connection, found_at: Mapping[int, datetime]) -> set[int]:
    """Of the symbols (symbol_id → when the vendor was found to have no more data), those with newer sessions since."""
    values = {"ids": list(found_at), "found_at": list(found_at.values())}
    return {row[0] for row in connection.execute(_SELECT_ANSWERED_AGAIN.encode(), values)}


def continue_listing_lives(connection: Connection, symbol_ids: Sequence[int]) -> None:
    """Take back that the listings of these symbols have ended."""
    connection.execute(_CONTINUE_LIVES, {"ids": list(symbol_ids)})


def find_ended_symbols(connection: Connection, symbol_ids: Sequence[int]) -> set[int]:
    """The symbols whose listing has ended."""
    return {row[0] for row in connection.execute(_SELECT_ENDED, {"ids": list(symbol_ids)})}


def reopen_findings(connection: Connection, kind: str, subjects: Sequence[str]) -> int:
    """Open resolved findings again; returns how many there were."""
    return connection.execute(_REOPEN_FINDINGS, {"kind": kind, "subjects": list(subjects)}).rowcount


def find_closures(connection: Connection, exchange: str, days: Sequence[date]) -> set[date]:
    """Those of the days that are recorded as closed at the exchange."""
    return {row[0] for row in connection.execute(_SELECT_CLOSURES, {"exchange": exchange, "days": list(days)})}


def delete_answered_closures(
    connection: Connection, exchange: str, days: Sequence[date], more_than: float
) -> set[date]:
    """Delete closures for whose day more than ``more_than`` symbols of the exchange were seen published.

    Returns:
        Their days.
    """
    values = {"exchange": exchange, "days": list(days), "more_than": more_than, **list_names(exchange)}
    return {row[0] for row in connection.execute(_DELETE_ANSWERED_CLOSURES.encode(), values)}


def record_limited_reach(connection: Connection, exchange: str, days: int) -> None:
    """Store how many days back a limited request reached, with the open finding; the shortest reach stays."""
    connection.execute(_RECORD_REACH, {"kind": PLAN_LIMITED, "subject": exchange, "days": days})


def forget_limited_reach(connection: Connection) -> None:
    """Forget how far back limited requests reached where the finding is resolved."""
    connection.execute(_FORGET_REACH, {"kind": PLAN_LIMITED})


def read_limited_reaches(connection: Connection) -> dict[str, int]:
    """By exchange with an open finding ``plan limited``, how many days back its shortest limited request reached."""
    return dict(connection.execute(_SELECT_REACHES, {"kind": PLAN_LIMITED}).fetchall())
