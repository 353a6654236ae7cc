"""Doubts about bars: written when a rule finds a bar improbable, ended when that is settled.

An ended doubt stays in the table. While ``marks_bar`` holds, its bars are suspect: an open doubt marks them, one that
stands does, and one that a person decided against the bar. What the rules are is in ``market.plausibility``.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.store.postgres.connection import Connection


class Outcome(StrEnum):
    """How a doubt ended."""

    MENDED = "mended"  # the values changed, and the rule no longer finds them improbable
    CONFIRMED = "confirmed"  # the day, the vendor's other feed or the market bear the values out
    STANDS = "stands"  # the vendor repeats the values on the whole retry schedule: marked, counted, no alarm
    DECIDED = "decided"  # by a person


class SlotRange(NamedTuple):
    """Slots of a symbol from the first to the last start, both inclusive; epoch seconds (UTC)."""

    symbol_id: int
    first_start: int
    last_start: int


_SELECT_OPEN_SLOTS = """
SELECT symbol_id, extract(epoch FROM first_slot)::bigint, extract(epoch FROM last_slot)::bigint FROM backfill.doubts
WHERE marks_bar AND ended_at IS NULL AND interval_type = %(interval)s
  AND session_day BETWEEN %(first_day)s AND %(last_day)s
"""
BORNE_OUT = "the settled figures of the day, and the sessions before, bear the values out"
# A hash of each bar: so it shows which of the bars have changed (``narrowing``).
HASH_OF_BAR = """
    left(md5(concat_ws(',', extract(epoch FROM d.timestamp)::bigint, d.open_price::float8, d.high_price::float8,
                       d.low_price::float8, d.close_price::float8, d.volume)), 16)
"""
HASH_OF_BARS = f"""
    SELECT coalesce(string_agg({HASH_OF_BAR}, ',' ORDER BY d.timestamp, d.interval_type), '')
    FROM market_data d
    WHERE d.symbol_id = {{symbol_id}} AND d.interval_type = ANY (%(spellings)s)
      AND d.timestamp BETWEEN {{first_slot}} AND {{last_slot}}
"""  # noqa: S608 - only a constant is inserted
# The figure of a doubt that was narrowed: so many bars that were in doubt with those that still are have other values.
CHANGED_BARS = "changed_bars"
# A doubt that a person or other data settled is not opened again while the values are the same, unless a rule of stored
# bars that found nothing any more finds it again: then the day, or a session beside, was revised once more. With other
# values a doubt that ended but marks its bars is open again. What was found in the rows says more than stored bars.
_IS_UNCHANGED = "d.values_hash = EXCLUDED.values_hash"
_INSERT_DOUBTS = f"""
WITH incoming AS (
    SELECT t.*, (SELECT min(d.source_interval) FROM market_data d
                 WHERE d.symbol_id = t.symbol_id AND d.interval_type = ANY (%(spellings)s) AND d.source IS NOT NULL
                   AND d.timestamp BETWEEN t.first_slot AND t.last_slot) AS source_interval,
           ({HASH_OF_BARS.format(symbol_id="t.symbol_id", first_slot="t.first_slot", last_slot="t.last_slot")})
             AS values_hash
    FROM unnest(%(symbol_id)s::int[], %(session_day)s::date[], %(rule)s::text[], %(first_slot)s::timestamptz[],
                %(last_slot)s::timestamptz[], %(first_row)s::timestamptz[], %(figures)s::jsonb[],
                %(withheld_volume)s::bigint[])
      AS t (symbol_id, session_day, rule, first_slot, last_slot, first_row, figures, withheld_volume)
)
INSERT INTO backfill.doubts AS d (symbol_id, interval_type, source_interval, session_day, rule, first_slot, last_slot,
    first_row, figures, values_hash, withheld_volume, from_rows, from_audit, opened_at, seen_at)
SELECT DISTINCT ON (symbol_id, rule, first_slot)
       symbol_id, %(interval)s, source_interval, session_day, rule, first_slot, last_slot, first_row, figures,
       values_hash, withheld_volume, %(from_rows)s, %(from_audit)s, %(now)s, %(now)s
FROM incoming i
WHERE (source_interval IS NOT NULL OR %(from_audit)s) AND NOT EXISTS (
    SELECT FROM backfill.doubts e
    WHERE e.symbol_id = i.symbol_id AND e.interval_type = %(interval)s AND e.rule = i.rule
      AND e.first_slot = i.first_slot AND NOT e.marks_bar AND e.outcome IN ('confirmed', 'decided')
      AND e.values_hash = i.values_hash AND e.outcome_reason IS DISTINCT FROM %(borne_out)s
)
ORDER BY symbol_id, rule, first_slot
ON CONFLICT (symbol_id, interval_type, rule, first_slot) WHERE marks_bar DO UPDATE SET
    seen_at = EXCLUDED.seen_at, figures = EXCLUDED.figures, last_slot = EXCLUDED.last_slot,
    first_row = EXCLUDED.first_row, withheld_volume = EXCLUDED.withheld_volume, from_rows = EXCLUDED.from_rows,
    from_audit = d.from_audit AND EXCLUDED.from_audit, source_interval = EXCLUDED.source_interval,
    values_hash = EXCLUDED.values_hash,
    opened_at = CASE WHEN {_IS_UNCHANGED} OR d.ended_at IS NULL THEN d.opened_at ELSE EXCLUDED.opened_at END,
    ended_at = CASE WHEN {_IS_UNCHANGED} THEN d.ended_at END,
    outcome = CASE WHEN {_IS_UNCHANGED} THEN d.outcome END,
    outcome_reason = CASE WHEN {_IS_UNCHANGED} THEN d.outcome_reason END,
    other_feed = CASE WHEN {_IS_UNCHANGED} THEN d.other_feed END,
    repeats = CASE WHEN {_IS_UNCHANGED} THEN d.repeats ELSE 0 END
WHERE EXCLUDED.from_rows OR NOT d.from_rows
RETURNING xmax = 0
"""  # noqa: S608 - only constants are inserted
_COLUMNS = """
doubt_id, symbol_id, interval_type, source_interval, session_day, rule, first_slot, last_slot, first_row, figures,
values_hash, withheld_volume, from_rows, from_audit, opened_at, seen_at, ended_at, outcome, outcome_reason, marks_bar,
other_feed, repeats
"""
_SELECT_DOUBTS = f"""
SELECT {_COLUMNS} FROM backfill.doubts
WHERE symbol_id = ANY (%(ids)s::int[]) AND interval_type = %(interval)s
  AND session_day BETWEEN %(first_day)s AND %(last_day)s AND (marks_bar OR %(with_ended)s)
ORDER BY session_day, symbol_id, first_slot, rule, doubt_id
"""  # noqa: S608 - only constants are inserted
_SELECT_DECIDED_VOLUMES = f"""
SELECT symbol_id, extract(epoch FROM first_row)::bigint, figures
FROM backfill.doubts
WHERE symbol_id = ANY (%(ids)s::int[]) AND interval_type = %(interval)s
  AND session_day BETWEEN %(first_day)s AND %(last_day)s
  AND rule = '{Rule.VOLUME_RUNNING_TOTAL}' AND from_rows AND outcome = 'decided' AND NOT marks_bar
"""  # noqa: S608 - only a constant is inserted
_END_DOUBTS = """
UPDATE backfill.doubts SET ended_at = %(now)s, outcome = %(outcome)s, outcome_reason = %(reason)s,
       marks_bar = %(marks_bar)s
WHERE doubt_id = ANY (%(ids)s) AND marks_bar
"""


@dataclass(frozen=True, slots=True)
class StoredDoubt:
    """A doubt as it is stored; times are UTC, attributes as the columns of ``backfill.doubts``."""

    doubt_id: int
    symbol_id: int
    interval_type: str
    source_interval: str | None
    session_day: date
    rule: Rule
    first_slot: datetime
    last_slot: datetime
    first_row: datetime | None
    figures: Mapping[str, float | str | None]
    values_hash: str
    withheld_volume: int
    from_rows: bool
    from_audit: bool
    opened_at: datetime
    seen_at: datetime
    ended_at: datetime | None
    outcome: Outcome | None
    outcome_reason: str | None
    marks_bar: bool
    other_feed: Mapping[str, Any] | None
    repeats: int

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.ended_at is None

    @property
    def is_narrowed(self) -> bool:
        """Whether bars that were in doubt with these have other values since: then the rule's silence says nothing."""
        return CHANGED_BARS in self.figures


def record_doubts(
    connection: Connection,
    doubts: Sequence[Doubt],
    *,
    grid: SlotGrid,
    now: datetime,
    from_rows: bool,
    from_audit: bool = False,
) -> int:
    """Open doubts about stored bars of ``grid``'s interval, and refresh the figures of those that mark their bars.

    A doubt that was confirmed, or that a person decided for the bar, is not opened again while the bars have the same
    values; one that stands, or was decided against the bar, is open again when they have others. The bars must be
    stored before. Doubts about bars of another program are opened by an audit only.

    Args:
        connection: with a transaction open.
        doubts: their sessions are positions in the grid's sessions.
        grid: the slots.
        now: the moment, UTC.
        from_rows: whether they were found in the vendor's rows; else in stored bars.
        from_audit: whether an audit found them.

    Returns:
        How many were opened.
    """
    if not doubts:
        return 0
    slots = [find_slots(doubt, grid) for doubt in doubts]
    values: dict[str, Any] = {
        "symbol_id": [doubt.symbol_id for doubt in doubts],
        "session_day": [grid.sessions[doubt.session].day for doubt in doubts],
        "rule": [str(doubt.rule) for doubt in doubts],
        "first_slot": [first for first, _ in slots],
        "last_slot": [last for _, last in slots],
        "first_row": [datetime.fromtimestamp(doubt.first_stamp, UTC) if from_rows else None for doubt in doubts],
        "figures": [json.dumps(dict(doubt.figures)) for doubt in doubts],
        "withheld_volume": [round(doubt.withheld_volume) for doubt in doubts],
        "interval": grid.interval.name,
        "spellings": list(grid.interval.spellings),
        "from_rows": from_rows,
        "from_audit": from_audit,
        "borne_out": BORNE_OUT,
        "now": now,
    }
    return sum(is_new for (is_new,) in connection.execute(_INSERT_DOUBTS, values))


def list_doubts(
    connection: Connection,
    symbol_ids: Collection[int],
    interval: Interval,
    first_day: date,
    last_day: date,
    *,
    with_ended: bool = False,
) -> list[StoredDoubt]:
    """The doubts that mark bars of these symbols and session days (both inclusive), oldest session first.

    ``with_ended`` adds those that were mended, confirmed or decided for the bar.
    """
    values = {
        "ids": sorted(symbol_ids),
        "interval": interval.name,
        "first_day": first_day,
        "last_day": last_day,
        "with_ended": with_ended,
    }
    return [_build_doubt(row) for row in connection.execute(_SELECT_DOUBTS, values)]


def list_open_slots(connection: Connection, interval: Interval, first_day: date, last_day: date) -> list[SlotRange]:
    """The slots that open doubts mark, in sessions of these days (both inclusive); those of audits, too."""
    values = {"interval": interval.name, "first_day": first_day, "last_day": last_day}
    return [SlotRange(*row) for row in connection.execute(_SELECT_OPEN_SLOTS, values)]


def list_decided_volumes(
    connection: Connection, symbol_ids: Sequence[int], grid: SlotGrid
) -> list[tuple[int, int, dict[str, float | str | None]]]:
    """The doubts about volumes that look like running totals and that a person decided to be the rows' own.

    Each with its symbol_id, the stamp of its first row (epoch seconds UTC) and its figures.
    """
    if not symbol_ids or not grid.size:
        return []
    days = (grid.sessions[0].day, grid.sessions[-1].day)
    values = {"ids": symbol_ids, "interval": grid.interval.name, "first_day": days[0], "last_day": days[1]}
    return connection.execute(_SELECT_DECIDED_VOLUMES, values).fetchall()


def end_doubts(
    connection: Connection, doubt_ids: Collection[int], outcome: Outcome, reason: str, now: datetime, *, marks_bar: bool
) -> int:
    """End doubts that mark their bars; returns how many. One that stands may still be mended, confirmed or decided."""
    if not doubt_ids:
        return 0
    values = {"ids": sorted(doubt_ids), "outcome": str(outcome), "reason": reason, "now": now, "marks_bar": marks_bar}
    return connection.execute(_END_DOUBTS, values).rowcount


def find_slots(doubt: Doubt, grid: SlotGrid) -> tuple[datetime, datetime]:
    """The starts (UTC) of the first and last slot of a doubt."""
    ordinals = grid.starts.searchsorted([doubt.first_stamp, doubt.last_stamp], side="right") - 1
    first, last = (datetime.fromtimestamp(int(grid.starts[ordinal]), UTC) for ordinal in ordinals)
    return first, last


def _build_doubt(row: Sequence[Any]) -> StoredDoubt:
    columns = [value.astimezone(UTC) if isinstance(value, datetime) else value for value in row]
    names = StoredDoubt.__dataclass_fields__
    values: dict[str, Any] = dict(zip(names, columns, strict=True))
    values["rule"] = Rule(values["rule"])
    values["outcome"] = Outcome(values["outcome"]) if values["outcome"] else None
    return StoredDoubt(**values)
