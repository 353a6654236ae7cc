"""Figures about the whole table for ``status``."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

from backfill_assets.market.intervals import Interval
from backfill_assets.store.connection import Connection
from backfill_assets.store.symbols import Symbol


def newest_bar(connection: Connection, symbols: Sequence[Symbol], interval: Interval) -> datetime | None:
    """The newest slot that any of ``symbols`` has a bar for, UTC; one index probe a symbol."""
    row = connection.execute(
        "SELECT max(m.timestamp) FROM unnest(%s::int[]) AS u (symbol_id) CROSS JOIN LATERAL"
        " (SELECT max(d.timestamp) AS timestamp FROM unnest(%s::text[]) AS s (spelling) CROSS JOIN LATERAL"
        "  (SELECT timestamp FROM market_data d WHERE d.symbol_id = u.symbol_id AND d.interval_type = s.spelling"
        "   ORDER BY timestamp DESC LIMIT 1) d) m",
        [[s.symbol_id for s in symbols], list(interval.spellings)],
    ).fetchone()
    return row[0].astimezone(UTC) if row and row[0] else None


def publications(
    connection: Connection, interval: Interval, source: Interval, days: Sequence[date]
) -> dict[date, tuple[int, datetime, datetime]]:
    """Per session day, how many tickers were seen published to the end, when first and when last (UTC)."""
    rows = connection.execute(
        "SELECT session_day, count(*), min(published_seen), max(published_seen) FROM backfill.evidence"
        " WHERE interval_type = %s AND source_interval = %s AND published AND session_day = ANY (%s)"
        " GROUP BY session_day ORDER BY session_day",
        [interval.name, source.name, list(days)],
    )
    return {day: (seen, first.astimezone(UTC), last.astimezone(UTC)) for day, seen, first, last in rows}
