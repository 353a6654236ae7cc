"""Bars that are taken whole from the vendor's other feed: written, remembered, counted.

They replace exactly the slots that are named, and own bars only; the old values go to ``backfill.revisions``. A later
answer of the first feed leaves them alone (``bar_writer``), unless a person forces it. What is taken, and why, is
decided in ``backfill.cross_feed``.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.columns import Columns
from backfill_assets.market.plausibility.other_feed import FeedBar
from backfill_assets.store.bars.bar_writer import WrittenBars, write_bars
from backfill_assets.store.bars.stored_values import select_volume
from backfill_assets.store.postgres.connection import Connection

ABSENT = "absent"  # why a bar was taken: the first feed had none; else the rule of the doubt
_RECORD_TAKEN = """
INSERT INTO backfill.other_feed_bars AS o (symbol_id, interval_type, timestamp, source_interval, volume_ratio, taken_at,
                                           why)
SELECT t.symbol_id, %(interval)s, m.timestamp, m.source_interval, t.volume_ratio, %(now)s, t.why
FROM unnest(%(ids)s::int[], %(stamps)s::bigint[], %(ratios)s::float8[], %(whys)s::text[])
  AS t (symbol_id, epoch, volume_ratio, why)
JOIN market_data m ON m.symbol_id = t.symbol_id AND m.interval_type = ANY (%(spellings)s)
     AND m.timestamp = to_timestamp(t.epoch) AND m.source = %(source)s AND m.source_interval = %(source_interval)s
ORDER BY 1, 3
ON CONFLICT (symbol_id, interval_type, timestamp) DO UPDATE SET
    source_interval = EXCLUDED.source_interval, volume_ratio = EXCLUDED.volume_ratio, taken_at = EXCLUDED.taken_at,
    why = EXCLUDED.why
RETURNING symbol_id, extract(epoch FROM timestamp)::bigint
"""
_SELECT_FEED_BARS = f"""
SELECT extract(epoch FROM timestamp)::bigint, open_price::float8, high_price::float8, low_price::float8,
       close_price::float8, coalesce(({select_volume("market_data")})::float8, 'NaN')
FROM market_data
WHERE symbol_id = %(symbol_id)s AND interval_type = ANY (%(spellings)s) AND source = %(source)s
  AND source_interval = %(source_interval)s AND is_final AND timestamp >= %(first)s AND timestamp < %(end)s
"""  # noqa: S608 - only constants are inserted
_FORGET = """
DELETE FROM backfill.other_feed_bars o
USING unnest(%(ids)s::int[], %(stamps)s::bigint[]) AS t (symbol_id, epoch)
WHERE o.symbol_id = t.symbol_id AND o.interval_type = %(interval)s AND o.timestamp = to_timestamp(t.epoch)
  AND NOT EXISTS (SELECT FROM market_data m WHERE m.symbol_id = o.symbol_id AND m.interval_type = ANY (%(spellings)s)
                     AND m.timestamp = o.timestamp AND m.source_interval = o.source_interval)
"""
_COUNT = """
SELECT o.symbol_id, count(*) FROM backfill.other_feed_bars o
JOIN market_data m ON m.symbol_id = o.symbol_id AND m.interval_type = ANY (%(spellings)s)
     AND m.timestamp = o.timestamp AND m.source_interval = o.source_interval
WHERE o.interval_type = %(interval)s AND o.symbol_id = ANY (%(ids)s) AND o.timestamp BETWEEN %(first)s AND %(last)s
GROUP BY 1
"""


def take_bars(
    connection: Connection,
    bars: Columns,
    *,
    interval: Interval,
    spelling: str,
    source: str,
    other: Interval,
    requested_at: datetime,
    now: datetime,
) -> tuple[WrittenBars, set[tuple[int, int]]]:
    """Write final bars of the other feed in the place of the first feed's, or where it has none.

    Args:
        connection: with a transaction open.
        bars: as for ``bar_writer.write_bars``, with ``why`` (``ABSENT``, or a rule) and ``volume_ratio`` (NaN where it
            is not known).
        interval: of the bars.
        spelling: the ``interval_type`` of new rows.
        source: the vendor's host.
        other: interval of the rows that the bars were built from.
        requested_at: the server's clock before the request.
        now: the moment, UTC.

    Returns:
        What was written, and the slots whose stored bar is the other feed's now: symbol_id, and start in epoch seconds.
    """
    written = write_bars(
        connection,
        bars.assign(may_insert=np.ones(len(bars), bool)),
        interval=interval,
        spelling=spelling,
        source=source,
        source_interval=other.name,
        requested_at=requested_at,
        replace_other_feed=True,
    )
    values: dict[str, Any] = {
        "ids": bars["symbol_id"].tolist(),
        "stamps": bars["timestamp"].tolist(),
        "ratios": [None if ratio != ratio else ratio for ratio in bars["volume_ratio"].tolist()],
        "whys": bars["why"].tolist(),
        "interval": interval.name,
        "spellings": list(interval.spellings),
        "source": source,
        "source_interval": other.name,
        "now": now,
    }
    return written, {(symbol_id, epoch) for symbol_id, epoch in connection.execute(_RECORD_TAKEN, values)}


def read_feed_bars(
    connection: Connection, symbol_id: int, interval: Interval, source: str, feed: Interval, sessions: Sequence[Session]
) -> dict[int, FeedBar]:
    """This program's final bars of one feed from the first to the last of ``sessions``, by start in epoch seconds.

    ``source`` is the vendor's host, ``feed`` the interval of the rows that the bars were built from.
    """
    values = {
        "symbol_id": symbol_id,
        "spellings": list(interval.spellings),
        "source": source,
        "source_interval": feed.name,
        "first": sessions[0].rows_from,
        "end": sessions[-1].close,
    }
    return {epoch: FeedBar(*numbers) for epoch, *numbers in connection.execute(_SELECT_FEED_BARS, values)}


def forget_replaced(connection: Connection, bars: Columns, interval: Interval) -> None:
    """Forget that slots were taken from the other feed, where a person has forced the bars of one feed since.

    ``bars`` are all of the answer: those of earlier sessions, and those that the table refused, replaced nothing.
    """
    values: dict[str, Any] = {"ids": bars["symbol_id"].tolist(), "stamps": bars["timestamp"].tolist()}
    values |= {"interval": interval.name, "spellings": list(interval.spellings)}
    connection.execute(_FORGET, values)


def count_other_feed_bars(connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid) -> dict[int, int]:
    """By symbol_id, how many bars of the window were taken from the other feed; symbols without any are left out."""
    if not grid.size:
        return {}
    values = {
        "ids": [symbol.symbol_id for symbol in symbols],
        "interval": grid.interval.name,
        "spellings": list(grid.interval.spellings),
        "first": grid.first_start,
        "last": grid.last_start,
    }
    return dict(connection.execute(_COUNT, values).fetchall())
