"""Figures about the whole table for ``status``, and about the bars of sessions for their partitions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.postgres.connection import Connection


def read_newest_bar(connection: Connection, symbols: Sequence[Symbol], interval: Interval) -> datetime | None:
    """The newest slot that any of ``symbols`` has a bar for, UTC; one index probe a symbol."""
    row = connection.execute(
        "SELECT max(m.timestamp) FROM unnest(%s::int[]) AS u (symbol_id) CROSS JOIN LATERAL"
        " (SELECT max(d.timestamp) AS timestamp FROM unnest(%s::text[]) AS s (spelling) CROSS JOIN LATERAL"
        "  (SELECT timestamp FROM market_data d WHERE d.symbol_id = u.symbol_id AND d.interval_type = s.spelling"
        "   ORDER BY timestamp DESC LIMIT 1) d) m",
        [[s.symbol_id for s in symbols], list(interval.spellings)],
    ).fetchone()
    return row[0].astimezone(UTC) if row and row[0] else None


def read_publications(
    connection: Connection, interval: Interval, source: Interval, days: Sequence[date]
) -> dict[date, tuple[int, datetime, datetime]]:
    """Per session day, how many tickers were seen published to the end, when first and when last (UTC)."""
    rows = connection.execute(
        "SELECT session_day, count(*), min(published_at), max(published_at) FROM backfill.session_evidence"
        " WHERE interval_type = %s AND source_interval = %s AND is_published AND session_day = ANY (%s)"
        " GROUP BY session_day ORDER BY session_day",
        [interval.name, source.name, list(days)],
    )
    return {day: (seen, first.astimezone(UTC), last.astimezone(UTC)) for day, seen, first, last in rows}


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a session's bars come from and when the newest was fetched; None where somebody else wrote them."""

    source: str | None
    source_interval: str | None
    fetched_at: datetime | None


def read_provenance(
    connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid
) -> dict[tuple[int, int], Provenance]:
    """By symbol_id and session of ``grid``; those without bars are left out."""
    rows = connection.execute(
        "SELECT d.symbol_id, s.ordinal::int - 1, max(d.source), max(d.source_interval), max(d.fetched_at)"
        " FROM unnest(%s::timestamptz[], %s::timestamptz[]) WITH ORDINALITY AS s (opens, closes, ordinal)"
        " JOIN market_data d ON d.symbol_id = ANY (%s) AND d.interval_type = ANY (%s)"
        " AND d.timestamp >= s.opens AND d.timestamp < s.closes GROUP BY 1, 2",
        [
            [s.open for s in grid.sessions],
            [s.close for s in grid.sessions],
            [s.symbol_id for s in symbols],
            list(grid.interval.spellings),
        ],
    )
    return {(key, session): Provenance(*rest) for key, session, *rest in rows}
