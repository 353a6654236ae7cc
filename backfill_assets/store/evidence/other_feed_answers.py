"""What the vendor's other feed said about slots and doubts, so that nothing is asked twice while nothing changed.

When it is asked is decided in ``backfill.cross_feed``; the bars that it gave are in ``store.bars.other_feed_bars``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.store.postgres.connection import Connection

SlotAnswer = Literal["taken", "no_rows", "doubtful"]
_SELECT_ANSWERS = """
SELECT symbol_id, extract(epoch FROM timestamp)::bigint, answer, first_asked_at, asked_at
FROM backfill.other_feed_answers
WHERE symbol_id = ANY (%(ids)s) AND interval_type = %(interval)s AND source_interval = %(source)s
  AND timestamp BETWEEN %(first)s AND %(last)s
"""
# A slot that was taken and is absent again starts anew.
_UPSERT_ANSWERS = """
INSERT INTO backfill.other_feed_answers AS a (symbol_id, interval_type, timestamp, source_interval, answer,
                                              first_asked_at, asked_at)
SELECT %(symbol_id)s, %(interval)s, to_timestamp(epoch), %(source)s, answer, %(now)s, %(now)s
FROM unnest(%(stamps)s::bigint[], %(answers)s::text[]) AS t (epoch, answer) ORDER BY epoch
ON CONFLICT (symbol_id, interval_type, timestamp, source_interval) DO UPDATE SET
    answer = EXCLUDED.answer, asked_at = EXCLUDED.asked_at,
    first_asked_at = CASE WHEN a.answer = 'taken' THEN EXCLUDED.first_asked_at ELSE a.first_asked_at END
"""
_RECORD_ABOUT_DOUBT = "UPDATE backfill.doubts SET other_feed = %(said)s::jsonb WHERE doubt_id = %(doubt_id)s"


@dataclass(frozen=True, slots=True)
class AskedSlot:
    """What the other feed said about an absent slot, and when (UTC) it was asked first and last."""

    answer: SlotAnswer
    first_asked_at: datetime
    asked_at: datetime


def read_asked_slots(
    connection: Connection, symbol_ids: Sequence[int], grid: SlotGrid, other: Interval
) -> dict[tuple[int, int], AskedSlot]:
    """The slots of ``grid`` that the other feed was asked about: by symbol_id and start in epoch seconds."""
    values = {
        "ids": list(symbol_ids),
        "interval": grid.interval.name,
        "source": other.name,
        "first": grid.first_start,
        "last": grid.last_start,
    }
    found = connection.execute(_SELECT_ANSWERS, values)
    return {
        (symbol_id, epoch): AskedSlot(answer, first.astimezone(UTC), last.astimezone(UTC))
        for symbol_id, epoch, answer, first, last in found
    }


def record_slot_answers(
    connection: Connection,
    symbol_id: int,
    answers: Mapping[int, SlotAnswer],
    *,
    interval: Interval,
    other: Interval,
    now: datetime,
) -> None:
    """Store what the other feed said at ``now`` about slots of a symbol, by their start in epoch seconds."""
    values: dict[str, Any] = {
        "symbol_id": symbol_id,
        "stamps": list(answers),
        "answers": list(answers.values()),
        "interval": interval.name,
        "source": other.name,
        "now": now,
    }
    connection.execute(_UPSERT_ANSWERS, values)


def record_doubt_answer(connection: Connection, doubt_id: int, said: Mapping[str, Any]) -> None:
    """Store with a doubt what the other feed said about its bars."""
    connection.execute(_RECORD_ABOUT_DOUBT, {"doubt_id": doubt_id, "said": json.dumps(dict(said))})
