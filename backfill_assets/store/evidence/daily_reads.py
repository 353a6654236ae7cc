"""Which daily rows the morning's reading still lacks, and when it requested them; the rows are in ``daily_prices``."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Literal, TypeAlias

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.daily_prices import SETTLED_AFTER
from backfill_assets.store.evidence.known_lives import KNOWN_LIVES
from backfill_assets.store.postgres.connection import Connection

FileKind: TypeAlias = Literal["splits", "dividends"]  # of corporate actions that the market has files of
# A day is read if its row is settled, or known not to exist, or if an answer covers it that was given after it was
# settled. A symbol whose newest request failed waits; a listing that has ended has no further rows.
_SELECT_UNREAD = f"""
SELECT t.id, min(w.day)
FROM unnest(%(ids)s::int[]) AS t (id)
CROSS JOIN unnest(%(days)s::date[], %(settled_at)s::timestamptz[]) AS w (day, settled_at)
LEFT JOIN backfill.daily_reads r ON r.symbol_id = t.id
LEFT JOIN {KNOWN_LIVES} l ON l.symbol_id = t.id
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
"""  # noqa: S608 - only a constant is inserted
_COUNT_REQUESTS = """
SELECT count(*) FROM backfill.daily_reads
WHERE requested_at >= %(since)s AND (%(ids)s::int[] IS NULL OR symbol_id = ANY (%(ids)s::int[]))
"""
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
SELECT f.day FROM backfill.exchange_files f
JOIN unnest(%(days)s::date[], %(settled_at)s::timestamptz[]) AS w (day, settled_at) USING (day)
WHERE f.exchange = %(exchange)s AND ((f.tickers > 0 AND f.read_at >= w.settled_at) OR f.read_at > %(before)s)
"""
_SELECT_FILE_DAYS = """
SELECT min(day) FILTER (WHERE tickers > 0), count(*) FILTER (WHERE read_at >= %(since)s)
FROM backfill.exchange_files WHERE exchange = %(exchange)s
"""
# As the claim of a daily file in daily_data, and for the reason given there.
_CLAIM_ACTIONS_FILE = """
WITH inserted AS (
    INSERT INTO backfill.exchange_files (exchange, day, read_at, tickers, {0}_requested_at)
    VALUES (%(exchange)s, %(day)s, '-infinity', 0, %(now)s) ON CONFLICT DO NOTHING RETURNING day
), claimed AS (
    UPDATE backfill.exchange_files SET {0}_requested_at = %(now)s
    WHERE exchange = %(exchange)s AND day = %(day)s
      AND ({0}_requested_at IS NULL OR {0}_requested_at <= %(before)s)
    RETURNING day
)
SELECT day FROM inserted UNION ALL SELECT day FROM claimed
"""
_HAS_DATA = """
(EXISTS (SELECT FROM backfill.daily_prices p
         WHERE p.symbol_id = t.id AND p.day = {day} AND p.no_row_reason IS NULL)
 OR EXISTS (SELECT FROM backfill.session_evidence e
            WHERE e.symbol_id = t.id AND e.session_day = {day} AND e.source_rows > 0))
"""
_SELECT_SILENT = f"""
SELECT t.id FROM unnest(%(ids)s::int[]) AS t (id)
WHERE {_HAS_DATA.format(day="%(before)s")} AND NOT {_HAS_DATA.format(day="%(day)s")}
  AND NOT EXISTS (SELECT FROM backfill.listing_lives l
                  WHERE l.symbol_id = t.id AND (l.has_ended OR l.read_at >= %(settled_at)s))
"""  # noqa: S608 - only constants are inserted
_SELECT_ACTIONS_FILES = """
SELECT max(day) FILTER (WHERE {0}_read_at IS NOT NULL), count(*) FILTER (WHERE {0}_requested_at >= %(since)s)
FROM backfill.exchange_files WHERE exchange = %(exchange)s
"""
_SELECT_UNCLAIMED = """
SELECT NOT EXISTS (SELECT FROM backfill.exchange_files
                   WHERE exchange = %(exchange)s AND day = %(day)s AND {0}_requested_at > %(before)s)
"""
_RECORD_ACTIONS_FILE = """
UPDATE backfill.exchange_files SET {0}_read_at = %(now)s WHERE exchange = %(exchange)s AND day = %(day)s
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
    return dict(connection.execute(_SELECT_UNREAD.encode(), values))


def find_silent_symbols(
    connection: Connection, symbol_ids: Collection[int], newest: Session, before: Session
) -> set[int]:
    """The symbols with a daily or an intraday row of the session ``before`` and none of the ``newest``.

    Those whose listing is known to have ended are left out, and those whose whole history was read since the newest
    session's row is settled: then the list of renamed symbols was read, too, if it had to be.
    """
    values = {"ids": sorted(symbol_ids), "day": newest.day, "before": before.day}
    rows = connection.execute(_SELECT_SILENT, {**values, "settled_at": newest.close + SETTLED_AFTER})
    return {symbol_id for (symbol_id,) in rows}


def count_daily_requests(connection: Connection, since: datetime, symbol_ids: Collection[int] | None = None) -> int:
    """For how many symbols the newest request was sent since a moment; of ``symbol_ids``, by default of all."""
    values = {"since": since, "ids": None if symbol_ids is None else sorted(symbol_ids)}
    return int(connection.execute(_COUNT_REQUESTS, values).fetchall()[0][0])


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
    """Those of an exchange's sessions, at least one, whose file was read when settled, or in vain after ``before``."""
    values = {"exchange": sessions[0].exchange, "before": before, **_list_days(sessions)}
    return {day for (day,) in connection.execute(_SELECT_READ_FILES, values)}


def read_file_days(connection: Connection, exchange: str, since: datetime) -> tuple[date | None, int]:
    """The oldest day with a file of the exchange, and how many of its files were read since a moment."""
    first, count = connection.execute(_SELECT_FILE_DAYS, {"exchange": exchange, "since": since}).fetchall()[0]
    return first, int(count)


def claim_actions_file(
    connection: Connection, kind: FileKind, exchange: str, day: date, now: datetime, before: datetime
) -> bool:
    """Whether the exchange's actions of a day may be requested now: nobody did after ``before``."""
    values = {"exchange": exchange, "day": day, "now": now, "before": before}
    return connection.execute(_CLAIM_ACTIONS_FILE.format(kind).encode(), values).fetchone() is not None


def is_actions_file_free(connection: Connection, kind: FileKind, exchange: str, day: date, before: datetime) -> bool:
    """Whether nobody requested the exchange's actions of a day after ``before``."""
    values = {"exchange": exchange, "day": day, "before": before}
    return bool(connection.execute(_SELECT_UNCLAIMED.format(kind).encode(), values).fetchall()[0][0])


def read_actions_files(
    connection: Connection, kind: FileKind, exchange: str, since: datetime
) -> tuple[date | None, int]:
    """The newest day whose file of the exchange's actions was read, and how many were requested since a moment."""
    values = {"exchange": exchange, "since": since}
    newest, count = connection.execute(_SELECT_ACTIONS_FILES.format(kind).encode(), values).fetchall()[0]
    return newest, int(count)


def record_actions_file(connection: Connection, kind: FileKind, exchange: str, day: date, now: datetime) -> None:
    """Record that the exchange's actions of a day were read."""
    connection.execute(_RECORD_ACTIONS_FILE.format(kind).encode(), {"exchange": exchange, "day": day, "now": now})


def _list_days(sessions: Sequence[Session]) -> dict[str, list[date] | list[datetime]]:
    return {
        "days": [session.day for session in sessions],
        "settled_at": [session.close + SETTLED_AFTER for session in sessions],
    }
