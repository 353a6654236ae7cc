"""Reading what is known about absence: evidence, thin tickers, daily data, lives, closures."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.evidence import Asked, Facts
from backfill_assets.market.intervals import Interval
from backfill_assets.market.slots import SlotGrid
from backfill_assets.store.columns import days_of, read_columns, seconds_of
from backfill_assets.store.connection import Connection
from backfill_assets.store.multiranges import expand
from backfill_assets.store.symbols import Symbol

BASELINE_SESSIONS = 20
Int64 = NDArray[np.int64]

_ASKED = """
SELECT symbol_id, session_day, asked_at, asks, coalesce(silent_since, '-infinity') AS silent_since, published,
       coalesce(reached, '-infinity') AS reached, coalesce(published_seen, '-infinity') AS seen_at,
       NOT isempty(withheld) AS lacks,
       CASE WHEN NOT isempty(withheld) THEN withheld::text END AS withheld
FROM backfill.evidence
WHERE symbol_id = ANY (%(ids)s) AND interval_type = %(interval)s AND source_interval = %(source)s
  AND session_day BETWEEN %(first)s AND %(last)s
"""
_ASKED_CODES = {
    "symbol_id": ">i4", "session_day": ">i4", "asked_at": ">i8", "asks": ">i4", "silent_since": ">i8",
    "published": ">i1", "reached": ">i8", "seen_at": ">i8", "lacks": ">i1", "withheld": "text",
}  # fmt: skip
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
    SELECT e.session_day, array_agg(e.published_seen ORDER BY e.published_seen) AS seen
    FROM market_symbols m CROSS JOIN LATERAL (
        SELECT session_day, published_seen FROM backfill.evidence
        WHERE symbol_id = m.symbol_id AND interval_type = %(interval)s AND source_interval = %(source)s
          AND session_day = ANY (%(newest)s) AND published
    ) e GROUP BY e.session_day
) s
"""
_DAILY = """
SELECT symbol_id, day, volume > 0 AS traded FROM backfill.daily
WHERE symbol_id = ANY (%(ids)s) AND day BETWEEN %(first)s AND %(last)s
"""
_DAILY_CODES = {"symbol_id": ">i4", "day": ">i4", "traded": ">i1"}
_LIVES = "SELECT symbol_id, first_day, last_day, ended FROM backfill.lives WHERE symbol_id = ANY (%(ids)s)"
_CLOSURES = "SELECT day FROM backfill.closures WHERE day BETWEEN %(first)s AND %(last)s"


@dataclass(frozen=True, eq=False)
class _Places:
    """Where tickers and sessions stand in a coverage: the keys ascending, and the position of each."""

    keys: Int64
    positions: Int64
    days: Int64

    @classmethod
    def of(cls, symbols: Sequence[Symbol], grid: SlotGrid) -> "_Places":
        keys = np.array([s.symbol_id for s in symbols], np.int64)
        order = np.argsort(keys)
        return cls(keys[order], order, days_of([s.day for s in grid.sessions]))

    def rows(self, symbol_ids: NDArray[Any]) -> Int64:
        """The position of each ticker, all of them known."""
        found: Int64 = self.positions[np.searchsorted(self.keys, symbol_ids)]
        return found

    def sessions(self, days: NDArray[Any]) -> Int64:
        """The position of each day's session, −1 for a day without one."""
        at = np.searchsorted(self.days, days)
        known = np.r_[self.days, -1][at] == days
        return np.where(known, at, -1)


def read_knowledge(
    connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid, source: Interval
) -> tuple[Asked, Facts]:
    """Everything that ``market.gaps`` judges by, for ``symbols`` over the sessions of ``grid``."""
    facts = Facts.none(len(symbols), len(grid.sessions))
    if not symbols or not grid.sessions:
        return _nothing_asked(), facts
    days = [s.day for s in grid.sessions]
    places = _Places.of(symbols, grid)
    values: dict[str, Any] = {
        "ids": [s.symbol_id for s in symbols],
        "interval": grid.interval.name,
        "source": source.name,
        "first": days[0],
        "last": days[-1],
        "sessions": BASELINE_SESSIONS,
        "newest": days[-3:],  # for older sessions everything is overdue anyway
    }
    baseline = np.array(connection.execute(_BASELINE, values).fetchall(), np.int64).reshape(-1, 3)
    facts.known[places.rows(baseline[:, 0])] = baseline[:, 1]
    facts.skips[places.rows(baseline[:, 0])] = baseline[:, 2]
    daily = read_columns(connection, _DAILY, values, _DAILY_CODES)
    session = places.sessions(daily["day"])
    facts.traded[places.rows(daily["symbol_id"])[session >= 0], session[session >= 0]] = daily["traded"][session >= 0]
    _read_lives(connection.execute(_LIVES, values).fetchall(), places, facts)
    _read_the_market(connection, values, {day: at for at, day in enumerate(days)}, facts)
    return _asked(connection, values, places, grid), facts


def _read_lives(lives: Sequence[Any], places: _Places, facts: Facts) -> None:
    for symbol_id, first_day, last_day, ended in lives:
        (row,) = places.rows(np.array([symbol_id]))
        if first_day is not None:
            facts.first_day[row] = np.searchsorted(places.days, days_of([first_day])[0])
        if ended:
            facts.last_day[row] = np.searchsorted(places.days, days_of([last_day])[0], side="right") - 1


def _read_the_market(connection: Connection, values: dict[str, Any], session: dict[date, int], facts: Facts) -> None:
    for day in {day for (day,) in connection.execute(_CLOSURES, values)} & session.keys():
        facts.closed[session[day]] = True
    for day, first, half in connection.execute(_SEEN, values):
        facts.first_seen_at[session[day]] = first
        facts.half_seen_at[session[day]] = np.nan if half is None else half


def _asked(connection: Connection, values: dict[str, Any], places: _Places, grid: SlotGrid) -> Asked:
    found = read_columns(connection, _ASKED, values, _ASKED_CODES)
    session = places.sessions(found["session_day"])
    owner, within = expand(found["withheld"].tolist())
    entry = np.flatnonzero(found["lacks"])[owner]
    known = session >= 0
    of_known = known[entry]
    return Asked(
        row=places.rows(found["symbol_id"])[known],
        session=session[known],
        asked_at=np.rint(seconds_of(found["asked_at"])).astype(np.int64)[known],
        asks=found["asks"].astype(np.int64)[known],
        silent_since=seconds_of(found["silent_since"])[known],
        published=found["published"].astype(bool)[known],
        reached=np.rint(np.nan_to_num(seconds_of(found["reached"]))).astype(np.int64)[known],
        seen_at=seconds_of(found["seen_at"])[known],
        withheld_entry=(np.cumsum(known) - 1)[entry[of_known]],
        withheld_ordinal=within[of_known] + grid.first_of[session[entry[of_known]]],
    )


def _nothing_asked() -> Asked:
    none = np.zeros(0, np.int64)
    return Asked(none, none, none, none, none.astype(float), none.astype(bool), none, none.astype(float), none, none)
