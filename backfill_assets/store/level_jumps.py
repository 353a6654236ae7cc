"""Ranges of bars by session, and sessions from which on prices may count another unit (``backfill.level_jumps``).

How jumps are found is in ``market.learning.level_jumps``; what prices count is in ``store.price_units``.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.learning.level_jumps import LevelJump, SessionLevel
from backfill_assets.store.postgres.connection import Connection

_SELECT_LEVELS = """
SELECT d.symbol_id, s.day, min(d.low_price)::float8, max(d.high_price)::float8
FROM unnest(%(days)s::date[], %(opens)s::timestamptz[], %(closes)s::timestamptz[]) AS s (day, opens, closes)
JOIN market_data d ON d.symbol_id = ANY (%(ids)s::int[]) AND d.interval_type = ANY (%(spellings)s)
     AND d."timestamp" >= s.opens AND d."timestamp" < s.closes AND d.low_price > 0
GROUP BY d.symbol_id, s.day ORDER BY d.symbol_id, s.day
"""
_DELETE_JUMPS = """
DELETE FROM backfill.level_jumps j WHERE j.symbol_id = ANY (%(searched)s::int[]) AND j.session_day >= %(first)s
  AND NOT EXISTS (SELECT FROM unnest(%(ids)s::int[], %(days)s::date[]) AS t (id, day)
                  WHERE t.id = j.symbol_id AND t.day = j.session_day)
"""
_INSERT_JUMPS = """
INSERT INTO backfill.level_jumps (symbol_id, session_day, last_day, old_price, new_price, found_at)
SELECT t.*, %(now)s
FROM unnest(%(ids)s::int[], %(days)s::date[], %(last_days)s::date[], %(old)s::float8[], %(new)s::float8[]) AS t
ON CONFLICT (symbol_id, session_day) DO NOTHING
"""
_SELECT_JUMPS = """
SELECT symbol_id, session_day, last_day, old_price, new_price, found_at FROM backfill.level_jumps
ORDER BY session_day, symbol_id
"""
# Not those of which a person said that the unit is the same.
_SELECT_UNDISPUTED = """
SELECT j.symbol_id, j.session_day FROM backfill.level_jumps j
WHERE j.symbol_id = ANY (%(ids)s::int[]) AND NOT EXISTS (
    SELECT FROM backfill.decisions d
    WHERE d.kind = 'price_unit' AND d.decision = 'rejected'
      AND d.refers_to @> ARRAY[j.symbol_id || ' ' || j.session_day])
"""


@dataclass(frozen=True, slots=True)
class FoundJump:
    """A jump of a symbol's level in the store; ``found_at`` is UTC."""

    symbol_id: int
    jump: LevelJump
    found_at: datetime


def read_levels(
    connection: Connection, symbol_ids: Collection[int], sessions: Sequence[Session], interval: Interval
) -> dict[int, list[SessionLevel]]:
    """The range of the bars of symbols in each session, by symbol_id, the oldest session first."""
    values = {
        "ids": sorted(symbol_ids),
        "spellings": list(interval.spellings),
        "days": [session.day for session in sessions],
        "opens": [session.open for session in sessions],
        "closes": [session.close for session in sessions],
    }
    levels: dict[int, list[SessionLevel]] = {}
    for symbol_id, day, low, high in connection.execute(_SELECT_LEVELS, values):
        levels.setdefault(symbol_id, []).append(SessionLevel(day, low, high))
    return levels


def record_level_jumps(
    connection: Connection,
    found: Iterable[tuple[int, LevelJump]],
    searched: Collection[int],
    first: date,
    now: datetime,
) -> None:
    """Store the jumps that the bars of the searched symbols show from a session on; those of before stay."""
    jumps = list(found)
    values = {
        "searched": sorted(searched),
        "first": first,
        "ids": [symbol_id for symbol_id, _ in jumps],
        "days": [jump.day for _, jump in jumps],
        "last_days": [jump.last_day for _, jump in jumps],
        "old": [jump.old_price for _, jump in jumps],
        "new": [jump.new_price for _, jump in jumps],
        "now": now,
    }
    connection.execute(_DELETE_JUMPS, values)
    if jumps:
        connection.execute(_INSERT_JUMPS, values)


def list_level_jumps(connection: Connection) -> list[FoundJump]:
    """Every jump of a level that the bars show, the oldest first."""
    return [
        FoundJump(symbol_id, LevelJump(day, last_day, old, new), found_at.astimezone(UTC))
        for symbol_id, day, last_day, old, new, found_at in connection.execute(_SELECT_JUMPS)
    ]


def find_undisputed_jumps(connection: Connection, symbol_ids: Collection[int]) -> dict[int, list[date]]:
    """The session days at which the unit may have changed or has, by symbol_id; not where a person denied it."""
    found: dict[int, list[date]] = {}
    for symbol_id, day in connection.execute(_SELECT_UNDISPUTED, {"ids": sorted(symbol_ids)}):
        found.setdefault(symbol_id, []).append(day)
    return found
