"""When each symbol's recent sessions were last reviewed, that is, read again for corrections."""

from collections.abc import Sequence
from datetime import UTC, datetime

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.postgres.connection import Connection

_SELECT_REVIEWS = """
SELECT symbol_id, reviewed_at FROM backfill.reviews
WHERE symbol_id = ANY (%(ids)s) AND interval_type = %(interval)s AND source_interval = %(source)s
"""
_UPSERT_REVIEWS = """
INSERT INTO backfill.reviews (symbol_id, interval_type, source_interval, reviewed_at)
SELECT id, %(interval)s, %(source)s, %(now)s FROM unnest(%(ids)s::int[]) AS t (id) ORDER BY id
ON CONFLICT (symbol_id, interval_type, source_interval) DO UPDATE SET reviewed_at = EXCLUDED.reviewed_at
"""


def read_last_reviews(
    connection: Connection, symbol_ids: Sequence[int], interval: Interval, source: Interval
) -> dict[int, datetime]:
    """When each symbol was last reviewed, UTC; symbols without a review are left out."""
    values = {"ids": list(symbol_ids), "interval": interval.name, "source": source.name}
    return {symbol_id: at.astimezone(UTC) for symbol_id, at in connection.execute(_SELECT_REVIEWS, values)}


def record_reviews(
    connection: Connection, symbol_ids: Sequence[int], interval: Interval, source: Interval, now: datetime
) -> None:
    """Record that symbols were reviewed at ``now``."""
    ids = sorted(symbol_ids)
    values = {"ids": ids, "interval": interval.name, "source": source.name, "now": now.astimezone(UTC)}
    connection.execute(_UPSERT_REVIEWS, values)
