"""Reading what is known about absence: thin tickers, daily data, lives, closures; what was asked is in ``asked``."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from backfill_assets.market.evidence import Asked, Facts
from backfill_assets.market.intervals import Interval
from backfill_assets.market.slots import SlotGrid
from backfill_assets.store.asked import read_asked
from backfill_assets.store.connection import Connection
from backfill_assets.store.symbols import Symbol

BASELINE_SESSIONS = 20

_BASELINE = """
SELECT u.symbol_id, count(*), count(*) FILTER (WHERE NOT isempty(e.withheld))
FROM unnest(%(ids)s::int[]) AS u (symbol_id) CROSS JOIN LATERAL (
    SELECT withheld FROM backfill.evidence
    WHERE symbol_id = u.symbol_id AND interval_type = %(interval)s AND source_interval = %(source)s
      AND session_day <= %(last)s AND published
    ORDER BY session_day DESC LIMIT %(sessions)s
) e GROUP BY u.symbol_id
"""
_SEEN = """
WITH universe AS (
    SELECT greatest(1, (count(*) + 1) / 2)::int AS half FROM market_symbols WHERE coalesce(is_active, true)
)
SELECT session_day, extract(epoch FROM seen[1])::float8, extract(epoch FROM seen[half])::float8 FROM universe, (
    SELECT session_day, array_agg(published_seen ORDER BY published_seen) AS seen FROM backfill.evidence
    WHERE interval_type = %(interval)s AND source_interval = %(source)s AND published AND session_day = ANY (%(days)s)
    GROUP BY session_day
) s
"""
_DAILY = (
    "SELECT symbol_id, day, volume FROM backfill.daily"
    " WHERE symbol_id = ANY (%(ids)s) AND day BETWEEN %(first)s AND %(last)s"
)
_LIVES = "SELECT symbol_id, first_day, last_day, ended FROM backfill.lives WHERE symbol_id = ANY (%(ids)s)"
_CLOSURES = "SELECT day FROM backfill.closures WHERE day BETWEEN %(first)s AND %(last)s"


def read_knowledge(
    connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid, source: Interval
) -> tuple[Asked, Facts]:
    """Everything that ``market.gaps`` judges by, for ``symbols`` over the sessions of ``grid``."""
    facts = Facts.none(len(symbols), len(grid.sessions))
    values: dict[str, Any] = {
        "ids": [s.symbol_id for s in symbols],
        "interval": grid.interval.name,
        "source": source.name,
        "first": grid.sessions[0].day if grid.sessions else None,
        "last": grid.sessions[-1].day if grid.sessions else None,
        "sessions": BASELINE_SESSIONS,
        # for older sessions everything is overdue anyway
        "days": [s.day for s in grid.sessions[-3:]],
    }
    row = {s.symbol_id: position for position, s in enumerate(symbols)}
    session = {s.day: position for position, s in enumerate(grid.sessions)}
    if not symbols or not grid.sessions:
        return Asked.nothing(), facts
    for symbol_id, known, skips in connection.execute(_BASELINE, values):
        facts.known[row[symbol_id]], facts.skips[row[symbol_id]] = known, skips
    for symbol_id, day, volume in connection.execute(_DAILY, values):
        if day in session:
            facts.traded[row[symbol_id], session[day]] = volume > 0
    _read_lives(connection.execute(_LIVES, values).fetchall(), row, grid, facts)
    for day in {d for (d,) in connection.execute(_CLOSURES, values)} & session.keys():
        facts.closed[session[day]] = True
    for day, first, half in connection.execute(_SEEN, values):
        facts.first_seen_at[session[day]] = first
        facts.half_seen_at[session[day]] = np.nan if half is None else half
    return read_asked(connection, symbols, grid, values), facts


def _read_lives(lives: Sequence[Any], row: dict[int, int], grid: SlotGrid, facts: Facts) -> None:
    for symbol_id, first_day, last_day, ended in lives:
        if first_day is not None:
            facts.first_day[row[symbol_id]] = sum(s.day < first_day for s in grid.sessions)
        if ended:
            facts.last_day[row[symbol_id]] = sum(s.day <= last_day for s in grid.sessions) - 1
