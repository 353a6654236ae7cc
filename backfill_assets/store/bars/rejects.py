"""Source rows that broke a rule: written with the answer that held them, superseded by one that does not.

A reject is *current* for a bar interval if no usable row stands for it and the newest answer about its stamp, of those
that bars of the interval were built from, still held it. The bar around a current reject is suspect: ``gap_queries``
finds those bars. ``revisions`` counts rejects for reports.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.columns import Columns
from backfill_assets.market.equal_runs import sort_distinct
from backfill_assets.market.exchanges.profile import MarketProfile, NullVolume
from backfill_assets.store.postgres.connection import Connection

# A duplicate stands beside the row that counts, and a row without volume is a quote and no trade (docs/vendor.md
# §2.12), unless the profile says that it is one: neither takes anything from the bar. The partial index rejects_current
# has the conditions of the second text, but for the last.
# Rows of version 0.3.0 have the reason volume_cumulative; today's running totals have a volume anyway.
_IS_CURRENT = """
superseded_at IS NULL AND reason <> 'duplicate_stamp' AND (volume IS NOT NULL OR reason = 'volume_cumulative')
AND %(interval)s <> ALL (superseded_intervals)
"""
_IS_CURRENT_TRADE = """
superseded_at IS NULL AND reason <> 'duplicate_stamp' AND %(interval)s <> ALL (superseded_intervals)
"""
_SELECT_SYMBOLS_WITH_REJECTS = """
SELECT DISTINCT symbol_id FROM backfill.rejects
WHERE symbol_id = ANY (%(ids)s::int[]) AND source_interval = %(source)s AND superseded_at IS NULL
"""
# Bars of another interval were built from answers of their own: their next answer decides about them.
_SUPERSEDE_REJECTS = """
UPDATE backfill.rejects r SET
    superseded_intervals = r.superseded_intervals || %(interval)s::text,
    superseded_at = CASE WHEN NOT EXISTS (
        SELECT FROM backfill.session_evidence e
        WHERE e.symbol_id = r.symbol_id AND e.source_interval = r.source_interval AND e.session_day = s.day
          AND e.interval_type <> ALL (r.superseded_intervals || %(interval)s::text)
    ) THEN clock_timestamp() END
FROM unnest(%(ids)s::int[], %(days)s::date[], %(opens)s::bigint[], %(data_until)s::bigint[])
  AS s (symbol_id, day, open, data_until)
WHERE r.symbol_id = s.symbol_id AND r.source_interval = %(source)s AND r.superseded_at IS NULL
  AND %(interval)s <> ALL (r.superseded_intervals)
  AND r.timestamp >= to_timestamp(s.open) AND r.timestamp < to_timestamp(s.data_until)
"""
_UPSERT_REJECTS = """
INSERT INTO backfill.rejects AS r (symbol_id, source_interval, timestamp, reason,
                              open_price, high_price, low_price, close_price, volume, superseded_at)
SELECT DISTINCT ON (id, stamp, reason, o, h, l, c, v) id, %(source)s, to_timestamp(stamp), reason, o, h, l, c, v,
       CASE WHEN is_replaced THEN clock_timestamp() END
FROM unnest(%(ids)s::int[], %(stamps)s::bigint[], %(reasons)s::text[], %(is_replaced)s::boolean[], %(open)s::float8[],
            %(high)s::float8[], %(low)s::float8[], %(close)s::float8[], %(volume)s::float8[])
  AS t (id, stamp, reason, is_replaced, o, h, l, c, v)
ON CONFLICT (symbol_id, source_interval, timestamp, reason, open_price, high_price, low_price, close_price, volume)
DO UPDATE SET
    last_seen = EXCLUDED.last_seen,
    superseded_at = CASE WHEN r.superseded_intervals = '{}' THEN EXCLUDED.superseded_at
                         WHEN EXCLUDED.superseded_at IS NOT NULL THEN r.superseded_at END,
    superseded_intervals = CASE WHEN EXCLUDED.superseded_at IS NULL THEN '{}' ELSE r.superseded_intervals END
RETURNING xmax = 0
"""
_SELECT_CURRENT_REJECTS = """
SELECT timestamp, reason FROM backfill.rejects
WHERE symbol_id = %(symbol_id)s AND source_interval = %(source)s AND timestamp >= %(first)s AND timestamp < %(end)s
  AND {is_current}
ORDER BY timestamp
"""


@dataclass(frozen=True, slots=True)
class Reject:
    """A rejected row: the stamp of the row, UTC, and the rule that it broke."""

    timestamp: datetime
    reason: str


def select_current(market: MarketProfile) -> str:
    """SQL: whether a reject of this exchange may take something from its bar; needs the parameter ``interval``."""
    return _IS_CURRENT_TRADE if market.null_volume is NullVolume.TRADE else _IS_CURRENT


def supersede_rejects(connection: Connection, sessions: Columns, *, interval: Interval, source: Interval) -> None:
    """Supersede the rejects of the sessions of an answer, as far as its rows reach, for bars of one interval.

    What the answer still holds is made current again by ``record_rejects``, in the same transaction.

    Args:
        connection: with a transaction open, in which the evidence of the answer is stored already.
        sessions: one row per symbol and session with rows: ``symbol_id``, ``day`` (date), ``open`` and ``data_until``
            (epoch seconds).
        interval: of the bars that were built from the answer.
        source: the vendor's interval of the rows.
    """
    symbol_ids = sort_distinct(sessions["symbol_id"]).tolist()
    found = connection.execute(_SELECT_SYMBOLS_WITH_REJECTS, {"ids": symbol_ids, "source": source.name}).fetchall()
    if not found:
        return
    concerned = sessions.take(np.isin(sessions["symbol_id"], [symbol_id for (symbol_id,) in found]))
    names = {"ids": "symbol_id", "opens": "open", "data_until": "data_until"}
    values: dict[str, Any] = {name: concerned[column].astype(np.int64).tolist() for name, column in names.items()}
    values |= {"days": concerned["day"].tolist(), "interval": interval.name, "source": source.name}
    connection.execute(_SUPERSEDE_REJECTS, values)


def record_rejects(connection: Connection, rejects: Columns, *, source: Interval) -> int:
    """Store source rows that broke a rule; returns how many are new.

    ``rejects`` are those of ``market.bars.bar_builder.BuiltBars``.
    """
    if not len(rejects):
        return 0
    values: dict[str, Any] = {
        name: [None if number != number else number for number in rejects[name].tolist()]
        for name in ("open", "high", "low", "close", "volume")
    }
    names = {"ids": "symbol_id", "stamps": "timestamp", "reasons": "reason", "is_replaced": "is_replaced"}
    values |= {name: rejects[column].tolist() for name, column in names.items()}
    rows = connection.execute(_UPSERT_REJECTS, {**values, "source": source.name})
    return sum(new for (new,) in rows)


def read_current_rejects(
    connection: Connection,
    symbol_id: int,
    market: MarketProfile,
    interval: Interval,
    source: Interval,
    first: datetime,
    end: datetime,
) -> Sequence[Reject]:
    """A symbol's rejects from ``first`` to before ``end`` that are current for bars of ``interval``, oldest first."""
    values = {
        "symbol_id": symbol_id,
        "interval": interval.name,
        "source": source.name,
        "first": first,
        "end": end,
    }
    query = _SELECT_CURRENT_REJECTS.format(is_current=select_current(market)).encode()
    return [Reject(at.astimezone(UTC), reason) for at, reason in connection.execute(query, values)]
