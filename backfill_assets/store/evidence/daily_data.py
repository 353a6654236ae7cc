"""What the vendor's daily data show beyond single rows: listing lives of symbols, daily files, and closures.

The rows are in ``daily_prices``. ``evidence_reader`` reads the part that explains absent bars.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from backfill_assets.market.exchanges.labels import format_exchange_day
from backfill_assets.store.postgres.connection import Connection

_UPSERT_LISTING_LIVES = """
INSERT INTO backfill.listing_lives (symbol_id, first_day, last_day, has_ended, refusal, read_at)
SELECT *, %(now)s
FROM unnest(%(ids)s::int[], %(first_days)s::date[], %(last_days)s::date[], %(has_ended)s::boolean[],
            %(refusals)s::text[])
ON CONFLICT (symbol_id) DO UPDATE SET
    first_day = EXCLUDED.first_day, last_day = EXCLUDED.last_day, has_ended = EXCLUDED.has_ended,
    refusal = EXCLUDED.refusal, read_at = EXCLUDED.read_at
"""
_SELECT_LIVES_READ_SINCE = """
SELECT l.symbol_id FROM unnest(%(ids)s::int[], %(since)s::timestamptz[]) AS t (symbol_id, since)
JOIN backfill.listing_lives l ON l.symbol_id = t.symbol_id AND l.read_at > t.since
"""
# Without a key after ON CONFLICT: the part of the US has another one, too, for programs of migration 32, and of two
# processes that insert a row at once one would fail by it. Whoever has not inserted the row sees the other's, or none.
_CLAIM_BULK_FILE = """
WITH inserted AS (
    INSERT INTO backfill.exchange_files (exchange, day, read_at, tickers, requested_at)
    VALUES (%(exchange)s, %(day)s, '-infinity', 0, clock_timestamp()) ON CONFLICT DO NOTHING RETURNING day
), claimed AS (
    UPDATE backfill.exchange_files SET requested_at = clock_timestamp()
    WHERE exchange = %(exchange)s AND day = %(day)s
      AND (requested_at IS NULL OR requested_at < clock_timestamp() - %(max_age)s)
    RETURNING day
)
SELECT day FROM inserted UNION ALL SELECT day FROM claimed
"""
_RELEASE_BULK_FILE = """
UPDATE backfill.exchange_files SET requested_at = NULL WHERE exchange = %(exchange)s AND day = %(day)s
"""
_UPDATE_BULK_FILE = """
UPDATE backfill.exchange_files
SET read_at = %(now)s, tickers = %(tickers)s, searched_ids = %(searched_ids)s::int[], requested_at = NULL
WHERE exchange = %(exchange)s AND day = %(day)s
"""
# What an earlier file said stays; the silence of an empty one does not, because it counts only from some time on.
_UPDATE_UNREADABLE_BULK_FILE = """
UPDATE backfill.exchange_files
SET read_at = %(now)s, requested_at = NULL, searched_ids = CASE WHEN tickers > 0 THEN searched_ids END
WHERE exchange = %(exchange)s AND day = %(day)s
"""
_UPSERT_UNREADABLE_HISTORY = """
INSERT INTO backfill.listing_lives (symbol_id, has_ended, read_at) VALUES (%(symbol_id)s, false, %(now)s)
ON CONFLICT (symbol_id) DO UPDATE SET read_at = EXCLUDED.read_at
"""
_SELECT_BULK_FILE_READ_SINCE = """
SELECT 1 FROM backfill.exchange_files WHERE exchange = %(exchange)s AND day = %(day)s AND read_at > %(since)s
"""
_SELECT_BULK_FILE_SIZE = "SELECT tickers FROM backfill.exchange_files WHERE exchange = %(exchange)s AND day = %(day)s"
_SELECT_SEARCHED = """
SELECT searched_ids FROM backfill.exchange_files
WHERE exchange = %(exchange)s AND day = %(day)s AND searched_ids IS NOT NULL
  AND (tickers > 0 OR read_at >= %(empty_since)s)
"""
# Symbols of which every bar of the day was returned have traded on it, so a complete file has their rows.
_COUNT_TRADED_SYMBOLS = """
SELECT count(*), count(p.symbol_id) FROM (
    SELECT DISTINCT symbol_id FROM backfill.session_evidence
    WHERE session_day = %(day)s AND is_published AND isempty(not_returned) AND symbol_id = ANY (%(ids)s)
) e LEFT JOIN backfill.daily_prices p ON p.day = %(day)s AND p.symbol_id = e.symbol_id AND p.no_row_reason IS NULL
"""
_SELECT_SYMBOLS_WITH_DAY = """
SELECT symbol_id FROM backfill.daily_prices WHERE symbol_id = ANY (%(ids)s) AND day = %(day)s
"""
# Not if a person said that the market was open.
_INSERT_CLOSURE = """
WITH was_open AS (
    SELECT FROM backfill.decisions
    WHERE kind = 'closure' AND decision = 'rejected' AND refers_to @> ARRAY[%(name)s::text]
), inserted AS (
    INSERT INTO backfill.exchange_closures (exchange, day, found_at, reason)
    SELECT %(exchange)s, %(day)s, %(now)s, %(reason)s WHERE NOT EXISTS (SELECT FROM was_open)
    ON CONFLICT DO NOTHING
)
SELECT NOT EXISTS (SELECT FROM was_open)
"""
_DELETE_CLOSURE = """
DELETE FROM backfill.exchange_closures WHERE exchange = %(exchange)s AND day = %(day)s RETURNING found_at, reason
"""


@dataclass(frozen=True, slots=True)
class ListingLife:
    """From when to when a symbol is listed, as far as its daily data show; both days are None without daily data.

    ``first_day`` alone is None if it is unknown: the token's plan limits the daily data, or there is only a rename.

    ``refusal`` is what the vendor said when it refused the daily data, empty if it answered without rows, None if there
    are rows. Version 0.2.0 did not record it.
    """

    symbol_id: int
    first_day: date | None
    last_day: date | None
    has_ended: bool
    refusal: str | None = None


def record_listing_lives(connection: Connection, lives: Sequence[ListingLife], now: datetime) -> None:
    """Store how long symbols are listed, as of ``now``."""
    connection.execute(
        _UPSERT_LISTING_LIVES,
        {
            "now": now,
            "ids": [life.symbol_id for life in lives],
            "first_days": [life.first_day for life in lives],
            "last_days": [life.last_day for life in lives],
            "has_ended": [life.has_ended for life in lives],
            "refusals": [life.refusal for life in lives],
        },
    )


def record_unreadable_history(connection: Connection, symbol_id: int, now: datetime) -> None:
    """Record that a symbol's daily data were requested and could not be read; what is known of it stays."""
    connection.execute(_UPSERT_UNREADABLE_HISTORY, {"symbol_id": symbol_id, "now": now})


def find_lives_read_since(connection: Connection, since: Mapping[int, datetime]) -> set[int]:
    """The symbols whose daily data were read after a moment of their own: symbol_id → moment."""
    rows = connection.execute(_SELECT_LIVES_READ_SINCE, {"ids": list(since), "since": list(since.values())})
    return {row[0] for row in rows}


def claim_bulk_file(connection: Connection, exchange: str, day: date, max_age: timedelta) -> bool:
    """Claim the exchange's daily file of ``day``, so that two processes do not pay for it; ends when it is recorded.

    Returns:
        False if another process has claimed it within ``max_age`` (server clock).
    """
    values = {"exchange": exchange, "day": day, "max_age": max_age}
    return connection.execute(_CLAIM_BULK_FILE, values).fetchone() is not None


def release_bulk_file(connection: Connection, exchange: str, day: date) -> None:
    """Give up the claim on a file that could not be read."""
    connection.execute(_RELEASE_BULK_FILE, {"exchange": exchange, "day": day})


def record_bulk_file(
    connection: Connection, exchange: str, day: date, tickers: int, searched_ids: Sequence[int], now: datetime
) -> None:
    """Record that the claimed file of ``day`` was read, how many tickers it had, and who was looked for."""
    values = {"exchange": exchange, "day": day, "tickers": tickers, "searched_ids": list(searched_ids), "now": now}
    connection.execute(_UPDATE_BULK_FILE, values)


def record_unreadable_bulk_file(connection: Connection, exchange: str, day: date, now: datetime) -> None:
    """Record that the claimed file of ``day`` was requested and could not be read; what is known of it stays."""
    connection.execute(_UPDATE_UNREADABLE_BULK_FILE, {"exchange": exchange, "day": day, "now": now})


def read_searched_symbols(connection: Connection, exchange: str, day: date, empty_since: datetime) -> set[int]:
    """The symbols that were looked for in the exchange's daily file of ``day``; none if it was never read.

    A file without rows counts only if it was read at ``empty_since`` or later, because before it may not be published.
    """
    values = {"exchange": exchange, "day": day, "empty_since": empty_since}
    row = connection.execute(_SELECT_SEARCHED, values).fetchone()
    return set(row[0]) if row else set()


def count_traded_symbols(connection: Connection, symbol_ids: Collection[int], day: date) -> tuple[int, int]:
    """How many of the symbols have all bars of ``day``, and how many of these also have a daily row of the vendor's."""
    row = connection.execute(_COUNT_TRADED_SYMBOLS, {"ids": sorted(symbol_ids), "day": day}).fetchall()[0]
    return int(row[0]), int(row[1])


def is_bulk_file_read_since(connection: Connection, exchange: str, day: date, since: datetime) -> bool:
    """Whether the exchange's daily file of ``day`` was read after ``since``."""
    values = {"exchange": exchange, "day": day, "since": since}
    return connection.execute(_SELECT_BULK_FILE_READ_SINCE, values).fetchone() is not None


def read_bulk_file_size(connection: Connection, exchange: str, day: date) -> int:
    """How many tickers the exchange's daily file of ``day`` had when it was last read; 0 if it never was."""
    row = connection.execute(_SELECT_BULK_FILE_SIZE, {"exchange": exchange, "day": day}).fetchone()
    return int(row[0]) if row else 0


def find_symbols_with_day(connection: Connection, symbol_ids: Sequence[int], day: date) -> set[int]:
    """The symbols that have daily data of ``day``."""
    rows = connection.execute(_SELECT_SYMBOLS_WITH_DAY, {"ids": list(symbol_ids), "day": day})
    return {row[0] for row in rows}


def record_closure(connection: Connection, exchange: str, day: date, reason: str, now: datetime) -> bool:
    """Record that an exchange did not hold a session that the calendar has.

    Returns:
        False if a person decided that it did; then nothing is recorded.
    """
    name = format_exchange_day(exchange, day)
    values = {"exchange": exchange, "day": day, "name": name, "reason": reason, "now": now}
    return bool(connection.execute(_INSERT_CLOSURE, values).fetchall()[0][0])


def delete_closure(connection: Connection, exchange: str, day: date) -> tuple[datetime, str] | None:
    """Take back that a day was closed; returns when that was found (UTC) and why, None if it is not recorded."""
    row = connection.execute(_DELETE_CLOSURE, {"exchange": exchange, "day": day}).fetchone()
    return (row[0].astimezone(UTC), row[1]) if row else None
