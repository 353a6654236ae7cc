"""Statistics of stored bars: the newest bar for ``status``, publication and provenance per session for partitions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.exchanges import IS_OF_EXCHANGE, list_names
from backfill_assets.store.postgres.connection import Connection

# Of bars ``d``. PostgreSQL stores times of other programs that Python cannot hold and that are too far for arithmetic.
LAST_POSSIBLE_TIME = "'9999-12-30'"
HAS_POSSIBLE_TIME = f"d.timestamp BETWEEN '0001-01-02' AND {LAST_POSSIBLE_TIME}"
_SELECT_NEWEST_BAR = f"""
SELECT max(m.timestamp) FROM unnest(%(ids)s::int[]) AS u (symbol_id) CROSS JOIN LATERAL (
    SELECT max(d.timestamp) AS timestamp FROM unnest(%(spellings)s::text[]) AS s (spelling) CROSS JOIN LATERAL (
        SELECT timestamp FROM market_data d WHERE d.symbol_id = u.symbol_id AND d.interval_type = s.spelling
              AND {HAS_POSSIBLE_TIME}
        ORDER BY timestamp DESC LIMIT 1
    ) d
) m
"""  # noqa: S608 - only a constant is inserted
_HAS_LATER_BARS = f"""
SELECT EXISTS (SELECT FROM unnest(%(ids)s::int[]) AS u (symbol_id) CROSS JOIN LATERAL (
    SELECT FROM market_data d WHERE d.symbol_id = u.symbol_id AND d.interval_type = ANY (%(spellings)s)
           AND d.timestamp > %(moment)s AND {HAS_POSSIBLE_TIME} LIMIT 1
) x)
"""  # noqa: S608 - only a constant is inserted
_SAMPLED_SYMBOLS = 30
_SELECT_OLDEST_BAR = _SELECT_NEWEST_BAR.replace("max(", "min(").replace("timestamp DESC", "timestamp")
_SELECT_PUBLICATIONS = f"""
SELECT session_day, count(*), min(published_at), max(published_at) FROM backfill.session_evidence
WHERE interval_type = %(interval)s AND source_interval = %(source)s AND is_published AND session_day = ANY (%(days)s)
  AND symbol_id IN (SELECT symbol_id FROM market_symbols WHERE {IS_OF_EXCHANGE})
GROUP BY session_day ORDER BY session_day
"""  # noqa: S608 - only a constant is inserted
_SELECT_PROVENANCE = """
SELECT d.symbol_id, s.ordinal::int - 1, max(d.source), max(d.source_interval), max(d.fetched_at)
FROM unnest(%(opens)s::timestamptz[], %(closes)s::timestamptz[]) WITH ORDINALITY AS s (opens, closes, ordinal)
JOIN market_data d ON d.symbol_id = ANY (%(ids)s) AND d.interval_type = ANY (%(spellings)s)
     AND d.timestamp >= s.opens AND d.timestamp < s.closes
GROUP BY 1, 2
"""

_COUNT_SYMBOLS = """
SELECT timestamp, count(DISTINCT symbol_id) FROM market_data
WHERE symbol_id = ANY (%(ids)s::int[]) AND interval_type = ANY (%(spellings)s) AND timestamp = ANY (%(slots)s)
GROUP BY timestamp
"""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a session's bars come from and when the newest was fetched; None if another program wrote them."""

    source: str | None
    source_interval: str | None
    fetched_at: datetime | None


def read_newest_bar(connection: Connection, symbols: Sequence[Symbol], interval: Interval) -> datetime | None:
    """The newest slot that any of ``symbols`` has a bar for, UTC; one index lookup per symbol and spelling."""
    values = {"ids": [s.symbol_id for s in symbols], "spellings": list(interval.spellings)}
    row = connection.execute(_SELECT_NEWEST_BAR, values).fetchone()
    return row[0].astimezone(UTC) if row and row[0] else None


def has_later_bars(connection: Connection, symbols: Sequence[Symbol], interval: Interval, moment: datetime) -> bool:
    """Whether a sample of ``symbols`` has bars after ``moment``: if not, there are few or none."""
    step = max(1, len(symbols) // _SAMPLED_SYMBOLS)
    ids = [symbol.symbol_id for symbol in symbols[::step]]
    values = {"ids": ids, "spellings": list(interval.spellings), "moment": moment}
    return bool(connection.execute(_HAS_LATER_BARS.encode(), values).fetchall()[0][0])


def read_oldest_bar(connection: Connection, symbols: Sequence[Symbol], interval: Interval) -> datetime | None:
    """The oldest slot that any of ``symbols`` has a bar for, UTC; one index lookup per symbol and spelling."""
    values = {"ids": [s.symbol_id for s in symbols], "spellings": list(interval.spellings)}
    row = connection.execute(_SELECT_OLDEST_BAR, values).fetchone()
    return row[0].astimezone(UTC) if row and row[0] else None


def read_publications(
    connection: Connection, interval: Interval, source: Interval, sessions: Sequence[Session]
) -> dict[date, tuple[int, datetime, datetime]]:
    """By day of an exchange's sessions: how many symbols were seen published, the first when, and the last (UTC)."""
    if not sessions:
        return {}
    values = {"interval": interval.name, "source": source.name, "days": [session.day for session in sessions]}
    rows = connection.execute(_SELECT_PUBLICATIONS.encode(), {**values, **list_names(sessions[0].exchange)})
    return {day: (seen, first.astimezone(UTC), last.astimezone(UTC)) for day, seen, first, last in rows}


def count_symbols_with_bar(
    connection: Connection, symbol_ids: Sequence[int], interval: Interval, slots: Sequence[datetime]
) -> dict[datetime, int]:
    """How many of some symbols have a bar in each slot (start, UTC); slots without one are left out."""
    values = {"ids": list(symbol_ids), "spellings": list(interval.spellings), "slots": list(slots)}
    return {slot.astimezone(UTC): count for slot, count in connection.execute(_COUNT_SYMBOLS, values)}


def read_provenance(
    connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid
) -> dict[tuple[int, int], Provenance]:
    """By symbol_id and position of the session in ``grid``; sessions without bars are left out."""
    values = {
        "opens": [s.rows_from for s in grid.sessions],
        "closes": [s.close for s in grid.sessions],
        "ids": [s.symbol_id for s in symbols],
        "spellings": list(grid.interval.spellings),
    }
    rows = connection.execute(_SELECT_PROVENANCE, values)
    return {(key, session): Provenance(*rest) for key, session, *rest in rows}
