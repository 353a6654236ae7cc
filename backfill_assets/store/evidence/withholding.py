"""Takes volumes out of stored bars that the day proves to be running totals, and puts back what it no longer does.

The bar keeps its prices and its marks, and its old values are kept as a revision with the doubt's number. What is
proven is decided in ``market.plausibility``; the next answer builds the same bar from its rows. What a person puts back
is in ``store.bars.withheld_volumes``.
"""

import json

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.plausibility.doubted_rows import DAY_VOLUME
from backfill_assets.store.evidence.doubts import HASH_OF_BARS
from backfill_assets.store.postgres.connection import Connection

_HASH = HASH_OF_BARS.format(symbol_id="b.symbol_id", first_slot="b.first_slot", last_slot="b.last_slot")
# Doubts and decisions about the bar are about its values as they will be: they must not seem to be about others.
_SELECT_CURRENT = f"""
SELECT b.doubt_id FROM backfill.doubts d
JOIN backfill.doubts b ON b.symbol_id = d.symbol_id AND b.interval_type = d.interval_type
     AND d.first_slot BETWEEN b.first_slot AND b.last_slot
WHERE d.doubt_id = %(id)s AND b.values_hash = ({_HASH})
"""  # noqa: S608 - only constants are inserted
_WITHHOLD = """
WITH doubt AS (
    SELECT * FROM backfill.doubts WHERE doubt_id = %(id)s AND marks_bar AND withheld_volume = %(withheld)s
), bar AS (
    SELECT m.* FROM market_data m JOIN doubt d ON m.symbol_id = d.symbol_id AND m.timestamp = d.first_slot
    WHERE m.interval_type = ANY (%(spellings)s) AND m.source_interval = d.source_interval AND m.is_final
      AND m.volume >= %(volume)s AND m.volume_known IS NOT FALSE
    FOR UPDATE OF m SKIP LOCKED
), kept AS (
    INSERT INTO backfill.revisions (symbol_id, interval_type, timestamp, open_price, high_price, low_price,
                                    close_price, volume, source_interval, source_rows, fetched_at, doubt_id)
    SELECT symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume,
           source_interval, source_rows, fetched_at, %(id)s FROM bar
)
UPDATE market_data m SET volume = b.volume - %(volume)s, source_rows = b.source_rows - %(rows)s,
       fetched_at = clock_timestamp()
FROM bar b WHERE (m.symbol_id, m.interval_type, m.timestamp) = (b.symbol_id, b.interval_type, b.timestamp)
"""
_RECORD = f"""
UPDATE backfill.doubts b SET values_hash = ({_HASH}),
       withheld_volume = withheld_volume + CASE WHEN doubt_id = %(id)s THEN %(volume)s ELSE 0 END,
       figures = CASE WHEN doubt_id = %(id)s THEN (figures - '{DAY_VOLUME}') || %(figures)s::jsonb ELSE figures END
WHERE doubt_id = ANY (%(current)s)
"""  # noqa: S608 - only constants are inserted
# Rows whose volume is in the bar again; what the rows themselves prove is in no doubt with a figure of the day. A slot
# may be short: a row after it is in the next bar, which has its prices.
_SUPERSEDE_REJECTS = """
UPDATE backfill.rejects r SET superseded_intervals = r.superseded_intervals || %(interval)s::text
FROM backfill.doubts d
WHERE d.doubt_id = %(id)s AND r.symbol_id = d.symbol_id AND r.source_interval = d.source_interval
  AND r.reason = 'volume_running_total' AND r.timestamp >= d.first_slot
  AND r.timestamp < d.first_slot + make_interval(secs => %(seconds)s)
  AND r.superseded_at IS NULL AND %(interval)s <> ALL (r.superseded_intervals)
  AND NOT EXISTS (SELECT FROM market_data m
                  WHERE m.symbol_id = r.symbol_id AND m.interval_type = ANY (%(spellings)s)
                    AND m.timestamp > d.first_slot AND m.timestamp <= r.timestamp)
"""


def withhold_volume(
    connection: Connection,
    doubt_id: int,
    volume: int,
    rows: int,
    interval: Interval,
    *,
    withheld: int,
    day_figure: float | str | None,
) -> bool:
    """Take a volume out of the bar of a doubt that marks it, or put back one that was taken out.

    Args:
        connection: with a transaction open.
        doubt_id: the doubt.
        volume: shares; negative: they are put back.
        rows: how many rows have that volume; negative, too.
        interval: of the bar, with the table's spellings.
        withheld: shares that the bar lacks so far.
        day_figure: what the doubt's figures say of the day from now on; None: nothing.

    Returns:
        Whether the bar was changed; not if it has other values than those in doubt, or another process is writing it.
    """
    figures = {} if day_figure is None else {DAY_VOLUME: day_figure}
    values = {
        "id": doubt_id,
        "volume": volume,
        "rows": rows,
        "withheld": withheld,
        "figures": json.dumps(figures),
        "spellings": list(interval.spellings),
    }
    current = [key for (key,) in connection.execute(_SELECT_CURRENT.encode(), values)]
    if doubt_id not in current or not connection.execute(_WITHHOLD, values).rowcount:
        return False
    if volume < 0:
        connection.execute(_SUPERSEDE_REJECTS, {**values, "interval": interval.name, "seconds": interval.seconds})
    connection.execute(_RECORD.encode(), {**values, "current": current})
    return True
