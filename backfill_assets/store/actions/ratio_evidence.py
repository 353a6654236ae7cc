"""What the stored daily rows say of a split: by how much prices fell, and by how much the vendor adjusted them."""

from datetime import date, timedelta

from backfill_assets.store.postgres.connection import Connection

MAX_PAUSE = timedelta(days=7)  # to the last row before; a longer halt may have other reasons for a step
_SELECT_EVIDENCE = """
SELECT CASE WHEN a.read_at = b.read_at THEN (b.adjusted_close / b.close_price) / (a.adjusted_close / a.close_price) END,
       a.close_price / b.open_price
FROM backfill.daily_prices b
JOIN LATERAL (SELECT * FROM backfill.daily_prices p
              WHERE p.symbol_id = b.symbol_id AND p.day < b.day AND p.day >= b.day - %(pause)s AND p.read_at IS NOT NULL
              ORDER BY p.day DESC LIMIT 1) a ON true
WHERE b.symbol_id = %(id)s AND b.day = %(ex_date)s AND b.read_at IS NOT NULL
"""


def read_split_evidence(connection: Connection, symbol_id: int, ex_date: date) -> tuple[float | None, float | None]:
    """New shares for an old one by the daily data: by the adjusted closes, and by the step of the prices.

    The adjusted closes say it only if both days were read at once: a later action changes them all. None if unknown.
    """
    values = {"id": symbol_id, "ex_date": ex_date, "pause": MAX_PAUSE.days}
    row = connection.execute(_SELECT_EVIDENCE, values).fetchone()
    return (row[0], row[1]) if row else (None, None)
