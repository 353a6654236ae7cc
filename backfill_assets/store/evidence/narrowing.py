"""Narrows doubts to the bars that still have the values in doubt, when others that were doubted with them have changed.

A rule that looks at several bars at once may find nothing any more as soon as one of them has changed: a session at one
price, or equal to an earlier one. The others are as wrong as before. Their doubt goes on, as one for each run of slots.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.evidence.doubts import CHANGED_BARS, HASH_OF_BAR, HASH_OF_BARS
from backfill_assets.store.postgres.connection import Connection

Stretch = tuple[datetime, datetime]  # the starts of the first and the last slot

# Bars that another doubt by the same rule marks are left to it. An audit's doubt is about anybody's bars.
_SELECT_BARS = f"""
SELECT b.doubt_id, b.symbol_id, b.rule, d.timestamp,
       bool_or({HASH_OF_BAR} = ANY (string_to_array(b.values_hash, ','))) AND NOT EXISTS (
           SELECT FROM backfill.doubts o
           WHERE o.symbol_id = b.symbol_id AND o.interval_type = b.interval_type AND o.rule = b.rule AND o.marks_bar
             AND o.doubt_id <> ALL (%(ids)s) AND d.timestamp BETWEEN o.first_slot AND o.last_slot)
FROM backfill.doubts b
JOIN market_data d ON d.symbol_id = b.symbol_id AND d.interval_type = ANY (%(spellings)s)
     AND d.timestamp BETWEEN b.first_slot AND b.last_slot AND (d.source IS NOT NULL OR b.from_audit)
WHERE b.doubt_id = ANY (%(ids)s) AND b.marks_bar
GROUP BY b.doubt_id, d.timestamp ORDER BY b.doubt_id, d.timestamp
"""  # noqa: S608 - only constants are inserted
# Slots are exchanged between doubts: no two of them may mark the same first slot at any moment.
_SET_ASIDE = "UPDATE backfill.doubts SET marks_bar = false WHERE doubt_id = ANY (%(ids)s)"
_HASH = HASH_OF_BARS.format(symbol_id="b.symbol_id", first_slot="t.first_slot", last_slot="t.last_slot")
# What the other feed said was about each bar, so it holds for those that are left.
_NARROWED = f"""
    SELECT b.*, t.first_slot AS new_first, t.last_slot AS new_last, ({_HASH}) AS new_hash,
           CASE WHEN b.first_row IS NOT NULL THEN greatest(b.first_row, t.first_slot) END AS new_first_row,
           b.figures || jsonb_build_object('{CHANGED_BARS}', coalesce((b.figures->>'{CHANGED_BARS}')::int, 0)
                                                            + t.changed) AS new_figures
    FROM unnest(%(doubts)s::bigint[], %(first_slots)s::timestamptz[], %(last_slots)s::timestamptz[], %(changed)s::int[])
      AS t (doubt_id, first_slot, last_slot, changed) JOIN backfill.doubts b USING (doubt_id)
"""  # noqa: S608 - only constants are inserted
_NEW_ANSWER = """CASE WHEN n.other_feed->>'values_hash' = n.values_hash
                      THEN n.other_feed || jsonb_build_object('values_hash', n.new_hash) END"""
_UPDATE = f"""
WITH n AS ({_NARROWED})
UPDATE backfill.doubts u SET first_slot = n.new_first, last_slot = n.new_last, values_hash = n.new_hash,
       first_row = n.new_first_row, figures = n.new_figures, other_feed = {_NEW_ANSWER}, marks_bar = true
FROM n WHERE u.doubt_id = n.doubt_id
"""  # noqa: S608 - only constants are inserted
_INSERT = f"""
WITH n AS ({_NARROWED})
INSERT INTO backfill.doubts (symbol_id, interval_type, source_interval, session_day, rule, first_slot, last_slot,
    first_row, figures, values_hash, from_rows, from_audit, opened_at, seen_at, ended_at, outcome, outcome_reason,
    other_feed, repeats)
SELECT symbol_id, interval_type, source_interval, session_day, rule, new_first, new_last, new_first_row, new_figures,
       new_hash, from_rows, from_audit, opened_at, seen_at, ended_at, outcome, outcome_reason, {_NEW_ANSWER}, repeats
FROM n
"""  # noqa: S608 - only constants are inserted


@dataclass(slots=True)
class _Rest:
    """What is left of a doubt: runs of slots, and how many of its bars are in none."""

    runs: list[Stretch] = field(default_factory=list)
    changed: int = 0


def narrow_doubts(
    connection: Connection,
    doubts: Mapping[int, Sequence[Stretch]],
    interval: Interval,
    found_again: Collection[int] = (),
) -> set[int]:
    """Narrow doubts that mark bars of which some have changed, each to the runs of bars that have not.

    Args:
        connection: with a transaction open.
        doubts: by doubt_id, where the rule itself finds the session improbable as it is now; these slots are left to
            the doubts that are recorded for them.
        interval: of the bars, with the table's spellings.
        found_again: those of which the record is about to be refreshed, because the rule finds their first slot
            improbable again; they stay as they are, and what else is left of them becomes doubts of their own.

    Returns:
        The doubts of which nothing is left; they are not ended here.
    """
    if not doubts:
        return set()
    rests = _find_rests(connection, doubts, interval)
    moved = {key: rest for key, rest in rests.items() if key not in found_again}
    connection.execute(_SET_ASIDE, {"ids": list(moved)})
    others = [(key, run, rest.changed) for key, rest in rests.items() for run in rest.runs[key not in found_again :]]
    _write(connection, _INSERT, others, interval)  # first, because they are copied from the others as they were
    _write(connection, _UPDATE, [(key, rest.runs[0], rest.changed) for key, rest in moved.items()], interval)
    return set(doubts) - rests.keys() - {*found_again}


def _find_rests(
    connection: Connection, doubts: Mapping[int, Sequence[Stretch]], interval: Interval
) -> dict[int, _Rest]:
    """What is left of doubts, by doubt_id; each slot is left to one doubt by its rule."""
    values = {"ids": sorted(doubts), "spellings": list(interval.spellings)}
    rows = connection.execute(_SELECT_BARS.encode(), values).fetchall()
    kept: defaultdict[tuple[int, str], set[datetime]] = defaultdict(set)
    rests: dict[int, _Rest] = {}
    for (doubt_id, symbol_id, rule), bars in groupby(rows, lambda row: row[:3]):
        rest, is_in_run = _Rest(), False
        for *_, slot, is_unchanged in bars:
            is_found = any(first <= slot <= last for first, last in doubts[doubt_id])
            is_kept = is_unchanged and not is_found and slot not in kept[symbol_id, rule]
            if is_kept:
                rest.runs[-1:] = [(rest.runs[-1][0], slot)] if is_in_run else [*rest.runs[-1:], (slot, slot)]
                kept[symbol_id, rule].add(slot)
            rest.changed += not is_kept
            is_in_run = is_kept
        if rest.runs:
            rests[doubt_id] = rest
    return rests


def _write(
    connection: Connection, statement: str, runs: Sequence[tuple[int, Stretch, int]], interval: Interval
) -> None:
    if not runs:
        return
    values = {
        "doubts": [key for key, _, _ in runs],
        "first_slots": [first for _, (first, _), _ in runs],
        "last_slots": [last for _, (_, last), _ in runs],
        "changed": [changed for _, _, changed in runs],
        "spellings": list(interval.spellings),
    }
    connection.execute(statement.encode(), values)
