"""Which session days of each symbol were ever requested, and where its bars and its listing begin and end.

By whole days; the state of single slots is measured in ``store.coverage``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.forex_calendar import get_day_begin
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.evidence.known_lives import KNOWN_LIVES
from backfill_assets.store.exchanges import get_zone_name
from backfill_assets.store.postgres.array_reader import read_columns, to_postgres_days, to_unix_seconds
from backfill_assets.store.postgres.connection import Connection

_HAS_EVIDENCE = "SELECT EXISTS (SELECT FROM backfill.session_evidence WHERE interval_type = %(interval)s)"
_SELECT_REQUESTED_DAYS = """
SELECT symbol_id, session_day, data_until IS NULL AS is_empty, (symbol_id, session_day) IN (
    SELECT r.symbol_id, (r.timestamp AT TIME ZONE %(zone)s - %(day_begin)s)::date FROM backfill.rejects r
    WHERE r.reason = 'refused_by_table' AND r.resolved_at IS NULL AND r.interval_type = %(interval)s) AS is_refused
FROM backfill.session_evidence
WHERE interval_type = %(interval)s AND session_day BETWEEN %(first)s AND %(last)s
"""
_REQUESTED_DAYS_TYPES = {"symbol_id": ">i4", "session_day": ">i4", "is_empty": ">i1", "is_refused": ">i1"}
_SELECT_FIRST_BARS = """
SELECT u.symbol_id, coalesce(m.timestamp, '-infinity') AS first_bar_at
FROM unnest(%(ids)s::int[]) AS u (symbol_id) CROSS JOIN LATERAL (
    SELECT min(d.timestamp) AS timestamp FROM unnest(%(spellings)s::text[]) AS s (spelling) CROSS JOIN LATERAL (
        SELECT timestamp FROM market_data d
        WHERE d.symbol_id = u.symbol_id AND d.interval_type = s.spelling AND d.timestamp >= %(opened_at)s
        ORDER BY timestamp LIMIT 1
    ) d
) m
"""
_FIRST_BARS_TYPES = {"symbol_id": ">i4", "first_bar_at": ">i8"}
_SELECT_LIVES = f"""
SELECT symbol_id, coalesce(first_day, '-infinity') AS first_day,
       CASE WHEN has_ended AND last_day IS NOT NULL THEN last_day ELSE 'infinity' END AS last_day
FROM {KNOWN_LIVES} l
"""  # noqa: S608 - only a constant is inserted
_LIVES_TYPES = {"symbol_id": ">i4", "first_day": ">i4", "last_day": ">i4"}
_SELECT_CLOSURES = """
SELECT day FROM backfill.exchange_closures WHERE exchange = %(exchange)s AND day BETWEEN %(first)s AND %(last)s
"""


@dataclass(frozen=True, eq=False)
class RequestedDays:
    """What is known of each symbol and session day, all of the shape (symbols, days) but the last.

    Attributes:
        requested: whether the day was ever requested.
        empty: whether it was requested and the vendor returned nothing.
        refused: whether ``market_data`` refused a bar of it and lacks it still.
        listed: whether the symbol is listed on the day, and the market was open.
        first_bar_at: epoch seconds of each symbol's first bar from the first day on, NaN without one; shape (symbols,).
    """

    requested: Bools
    empty: Bools
    refused: Bools
    listed: Bools
    first_bar_at: "np.ndarray[tuple[int], np.dtype[np.float64]]"


def has_any_evidence(connection: Connection, interval: Interval) -> bool:
    """Whether anything was ever requested at this interval."""
    row = connection.execute(_HAS_EVIDENCE, {"interval": interval.name}).fetchone()
    return bool(row and row[0])


def read_requested_days(
    connection: Connection, symbols: Sequence[Symbol], interval: Interval, sessions: Sequence[Session]
) -> RequestedDays:
    """Read what was requested of ``symbols``, all of one exchange, in its ``sessions``, ascending and at least one.

    Evidence of any source interval counts.
    """
    days = [session.day for session in sessions]
    index = SymbolIndex.from_symbols(symbols)
    known_days = to_postgres_days(days)
    values: dict[str, object] = {
        "interval": interval.name,
        "first": days[0],
        "last": days[-1],
        "exchange": sessions[0].exchange,
        "zone": get_zone_name(sessions),
        "day_begin": get_day_begin(sessions[0].market.calendar),
    }
    found = read_columns(connection, _SELECT_REQUESTED_DAYS, values, _REQUESTED_DAYS_TYPES)
    row, day = index.find_rows(found["symbol_id"]), np.searchsorted(known_days, found["session_day"])
    day = np.minimum(day, len(days) - 1)
    is_known = (row >= 0) & (known_days[day] == found["session_day"])
    requested = np.zeros((index.size, len(days)), bool)
    requested[row[is_known], day[is_known]] = True
    empty = np.zeros_like(requested)
    empty[row[is_known], day[is_known]] = found["is_empty"][is_known].astype(bool)
    refused = np.zeros_like(requested)
    refused[row[is_known], day[is_known]] = found["is_refused"][is_known].astype(bool)
    return RequestedDays(
        requested,
        empty,
        refused,
        _read_listed(connection, index, known_days, values),
        _read_first_bars(connection, index, interval, sessions[0].open),
    )


def _read_listed(connection: Connection, index: SymbolIndex, known_days: Int64, values: dict[str, object]) -> Bools:
    listed = np.ones((index.size, len(known_days)), bool)
    lives = read_columns(connection, _SELECT_LIVES, {}, _LIVES_TYPES)
    row = index.find_rows(lives["symbol_id"])
    is_known = row >= 0
    first, last = lives["first_day"][is_known, None], lives["last_day"][is_known, None]
    listed[row[is_known]] = (first <= known_days) & (known_days <= last)
    closed = to_postgres_days([day for (day,) in connection.execute(_SELECT_CLOSURES, values)])
    listed[:, np.isin(known_days, closed)] = False
    return listed


def _read_first_bars(
    connection: Connection, index: SymbolIndex, interval: Interval, opened_at: datetime
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    values = {
        "ids": index.format_array(np.arange(index.size)),
        "spellings": list(interval.spellings),
        "opened_at": opened_at,
    }
    found = read_columns(connection, _SELECT_FIRST_BARS, values, _FIRST_BARS_TYPES)
    first_bar_at = np.full(index.size, np.nan)
    first_bar_at[index.get_rows(found["symbol_id"])] = to_unix_seconds(found["first_bar_at"])
    return first_bar_at
