"""What the vendor's daily data show: trading days and listing lives of symbols, and closures.

``evidence_reader`` reads the part that explains absent bars.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from backfill_assets.store.postgres.connection import Connection

_UPSERT_DAILY_PRICES = """
INSERT INTO backfill.daily_prices AS d (symbol_id, day, close_price, volume)
SELECT * FROM unnest(%(ids)s::int[], %(days)s::date[], %(closes)s::float8[], %(volumes)s::bigint[]) ORDER BY 1, 2
ON CONFLICT (symbol_id, day) DO UPDATE SET close_price = EXCLUDED.close_price, volume = EXCLUDED.volume
WHERE (d.close_price, d.volume) IS DISTINCT FROM (EXCLUDED.close_price, EXCLUDED.volume)
"""
_UPSERT_LISTING_LIVES = """
INSERT INTO backfill.listing_lives (symbol_id, first_day, last_day, has_ended, read_at)
SELECT *, %(now)s
FROM unnest(%(ids)s::int[], %(first_days)s::date[], %(last_days)s::date[], %(has_ended)s::boolean[])
ON CONFLICT (symbol_id) DO UPDATE SET
    first_day = EXCLUDED.first_day, last_day = EXCLUDED.last_day, has_ended = EXCLUDED.has_ended,
    read_at = EXCLUDED.read_at
"""
_SELECT_LIVES_READ_SINCE = """
SELECT symbol_id FROM backfill.listing_lives WHERE symbol_id = ANY (%(ids)s) AND read_at > %(since)s
"""
_UPSERT_BULK_FILE = """
INSERT INTO backfill.bulk_files (day, read_at, tickers) VALUES (%(day)s, %(now)s, %(tickers)s)
ON CONFLICT (day) DO UPDATE SET read_at = EXCLUDED.read_at, tickers = EXCLUDED.tickers
"""
_SELECT_BULK_FILE_READ_SINCE = "SELECT 1 FROM backfill.bulk_files WHERE day = %(day)s AND read_at > %(since)s"
_SELECT_BULK_FILE_SIZE = "SELECT tickers FROM backfill.bulk_files WHERE day = %(day)s"
_SELECT_SYMBOLS_WITH_DAY = """
SELECT symbol_id FROM backfill.daily_prices WHERE symbol_id = ANY (%(ids)s) AND day = %(day)s
"""
_INSERT_CLOSURE = """
INSERT INTO backfill.closures (day, found_at, reason) VALUES (%(day)s, %(now)s, %(reason)s) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class ListingLife:
    """From when to when a symbol is listed, as far as its daily data show; days are None without daily data."""

    symbol_id: int
    first_day: date | None
    last_day: date | None
    has_ended: bool


def record_daily_rows(connection: Connection, rows: Sequence[tuple[int, date, float | None, int]]) -> None:
    """Store (symbol_id, day, close, volume); a volume of 0 means that nothing traded."""
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    names = ("ids", "days", "closes", "volumes")
    connection.execute(_UPSERT_DAILY_PRICES, dict(zip(names, map(list, columns), strict=True)))


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
        },
    )


def find_lives_read_since(connection: Connection, symbol_ids: Sequence[int], since: datetime) -> set[int]:
    """The symbols whose daily data were read after ``since``."""
    rows = connection.execute(_SELECT_LIVES_READ_SINCE, {"ids": list(symbol_ids), "since": since})
    return {row[0] for row in rows}


def record_bulk_file(connection: Connection, day: date, tickers: int, now: datetime) -> None:
    """Record that the exchange's daily file of ``day`` was read, and how many tickers it had."""
    connection.execute(_UPSERT_BULK_FILE, {"day": day, "tickers": tickers, "now": now})


def is_bulk_file_read_since(connection: Connection, day: date, since: datetime) -> bool:
    """Whether the exchange's daily file of ``day`` was read after ``since``."""
    return connection.execute(_SELECT_BULK_FILE_READ_SINCE, {"day": day, "since": since}).fetchone() is not None


def read_bulk_file_size(connection: Connection, day: date) -> int:
    """How many tickers the exchange's daily file of ``day`` had when it was last read; 0 if it never was."""
    row = connection.execute(_SELECT_BULK_FILE_SIZE, {"day": day}).fetchone()
    return int(row[0]) if row else 0


def find_symbols_with_day(connection: Connection, symbol_ids: Sequence[int], day: date) -> set[int]:
    """The symbols that have daily data of ``day``."""
    rows = connection.execute(_SELECT_SYMBOLS_WITH_DAY, {"ids": list(symbol_ids), "day": day})
    return {row[0] for row in rows}


def record_closure(connection: Connection, day: date, reason: str, now: datetime) -> None:
    """Record that the market did not hold a session that the calendar has."""
    connection.execute(_INSERT_CLOSURE, {"day": day, "reason": reason, "now": now})
