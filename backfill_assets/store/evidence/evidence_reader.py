"""Reading what is known about absence: evidence, thin tickers, daily data, lives, closures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.evidence import Asked, Facts
from backfill_assets.store.bars.stored_slots import NEWEST_SESSIONS
from backfill_assets.store.bars.symbol_index import Places
from backfill_assets.store.postgres.array_reader import days_of, read_columns, seconds_of
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.postgres.multiranges import expand

BASELINE_SESSIONS = 20
Int64 = NDArray[np.int64]

_SAID = """
SELECT symbol_id, session_day, asked_at, asks, coalesce(silent_since, '-infinity') AS silent_since, published,
       coalesce(reached, '-infinity') AS reached, coalesce(published_seen, '-infinity') AS seen_at,
       NOT isempty(withheld) AS lacks,
       CASE WHEN NOT isempty(withheld) THEN withheld::text END AS withheld
FROM backfill.evidence
WHERE interval_type = %(interval)s AND source_interval = %(source)s
"""
_ASKED = f"""
{_SAID} AND session_day = ANY (%(newest)s)
UNION ALL
{_SAID} AND session_day >= %(first)s AND session_day < %(newest_first)s AND symbol_id = ANY (%(open)s::int[])
"""
_ASKED_CODES = {
    "symbol_id": ">i4", "session_day": ">i4", "asked_at": ">i8", "asks": ">i4", "silent_since": ">i8",
    "published": ">i1", "reached": ">i8", "seen_at": ">i8", "lacks": ">i1", "withheld": "text",
}  # fmt: skip
_BASELINE = """
SELECT u.symbol_id, count(*), count(*) FILTER (WHERE NOT isempty(e.withheld))
FROM unnest(%(open)s::int[]) AS u (symbol_id) CROSS JOIN LATERAL (
    SELECT withheld FROM backfill.evidence
    WHERE symbol_id = u.symbol_id AND interval_type = %(interval)s AND source_interval = %(source)s
      AND session_day <= %(last)s AND published
    ORDER BY session_day DESC LIMIT %(sessions)s
) e GROUP BY u.symbol_id
"""
_ACTIVE = "SELECT count(*) FROM market_symbols WHERE coalesce(is_active, true)"
_DAILY = """
SELECT symbol_id, day, volume > 0 AS traded FROM backfill.daily
WHERE symbol_id = ANY (%(open)s::int[]) AND day BETWEEN %(first)s AND %(last)s
"""
_DAILY_CODES = {"symbol_id": ">i4", "day": ">i4", "traded": ">i1"}
_LIVES = """
SELECT symbol_id, coalesce(first_day, '-infinity') AS first_day, coalesce(last_day, 'infinity') AS last_day, ended
FROM backfill.lives
"""
_LIVES_CODES = {"symbol_id": ">i4", "first_day": ">i4", "last_day": ">i4", "ended": ">i1"}
_CLOSURES = "SELECT day FROM backfill.closures WHERE day BETWEEN %(first)s AND %(last)s"


def read_knowledge(
    connection: Connection, places: Places, grid: SlotGrid, source: Interval, open_rows: Int64
) -> tuple[Asked, Facts]:
    """Everything that ``market.gaps.slot_states`` judges by, over the sessions of ``grid``.

    ``open_rows`` are the tickers with something to explain. Of the others only what was asked about the newest
    sessions is read, which says whether those are published; nothing else of them explains anything.
    """
    facts = Facts.none(places.size, len(grid.sessions))
    if not places.size or not grid.sessions:
        return _nothing_asked(), facts
    days = [s.day for s in grid.sessions]
    newest = days[-NEWEST_SESSIONS:]  # for older sessions everything is overdue anyway
    values: dict[str, Any] = {
        "open": places.array(open_rows),
        "interval": grid.interval.name,
        "source": source.name,
        "first": days[0],
        "last": days[-1],
        "sessions": BASELINE_SESSIONS,
        "newest": newest,
        "newest_first": newest[0],
    }
    baseline = np.array(connection.execute(_BASELINE, values).fetchall(), np.int64).reshape(-1, 3)
    facts.known[places.rows(baseline[:, 0])] = baseline[:, 1]
    facts.skips[places.rows(baseline[:, 0])] = baseline[:, 2]
    daily = read_columns(connection, _DAILY, values, _DAILY_CODES)
    session = _sessions(daily["day"], grid)
    facts.traded[places.rows(daily["symbol_id"])[session >= 0], session[session >= 0]] = daily["traded"][session >= 0]
    _note_lives(read_columns(connection, _LIVES, {}, _LIVES_CODES), places, days_of(days), facts)
    for (day,) in connection.execute(_CLOSURES, values):
        facts.closed[_sessions(days_of([day]), grid)] = True
    found = read_columns(connection, _ASKED, values, _ASKED_CODES)
    active = connection.execute(_ACTIVE).fetchone() or (0,)
    _note_when_seen(found, len(newest), max(1, (active[0] + 1) // 2), grid, facts)
    return _asked(found, places, grid), facts


def _sessions(days: NDArray[Any], grid: SlotGrid) -> Int64:
    """The position of each day's session, −1 for a day without one."""
    known = days_of([s.day for s in grid.sessions])
    at = np.searchsorted(known, days)
    return np.where(np.r_[known, -1][at] == days, at, -1)


def _note_lives(found: dict[str, NDArray[Any]], places: Places, days: Int64, facts: Facts) -> None:
    """Between which sessions tickers are listed; those of other universes are left out."""
    row = places.find(found["symbol_id"])
    first = np.searchsorted(days, found["first_day"])
    last = np.searchsorted(days, found["last_day"], side="right") - 1
    ended = found["ended"].astype(bool) & (row >= 0)
    facts.first_day[row[row >= 0]] = first[row >= 0]
    facts.last_day[row[ended]] = last[ended]


def _note_when_seen(found: dict[str, NDArray[Any]], newest: int, half: int, grid: SlotGrid, facts: Facts) -> None:
    """When the first and the ``half``-th ticker of the whole store was seen published, of the newest sessions."""
    session, seen_at = _sessions(found["session_day"], grid), seconds_of(found["seen_at"])
    for at in range(len(grid.sessions) - newest, len(grid.sessions)):
        seen = np.sort(seen_at[(session == at) & (found["published"] == 1)])
        facts.first_seen_at[at] = seen[0] if len(seen) else np.nan
        facts.half_seen_at[at] = seen[half - 1] if len(seen) >= half else np.nan


def _asked(found: dict[str, NDArray[Any]], places: Places, grid: SlotGrid) -> Asked:
    """What was asked about the universe, out of what was asked about anybody."""
    row, session = places.find(found["symbol_id"]), _sessions(found["session_day"], grid)
    owner, within = expand(found["withheld"].tolist())
    entry = np.flatnonzero(found["lacks"])[owner]
    known = (row >= 0) & (session >= 0)
    of_known = known[entry]
    return Asked(
        row=row[known],
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
