"""Reads what tells a halt from a gap: how many others lack the slot, what the day traded, what one answer enclosed.

The rule is in ``market.gaps.halts``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from backfill_assets.market.actions.splits import undo_splits
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.store.actions.splits import read_splits
from backfill_assets.store.evidence.slot_baseline import BASELINE_SESSIONS
from backfill_assets.store.postgres.connection import Connection

# Thin tickers lack slots of their own accord, and those that the vendor does not serve lack all. A slot that was taken
# from the other feed was lost by one feed, and is not lacking.
_COUNT_LACKING = """
WITH seen AS MATERIALIZED (
    SELECT e.symbol_id, e.session_day, e.is_published, e.not_returned FROM backfill.session_evidence e
    WHERE e.interval_type = %(interval)s AND e.source_interval = %(source)s AND e.session_day = ANY (%(days)s::date[])
      AND e.symbol_id = ANY (%(others)s)
      AND NOT EXISTS (SELECT FROM backfill.unserved_symbols u WHERE u.symbol_id = e.symbol_id AND u.ended_at IS NULL)
), thin AS MATERIALIZED (
    SELECT s.symbol_id FROM (SELECT DISTINCT symbol_id FROM seen) s CROSS JOIN LATERAL (
        SELECT not_returned FROM backfill.session_evidence
        WHERE symbol_id = s.symbol_id AND interval_type = %(interval)s AND source_interval = %(source)s
          AND is_published AND session_day <> ALL (%(days)s::date[])
        ORDER BY session_day DESC LIMIT %(sessions)s
    ) e GROUP BY 1
    HAVING count(*) >= %(thin_min_sessions)s
       AND count(*) FILTER (WHERE NOT isempty(e.not_returned)) >= %(thin_min_share)s * count(*)
)
SELECT count(s.symbol_id), count(s.symbol_id) FILTER (WHERE s.not_returned @> q.slot AND NOT EXISTS (
           SELECT FROM backfill.other_feed_bars o
           WHERE o.symbol_id = s.symbol_id AND o.interval_type = %(interval)s AND o.timestamp = q.start))
FROM unnest(%(days)s::date[], %(slots)s::int[], %(starts)s::timestamptz[], %(overdue)s::boolean[])
     WITH ORDINALITY AS q (day, slot, start, is_overdue, position)
LEFT JOIN seen s ON s.session_day = q.day AND (s.is_published OR q.is_overdue)
     AND s.symbol_id NOT IN (SELECT symbol_id FROM thin)
GROUP BY q.position ORDER BY q.position
"""
_SELECT_DAILY_VOLUMES = """
SELECT day, coalesce(fractional_volume, reported_volume),
       coalesce(adjusted_close / nullif(close_price, 0), 'NaN')::float8,
       coalesce(extract(epoch FROM read_at), 0)::bigint
FROM backfill.daily_prices
WHERE symbol_id = %(symbol_id)s AND day = ANY (%(days)s) AND no_row_reason IS NULL AND reported_volume IS NOT NULL
"""
# Sessions with rows that were requested at the same moment are of one answer.
_SELECT_ENCLOSING = """
SELECT q.day, bool_or(o.session_day < e.session_day), bool_or(o.session_day > e.session_day)
FROM unnest(%(days)s::date[]) WITH ORDINALITY AS q (day, position)
JOIN backfill.session_evidence e ON e.symbol_id = %(symbol_id)s AND e.interval_type = %(interval)s
     AND e.source_interval = %(source)s AND e.session_day = q.day
JOIN backfill.session_evidence o ON o.symbol_id = e.symbol_id AND o.interval_type = e.interval_type
     AND o.source_interval = e.source_interval AND o.requested_at = e.requested_at AND o.source_rows > 0
GROUP BY q.position, q.day
"""


@dataclass(frozen=True, slots=True)
class AskedSession:
    """A slot of a session: its day, its position in the session, its start (UTC), whether absence counts for all."""

    day: date
    slot: int
    start: datetime
    is_overdue: bool


def count_lacking(
    connection: Connection,
    slots: Sequence[AskedSession],
    others: Sequence[int],
    interval: Interval,
    source: Interval,
    rules: GapRules,
) -> list[tuple[int, int]]:
    """For each slot, how many liquid tickers among ``others`` (symbol_ids) were seen, and how many of them lack it."""
    values: dict[str, Any] = {
        "others": list(others),
        "interval": interval.name,
        "source": source.name,
        "days": [slot.day for slot in slots],
        "slots": [slot.slot for slot in slots],
        "starts": [slot.start for slot in slots],
        "overdue": [slot.is_overdue for slot in slots],
        "sessions": BASELINE_SESSIONS,
        "thin_min_sessions": rules.thin_min_sessions,
        "thin_min_share": rules.thin_min_share,
    }
    return [(seen, lacking) for seen, lacking in connection.execute(_COUNT_LACKING, values)]


def read_daily_volumes(
    connection: Connection, symbol_id: int, days: Sequence[date], zone: ZoneInfo
) -> dict[date, float]:
    """The volumes of a symbol's daily rows in shares of their own day, by day; only known ones, settled or not."""
    values = {"symbol_id": symbol_id, "days": list(days)}
    found = connection.execute(_SELECT_DAILY_VOLUMES, values).fetchall()
    volume, adjustment = (np.array([row[at] for row in found], np.float64) for at in (1, 2))
    ids, read_at = np.full(len(found), symbol_id, np.int64), np.array([row[3] for row in found], np.int64)
    found_days = np.array([row[0] for row in found], "datetime64[D]")
    splits = read_splits(connection, [symbol_id])
    own_volume = undo_splits(volume, splits, ids, found_days, read_at, adjustment, zone)
    own_volume[volume == 0] = 0.0  # whatever the splits
    return {row[0]: known for row, known in zip(found, own_volume.tolist(), strict=True) if not math.isnan(known)}


def find_enclosing_sessions(
    connection: Connection, symbol_id: int, days: Sequence[date], interval: Interval, source: Interval
) -> dict[date, tuple[bool, bool]]:
    """By session day, whether the newest answer that covered it had rows of earlier sessions, and of later ones."""
    values = {"symbol_id": symbol_id, "days": list(days), "interval": interval.name, "source": source.name}
    found = connection.execute(_SELECT_ENCLOSING, values)
    return {day: (bool(has_earlier), bool(has_later)) for day, has_earlier, has_later in found}
