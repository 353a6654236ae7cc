"""From which session on each symbol is watched, and what its watched sessions lack that are no partitions.

What that means, and when it changes, is in ``backfill.watched_sessions``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.postgres.connection import Connection

_SELECT = """
SELECT symbol_id, watched_from, missing FROM backfill.watched_sessions
WHERE symbol_id = ANY (%(ids)s::int[]) AND interval_type = %(interval)s
"""
_UPSERT = """
INSERT INTO backfill.watched_sessions AS w (symbol_id, interval_type, watched_from, missing)
SELECT id, %(interval)s, day, missing
FROM unnest(%(ids)s::int[], %(days)s::date[], %(missing)s::int[]) AS t (id, day, missing)
ORDER BY id
ON CONFLICT (symbol_id, interval_type) DO UPDATE
SET watched_from = least(w.watched_from, EXCLUDED.watched_from), missing = EXCLUDED.missing
"""


@dataclass(frozen=True, slots=True)
class WatchedFrom:
    """What is known of one symbol.

    Attributes:
        day: this session and all later ones are watched.
        missing: bars that watched sessions lacked that are no partitions, when they were looked at last.
    """

    day: date
    missing: int


def read_watched(connection: Connection, symbol_ids: Sequence[int], interval: Interval) -> dict[int, WatchedFrom]:
    """symbol_id → what is known of it; symbols that were not looked at yet are left out."""
    rows = connection.execute(_SELECT, {"ids": list(symbol_ids), "interval": interval.name})
    return {symbol_id: WatchedFrom(day, missing) for symbol_id, day, missing in rows}


def write_watched(connection: Connection, interval: Interval, watched: Mapping[int, WatchedFrom]) -> None:
    """Record what is known of these symbols now, by symbol_id."""
    if not watched:
        return
    values = {
        "ids": list(watched),
        "interval": interval.name,
        "days": [one.day for one in watched.values()],
        "missing": [one.missing for one in watched.values()],
    }
    connection.execute(_UPSERT, values)
