"""Which sessions of symbols the rules of plausibility have judged as they are now.

What a judgement depends on goes into a hash: the newest request for the session's bars, the day's settled figures, the
symbol's splits, and whether the session is outside its listing life. A session whose hash is another than the one it
was judged with is judged again. So nothing depends on clocks, and a process that stops half-way leaves its sessions to
the next one.
"""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.daily_prices import SETTLED_AFTER
from backfill_assets.store.postgres.connection import Connection

_LOCK = 0x6A756467  # "judg" in ASCII: one process judges at a time
_TAKE_LOCK = "SELECT pg_advisory_xact_lock(%(lock)s)"
_FROM_UNJUDGED = """
FROM unnest(%(days)s::date[], %(closes)s::bigint[]) WITH ORDINALITY AS s (day, session_close, position)
JOIN backfill.session_evidence e ON e.symbol_id = ANY (%(ids)s::int[]) AND e.interval_type = %(interval)s
     AND e.session_day = s.day
LEFT JOIN backfill.daily_prices p ON p.symbol_id = e.symbol_id AND p.day = s.day AND p.no_row_reason IS NULL
     AND p.read_at >= to_timestamp(s.session_close) + %(settled_after)s
LEFT JOIN backfill.split_reads r ON r.symbol_id = e.symbol_id
LEFT JOIN (
    SELECT symbol_id, array_agg((ex_date, ratio) ORDER BY ex_date)::text AS splits FROM backfill.splits
    WHERE withdrawn_at IS NULL GROUP BY symbol_id
) x ON x.symbol_id = e.symbol_id
LEFT JOIN backfill.listing_lives l ON l.symbol_id = e.symbol_id
     AND (s.day < l.first_day OR (l.has_ended AND s.day > l.last_day))
     AND NOT EXISTS (SELECT FROM backfill.listings n WHERE n.symbol_id = e.symbol_id AND n.withdrawn_at IS NULL)
CROSS JOIN LATERAL (SELECT hash_record_extended(ROW(
    e.requested_at, e.request_count, p.open_price, p.high_price, p.low_price, p.close_price, p.reported_volume,
    round((ln(p.adjusted_close) - ln(p.close_price))::numeric, 4), x.splits,
    s.day > r.known_after AND s.day <= r.known_until,
    s.day >= r.known_after AND r.read_at >= p.read_at, l.symbol_id IS NOT NULL), 0) AS hash) h
WHERE e.judged_as IS DISTINCT FROM h.hash
"""
_SELECT_SYMBOLS = f"SELECT DISTINCT e.symbol_id {_FROM_UNJUDGED} ORDER BY 1"
# Sessions that another process is storing right now are left to it.
_MARK_JUDGED = f"""
WITH unjudged AS (
    SELECT e.ctid AS place, e.symbol_id, s.position - 1 AS session, h.hash {_FROM_UNJUDGED} FOR UPDATE OF e SKIP LOCKED
)
UPDATE backfill.session_evidence e SET judged_as = u.hash FROM unjudged u WHERE e.ctid = u.place
RETURNING u.symbol_id, u.session
"""  # noqa: S608 - only a constant is inserted

_FORGET = """
UPDATE backfill.session_evidence SET judged_as = NULL
WHERE symbol_id = %(symbol_id)s AND interval_type = %(interval)s AND session_day = ANY (%(days)s)
"""


_FORGET_ALL = """
UPDATE backfill.session_evidence SET judged_as = NULL
WHERE symbol_id = ANY (%(ids)s::int[]) AND judged_as IS NOT NULL
"""


def lock_judgement(connection: Connection) -> None:
    """Wait until no other process judges; holds until the end of the transaction."""
    connection.execute(_TAKE_LOCK, {"lock": _LOCK})


def find_symbols_to_judge(connection: Connection, symbol_ids: Sequence[int], grid: SlotGrid) -> list[int]:
    """The symbols with requested sessions of a grid that were never judged, or not as they are now; ascending."""
    values = _build_parameters(symbol_ids, grid)
    return [symbol_id for (symbol_id,) in connection.execute(_SELECT_SYMBOLS.encode(), values)]


def mark_judged(connection: Connection, symbol_ids: Sequence[int], grid: SlotGrid) -> set[tuple[int, int]]:
    """Mark such sessions of some symbols as judged; returns their symbol_ids and positions in the grid's sessions.

    Their bars and days are read afterwards: what changes in between has another hash and is judged again.
    """
    return set(connection.execute(_MARK_JUDGED.encode(), _build_parameters(symbol_ids, grid)).fetchall())


def forget_judgement(connection: Connection, symbol_id: int, interval: Interval, days: Collection[date]) -> None:
    """Have sessions judged again whose bars were changed without a request of the feed that they are built from."""
    connection.execute(_FORGET, {"symbol_id": symbol_id, "interval": interval.name, "days": sorted(days)})


def forget_judgements(connection: Connection, symbol_ids: Collection[int]) -> None:
    """Have every session of some symbols judged again, because rules apply that did not before."""
    connection.execute(_FORGET_ALL, {"ids": sorted(symbol_ids)})


def _build_parameters(symbol_ids: Sequence[int], grid: SlotGrid) -> dict[str, Any]:
    return {
        "ids": list(symbol_ids),
        "days": [session.day for session in grid.sessions],
        "closes": grid.session_closes.tolist(),
        "interval": grid.interval.name,
        "settled_after": SETTLED_AFTER,
    }
