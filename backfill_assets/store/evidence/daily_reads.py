"""Which daily rows the morning's reading still lacks, and when it requested them; the rows are in ``daily_prices``."""

from collections.abc import Collection, Sequence
from datetime import date, datetime

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.daily_prices import SETTLED_AFTER
from backfill_assets.store.postgres.connection import Connection

# A day is read if its row is settled, or known not to exist, or if an answer covers it that was given after it was
# settled. A symbol whose newest request failed waits; a listing that has ended has no further rows.
_SELECT_UNREAD = """
SELECT t.id, min(w.day)
FROM unnest(%(ids)s::int[]) AS t (id)
CROSS JOIN unnest(%(days)s::date[], %(settled_at)s::timestamptz[]) AS w (day, settled_at)
LEFT JOIN backfill.daily_reads r ON r.symbol_id = t.id
LEFT JOIN backfill.listing_lives l ON l.symbol_id = t.id
LEFT JOIN backfill.daily_prices p ON p.symbol_id = t.id AND p.day = w.day
      AND (p.read_at >= w.settled_at OR p.no_row_reason IS NOT NULL)
WHERE p.symbol_id IS NULL
  AND (r.read_from IS NULL OR r.read_from > w.day OR r.answered_at < w.settled_at)
  AND (r.requested_at IS NULL OR r.requested_at <= %(before)s OR r.answered_at >= r.requested_at)
  AND (l.symbol_id IS NULL OR NOT l.has_ended OR l.last_day IS NULL OR w.day <= l.last_day)
  AND (l.first_day IS NULL OR w.day >= l.first_day)
  AND (NOT %(with_rows)s OR EXISTS (
      SELECT FROM backfill.session_evidence e WHERE e.symbol_id = t.id AND e.session_day = w.day AND e.source_rows > 0))
GROUP BY t.id ORDER BY 2, 1 LIMIT %(limit)s
"""
_COUNT_REQUESTS = "SELECT count(*) FROM backfill.daily_reads WHERE requested_at >= %(since)s"
_CLAIM = """
INSERT INTO backfill.daily_reads AS r (symbol_id, requested_at)
SELECT id, %(now)s FROM unnest(%(ids)s::int[]) AS t (id) ORDER BY 1
ON CONFLICT (symbol_id) DO UPDATE SET requested_at = EXCLUDED.requested_at
WHERE r.requested_at IS NULL OR r.requested_at <= %(before)s OR r.answered_at >= r.requested_at
RETURNING symbol_id
"""
_RELEASE = "UPDATE backfill.daily_reads SET requested_at = NULL WHERE symbol_id = ANY (%(ids)s::int[])"
_UPSERT_ANSWER = """
INSERT INTO backfill.daily_reads AS r (symbol_id, answered_at, read_from)
VALUES (%(id)s, %(now)s, %(read_from)s)
ON CONFLICT (symbol_id) DO UPDATE SET
    answered_at = EXCLUDED.answered_at, read_from = least(r.read_from, EXCLUDED.read_from)
"""
# A file without rows was not published yet, or could not be read; it is requested again after some hours.
_SELECT_READ_FILES = """
SELECT f.day FROM backfill.bulk_files f
JOIN unnest(%(days)s::date[], %(settled_at)s::timestamptz[]) AS w (day, settled_at) USING (day)
WHERE (f.tickers > 0 AND f.read_at >= w.settled_at) OR f.read_at > %(before)s
"""
_SELECT_FILE_DAYS = """
SELECT min(day) FILTER (WHERE tickers > 0), count(*) FILTER (WHERE read_at >= %(since)s) FROM backfill.bulk_files
"""
_CLAIM_SPLITS_FILE = """
UPDATE backfill.bulk_files SET splits_requested_at = %(now)s
WHERE day = %(day)s AND tickers > 0 AND (splits_requested_at IS NULL OR splits_requested_at <= %(before)s)
"""


def find_unread_days(
    connection: Connection,
    symbol_ids: Collection[int],
    sessions: Sequence[Session],
    before: datetime,
    limit: int,
    *,
    with_rows: bool = False,
) -> dict[int, date]:
    """The oldest day that each symbol lacks a settled row of: symbol_id → day, oldest first.

    Args:
        connection: with a transaction open.
        symbol_ids: the symbols.
        sessions: those whose rows are settled by now.
        before: a symbol whose newest request failed is left out if it was sent later.
        limit: how many symbols at most.
        with_rows: whether only sessions count of which the vendor gave rows, so that there is something to compare.
    """
    values = {"ids": sorted(symbol_ids), "before": before, "limit": limit, "with_rows": with_rows}
    values |= _list_days(sessions)
    return dict(connection.execute(_SELECT_UNREAD, values))


def count_daily_requests(connection: Connection, since: datetime) -> int:
    """For how many symbols the newest request was sent since a moment."""
    return int(connection.execute(_COUNT_REQUESTS, {"since": since}).fetchall()[0][0])


def claim_daily_requests(
    connection: Connection, symbol_ids: Collection[int], now: datetime, before: datetime
) -> set[int]:
    """The symbols that may be requested now; another process has claimed the others, or their request failed."""
    rows = connection.execute(_CLAIM, {"ids": sorted(symbol_ids), "now": now, "before": before})
    return {symbol_id for (symbol_id,) in rows}


def release_daily_requests(connection: Connection, symbol_ids: Collection[int]) -> None:
    """Give up claims on symbols that were not requested after all."""
    connection.execute(_RELEASE, {"ids": sorted(symbol_ids)})


def record_daily_answer(connection: Connection, symbol_id: int, read_from: date, now: datetime) -> None:
    """Record that the vendor gave a symbol's daily rows from ``read_from`` on, as far as it has them.

    Also for an answer that was not requested by the morning's reading: it need not be requested again.
    """
    connection.execute(_UPSERT_ANSWER, {"id": symbol_id, "read_from": read_from, "now": now})


def find_read_files(connection: Connection, sessions: Sequence[Session], before: datetime) -> set[date]:
    """The sessions whose market's file was read when it was settled, or in vain after ``before``."""
    values = {"before": before, **_list_days(sessions)}
    return {day for (day,) in connection.execute(_SELECT_READ_FILES, values)}


def read_file_days(connection: Connection, since: datetime) -> tuple[date | None, int]:
    """The oldest day with a market's file, and how many files were read since a moment."""
    first, count = connection.execute(_SELECT_FILE_DAYS, {"since": since}).fetchall()[0]
    return first, int(count)


def claim_splits_file(connection: Connection, day: date, now: datetime, before: datetime) -> bool:
    """Whether the market's splits of a day with a file may be requested now: nobody did after ``before``."""
    return connection.execute(_CLAIM_SPLITS_FILE, {"day": day, "now": now, "before": before}).rowcount > 0


def _list_days(sessions: Sequence[Session]) -> dict[str, list[date] | list[datetime]]:
    return {
        "days": [session.day for session in sessions],
        "settled_at": [session.close + SETTLED_AFTER for session in sessions],
    }
