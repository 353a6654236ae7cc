"""Compares stored bars in doubt with an answer of the vendor: whether they are the answer's, and their hash.

A bar that the writer protected, or that the answer does not hold, is another than the answer's.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from backfill_assets.market.bars.source_rows import PRICES
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.columns import Columns
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.store.bars.bar_staging import mark_unknown_volumes
from backfill_assets.store.bars.column_precision import round_to_columns
from backfill_assets.store.bars.stored_values import compare_bars
from backfill_assets.store.evidence.doubts import HASH_OF_BARS
from backfill_assets.store.postgres.connection import Connection

# Prices are equal as in ``store.bars.bar_writer``.
_COMPARE = f"""
WITH answer AS MATERIALIZED (
    SELECT id, to_timestamp(at) AS stamp, o, h, l, c, volume
    FROM unnest(%(ids)s::int[], %(stamps)s::bigint[], %(open)s::float8[], %(high)s::float8[], %(low)s::float8[],
                %(close)s::float8[], %(volume)s::bigint[]) AS t (id, at, o, h, l, c, volume)
)
SELECT ({HASH_OF_BARS.format(symbol_id="r.symbol_id", first_slot="r.first_slot", last_slot="r.last_slot")}),
       coalesce((
           SELECT bool_and(a.id IS NOT NULL AND m.source_interval = %(source)s
                           AND {compare_bars("m", "a", ("o", "h", "l", "c"))})
           FROM market_data m LEFT JOIN answer a ON a.id = m.symbol_id AND a.stamp = m.timestamp
           WHERE m.symbol_id = r.symbol_id AND m.interval_type = ANY (%(spellings)s) AND m.source IS NOT NULL
             AND m.timestamp BETWEEN r.first_slot AND r.last_slot
       ), false)
FROM unnest(%(symbol_id)s::int[], %(first_slot)s::timestamptz[], %(last_slot)s::timestamptz[])
     WITH ORDINALITY AS r (symbol_id, first_slot, last_slot, position)
ORDER BY position
"""  # noqa: S608 - only constants are inserted
_PRESENT_HASH = HASH_OF_BARS.format(symbol_id="b.symbol_id", first_slot="b.first_slot", last_slot="b.last_slot")
_SELECT_CHANGED = f"""
SELECT doubt_id FROM backfill.doubts b WHERE doubt_id = ANY (%(ids)s) AND values_hash <> ({_PRESENT_HASH})
"""  # noqa: S608 - only constants are inserted
_END_ORPHANED = """
UPDATE backfill.doubts d SET ended_at = %(now)s, outcome = 'mended', outcome_reason = %(reason)s, marks_bar = false
WHERE d.marks_bar AND NOT d.from_audit AND d.interval_type = %(interval)s AND d.symbol_id = ANY (%(ids)s::int[])
  AND d.session_day BETWEEN %(first_day)s AND %(last_day)s AND NOT EXISTS (
    SELECT FROM market_data m
    WHERE m.symbol_id = d.symbol_id AND m.interval_type = ANY (%(spellings)s) AND m.source IS NOT NULL
      AND m.timestamp BETWEEN d.first_slot AND d.last_slot)
"""
# As mended: the rule may open it again, with the same values.
_END_OF_RULES = """
UPDATE backfill.doubts SET ended_at = coalesce(ended_at, %(now)s), outcome = 'mended', outcome_reason = %(reason)s,
       marks_bar = false
WHERE marks_bar AND NOT from_audit AND NOT from_rows AND outcome IS DISTINCT FROM 'decided'
  AND symbol_id = ANY (%(ids)s::int[]) AND rule = ANY (%(rules)s)
"""
CONTRADICTED = "the exchange's bars contradict its daily data, which judge nothing"
ORPHANED = "the bars are another program's now, or gone"
_COUNT_REPEATS = "UPDATE backfill.doubts SET repeats = repeats + 1 WHERE doubt_id = ANY (%(ids)s) AND marks_bar"


@dataclass(frozen=True, slots=True)
class BarsInDoubt:
    """Stored bars of a stretch.

    Attributes:
        values_hash: of their values (see ``backfill.doubts``).
        is_of_answer: whether all bars of this program in the stretch, at least one, are those of the answer.
    """

    values_hash: str
    is_of_answer: bool


def compare_with_answer(
    connection: Connection,
    stretches: Sequence[tuple[int, datetime, datetime]],
    bars: Columns,
    *,
    interval: Interval,
    source: Interval,
) -> list[BarsInDoubt]:
    """Compare stored bars with those that were built from an answer and written before.

    Args:
        connection: with a transaction open.
        stretches: symbol_id, and the starts of the first and last slot (UTC).
        bars: those of the answer, as ``store.bars.bar_writer.write_bars`` takes them.
        interval: of the bars.
        source: interval of the rows that they were built from.
    """
    if not stretches:
        return []
    ids, first_slots, last_slots = zip(*stretches, strict=True)
    concerned = bars.take(np.isin(bars["symbol_id"], ids))
    rounded, _ = round_to_columns(connection, concerned)
    names = {"ids": "symbol_id", "stamps": "timestamp"} | {name: name for name in (*PRICES, "volume")}
    staged = mark_unknown_volumes(rounded)
    values = {name: staged[column].tolist() for name, column in names.items()}
    values |= {"symbol_id": list(ids), "first_slot": list(first_slots), "last_slot": list(last_slots)}
    options = {"spellings": list(interval.spellings), "source": source.name}
    return [BarsInDoubt(*row) for row in connection.execute(_COMPARE, {**values, **options})]


def find_changed(connection: Connection, doubt_ids: Collection[int], interval: Interval) -> set[int]:
    """The doubts whose bars have other values than those in doubt; ``interval`` with the table's spellings."""
    if not doubt_ids:
        return set()
    values = {"ids": sorted(doubt_ids), "spellings": list(interval.spellings)}
    return {key for (key,) in connection.execute(_SELECT_CHANGED.encode(), values)}


def end_orphaned_doubts(connection: Connection, symbol_ids: Collection[int], grid: SlotGrid, now: datetime) -> int:
    """End the doubts about bars of a grid that this program no longer has; returns how many. Those of audits stay."""
    values = {
        "ids": sorted(symbol_ids),
        "interval": grid.interval.name,
        "spellings": list(grid.interval.spellings),
        "first_day": grid.sessions[0].day,
        "last_day": grid.sessions[-1].day,
        "now": now,
        "reason": ORPHANED,
    }
    return connection.execute(_END_ORPHANED, values).rowcount


def end_doubts_of_rules(
    connection: Connection, symbol_ids: Collection[int], rules: Collection[Rule], now: datetime
) -> None:
    """End the doubts of rules that rest on daily data which may not judge any more. Decisions and audits stay."""
    if rules:
        values = {"ids": sorted(symbol_ids), "rules": sorted(rules), "now": now, "reason": CONTRADICTED}
        connection.execute(_END_OF_RULES, values)


def count_repeats(connection: Connection, doubt_ids: Collection[int]) -> None:
    """Count that the vendor gave the values in doubt once more."""
    if doubt_ids:
        connection.execute(_COUNT_REPEATS, {"ids": sorted(doubt_ids)})
