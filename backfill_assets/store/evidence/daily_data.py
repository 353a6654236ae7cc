"""What the vendor's daily data told: who traded when, whose life is over, and what a person should look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from backfill_assets.store.postgres.connection import Connection


@dataclass(frozen=True, slots=True)
class ListingLife:
    """A ticker's listing life as far as the daily data show it; None where they show nothing."""

    symbol_id: int
    first_day: date | None
    last_day: date | None
    has_ended: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should look at and decide."""

    kind: str
    subject: str
    detail: str
    found_at: datetime


def record_daily_rows(connection: Connection, rows: Sequence[tuple[int, date, float | None, int]]) -> None:
    """Remember (symbol_id, day, close, volume); a volume of 0 says that nothing traded."""
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    connection.execute(
        "INSERT INTO backfill.daily_prices AS d (symbol_id, day, close_price, volume)"
        " SELECT * FROM unnest(%s::int[], %s::date[], %s::float8[], %s::bigint[]) ORDER BY 1, 2"
        " ON CONFLICT (symbol_id, day) DO UPDATE SET close_price = EXCLUDED.close_price, volume = EXCLUDED.volume"
        " WHERE (d.close_price, d.volume) IS DISTINCT FROM (EXCLUDED.close_price, EXCLUDED.volume)",
        [list(column) for column in columns],
    )


def record_listing_lives(connection: Connection, lives: Sequence[ListingLife], now: datetime) -> None:
    """Remember how long tickers are listed, as of ``now``."""
    connection.execute(
        "INSERT INTO backfill.listing_lives (symbol_id, first_day, last_day, has_ended, read_at)"
        " SELECT *, %s FROM unnest(%s::int[], %s::date[], %s::date[], %s::boolean[])"
        " ON CONFLICT (symbol_id) DO UPDATE SET first_day = EXCLUDED.first_day, last_day = EXCLUDED.last_day,"
        " has_ended = EXCLUDED.has_ended, read_at = EXCLUDED.read_at",
        [
            now,
            [life.symbol_id for life in lives],
            [life.first_day for life in lives],
            [life.last_day for life in lives],
            [life.has_ended for life in lives],
        ],
    )


def find_lives_read_since(connection: Connection, symbol_ids: Sequence[int], since: datetime) -> set[int]:
    """Which of the tickers' daily data were read after ``since``."""
    rows = connection.execute(
        "SELECT symbol_id FROM backfill.listing_lives WHERE symbol_id = ANY (%s) AND read_at > %s",
        [list(symbol_ids), since],
    )
    return {row[0] for row in rows}


def record_bulk_file(connection: Connection, day: date, tickers: int, now: datetime) -> None:
    """Remember that the market's file of ``day`` was read, and how many tickers it had."""
    connection.execute(
        "INSERT INTO backfill.bulk_files (day, read_at, tickers) VALUES (%s, %s, %s)"
        " ON CONFLICT (day) DO UPDATE SET read_at = EXCLUDED.read_at, tickers = EXCLUDED.tickers",
        [day, now, tickers],
    )


def is_bulk_file_read_since(connection: Connection, day: date, since: datetime) -> bool:
    """Whether the market's file of ``day`` was read after ``since``."""
    found = connection.execute(
        "SELECT 1 FROM backfill.bulk_files WHERE day = %s AND read_at > %s", [day, since]
    ).fetchone()
    return found is not None


def read_bulk_file_size(connection: Connection, day: date) -> int:
    """How many tickers the market's file of ``day`` had when it was last read; 0 too if it never was."""
    row = connection.execute("SELECT tickers FROM backfill.bulk_files WHERE day = %s", [day]).fetchone()
    return int(row[0]) if row else 0


def find_symbols_with_day(connection: Connection, symbol_ids: Sequence[int], day: date) -> set[int]:
    """Which of the tickers have daily data of ``day``."""
    rows = connection.execute(
        "SELECT symbol_id FROM backfill.daily_prices WHERE symbol_id = ANY (%s) AND day = %s", [list(symbol_ids), day]
    )
    return {row[0] for row in rows}


def record_closure(connection: Connection, day: date, reason: str, now: datetime) -> None:
    """Remember that the market did not hold a session that the calendar has."""
    connection.execute(
        "INSERT INTO backfill.closures (day, found_at, reason) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        [day, now, reason],
    )


def record_finding(connection: Connection, finding: Finding) -> None:
    """Tell a person; the first time counts for as long as the detail stays the same."""
    connection.execute(
        "INSERT INTO backfill.findings AS f (kind, subject, detail, found_at) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (kind, subject) DO UPDATE SET detail = EXCLUDED.detail, found_at = EXCLUDED.found_at"
        " WHERE f.detail <> EXCLUDED.detail",
        [finding.kind, finding.subject, finding.detail, finding.found_at],
    )


def list_findings(connection: Connection) -> list[Finding]:
    """Everything a person should look at, newest first."""
    rows = connection.execute(
        "SELECT kind, subject, detail, found_at FROM backfill.findings ORDER BY found_at DESC, kind, subject"
    )
    return [Finding(kind, subject, detail, at.astimezone(UTC)) for kind, subject, detail, at in rows]
