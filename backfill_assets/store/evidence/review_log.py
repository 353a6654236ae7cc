"""The ledger of reviews: when each ticker's recent sessions were last read again."""

from collections.abc import Sequence
from datetime import UTC, datetime

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.postgres.connection import Connection


def read_last_reviews(
    connection: Connection, symbol_ids: Sequence[int], interval: Interval, source: Interval
) -> dict[int, datetime]:
    """When each ticker was last reviewed, UTC; one that never was is not among them."""
    rows = connection.execute(
        "SELECT symbol_id, reviewed_at FROM backfill.reviews"
        " WHERE symbol_id = ANY (%s) AND interval_type = %s AND source_interval = %s",
        [list(symbol_ids), interval.name, source.name],
    )
    return {symbol_id: at.astimezone(UTC) for symbol_id, at in rows}


def record_reviews(
    connection: Connection, symbol_ids: Sequence[int], interval: Interval, source: Interval, now: datetime
) -> None:
    """Remember that tickers were reviewed at ``now``."""
    connection.execute(
        "INSERT INTO backfill.reviews (symbol_id, interval_type, source_interval, reviewed_at)"
        " SELECT id, %s, %s, %s FROM unnest(%s::int[]) AS t (id) ORDER BY id"
        " ON CONFLICT (symbol_id, interval_type, source_interval) DO UPDATE SET reviewed_at = EXCLUDED.reviewed_at",
        [interval.name, source.name, now.astimezone(UTC), sorted(symbol_ids)],
    )
