"""Reading what is known about absence: evidence, thin tickers, daily data, lives, closures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.gaps.evidence import AbsenceEvidence, RequestHistory
from backfill_assets.store.bars.stored_slots import NEWEST_SESSIONS
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.postgres.array_reader import read_columns, to_postgres_days, to_unix_seconds
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.postgres.multiranges import expand_multiranges

BASELINE_SESSIONS = 20

_SELECT_EVIDENCE = """
SELECT symbol_id, session_day, requested_at AS asked_at, request_count AS asks,
       coalesce(no_new_data_since, '-infinity') AS silent_since, is_published AS published,
       coalesce(data_until, '-infinity') AS reached, coalesce(published_at, '-infinity') AS seen_at,
       NOT isempty(not_returned) AS lacks,
       CASE WHEN NOT isempty(not_returned) THEN not_returned::text END AS withheld
FROM backfill.session_evidence
WHERE interval_type = %(interval)s AND source_interval = %(source)s
"""
_SELECT_REQUEST_HISTORY = f"""
{_SELECT_EVIDENCE} AND session_day = ANY (%(newest)s)
UNION ALL
{_SELECT_EVIDENCE} AND session_day >= %(first)s AND session_day < %(newest_first)s AND symbol_id = ANY (%(open)s::int[])
"""
_REQUEST_HISTORY_TYPES = {
    "symbol_id": ">i4", "session_day": ">i4", "asked_at": ">i8", "asks": ">i4", "silent_since": ">i8",
    "published": ">i1", "reached": ">i8", "seen_at": ">i8", "lacks": ">i1", "withheld": "text",
}  # fmt: skip
_SELECT_BASELINE = """
SELECT u.symbol_id, count(*), count(*) FILTER (WHERE NOT isempty(e.not_returned))
FROM unnest(%(open)s::int[]) AS u (symbol_id) CROSS JOIN LATERAL (
    SELECT not_returned FROM backfill.session_evidence
    WHERE symbol_id = u.symbol_id AND interval_type = %(interval)s AND source_interval = %(source)s
      AND session_day <= %(last)s AND is_published
    ORDER BY session_day DESC LIMIT %(sessions)s
) e GROUP BY u.symbol_id
"""
_COUNT_ACTIVE_SYMBOLS = "SELECT count(*) FROM market_symbols WHERE coalesce(is_active, true)"
_SELECT_DAILY = """
SELECT symbol_id, day, volume > 0 AS traded FROM backfill.daily_prices
WHERE symbol_id = ANY (%(open)s::int[]) AND day BETWEEN %(first)s AND %(last)s
"""
_DAILY_TYPES = {"symbol_id": ">i4", "day": ">i4", "traded": ">i1"}
_SELECT_LISTING_LIVES = """
SELECT symbol_id, coalesce(first_day, '-infinity') AS first_day, coalesce(last_day, 'infinity') AS last_day,
       has_ended AS ended
FROM backfill.listing_lives
"""
_LISTING_LIVES_TYPES = {"symbol_id": ">i4", "first_day": ">i4", "last_day": ">i4", "ended": ">i1"}
_SELECT_CLOSURES = "SELECT day FROM backfill.closures WHERE day BETWEEN %(first)s AND %(last)s"


def read_evidence(
    connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid, source: Interval, unfinished_rows: Int64
) -> tuple[RequestHistory, AbsenceEvidence]:
    """Everything that ``market.gaps.slot_states`` judges by, over the sessions of ``grid``.

    ``open_rows`` are the tickers with something to explain. Of the others only what was asked about the newest
    sessions is read, which says whether those are published; nothing else of them explains anything.
    """
    absence_evidence = AbsenceEvidence.create_empty(symbol_index.size, len(grid.sessions))
    if not symbol_index.size or not grid.sessions:
        return _build_empty_history(), absence_evidence
    days = [s.day for s in grid.sessions]
    newest = days[-NEWEST_SESSIONS:]  # for older sessions everything is overdue anyway
    values: dict[str, Any] = {
        "open": symbol_index.format_array(unfinished_rows),
        "interval": grid.interval.name,
        "source": source.name,
        "first": days[0],
        "last": days[-1],
        "sessions": BASELINE_SESSIONS,
        "newest": newest,
        "newest_first": newest[0],
    }
    baseline = np.array(connection.execute(_SELECT_BASELINE, values).fetchall(), np.int64).reshape(-1, 3)
    absence_evidence.published_sessions[symbol_index.get_rows(baseline[:, 0])] = baseline[:, 1]
    absence_evidence.incomplete_sessions[symbol_index.get_rows(baseline[:, 0])] = baseline[:, 2]
    daily = read_columns(connection, _SELECT_DAILY, values, _DAILY_TYPES)
    session = _find_sessions(daily["day"], grid)
    absence_evidence.traded[symbol_index.get_rows(daily["symbol_id"])[session >= 0], session[session >= 0]] = daily[
        "traded"
    ][session >= 0]
    _fill_listing_bounds(
        read_columns(connection, _SELECT_LISTING_LIVES, {}, _LISTING_LIVES_TYPES),
        symbol_index,
        to_postgres_days(days),
        absence_evidence,
    )
    for (day,) in connection.execute(_SELECT_CLOSURES, values):
        absence_evidence.closed[_find_sessions(to_postgres_days([day]), grid)] = True
    history = read_columns(connection, _SELECT_REQUEST_HISTORY, values, _REQUEST_HISTORY_TYPES)
    active = connection.execute(_COUNT_ACTIVE_SYMBOLS).fetchone() or (0,)
    _fill_publication_times(history, len(newest), max(1, (active[0] + 1) // 2), grid, absence_evidence)
    return _build_request_history(history, symbol_index, grid), absence_evidence


def _find_sessions(days: NDArray[Any], grid: SlotGrid) -> Int64:
    """The position of each day's session, −1 for a day without one."""
    known = to_postgres_days([s.day for s in grid.sessions])
    position = np.searchsorted(known, days)
    return np.where(np.r_[known, -1][position] == days, position, -1)


def _fill_listing_bounds(
    found: dict[str, NDArray[Any]], symbol_index: SymbolIndex, days: Int64, absence_evidence: AbsenceEvidence
) -> None:
    """Between which sessions tickers are listed; those of other universes are left out."""
    row = symbol_index.find_rows(found["symbol_id"])
    first = np.searchsorted(days, found["first_day"])
    last = np.searchsorted(days, found["last_day"], side="right") - 1
    ended = found["ended"].astype(bool) & (row >= 0)
    absence_evidence.first_session[row[row >= 0]] = first[row >= 0]
    absence_evidence.last_session[row[ended]] = last[ended]


def _fill_publication_times(
    found: dict[str, NDArray[Any]], newest: int, half_count: int, grid: SlotGrid, absence_evidence: AbsenceEvidence
) -> None:
    """When the first and the ``half``-th ticker of the whole store was seen published, of the newest sessions."""
    session, seen_at = _find_sessions(found["session_day"], grid), to_unix_seconds(found["seen_at"])
    for session_index in range(len(grid.sessions) - newest, len(grid.sessions)):
        published_at = np.sort(seen_at[(session == session_index) & (found["published"] == 1)])
        absence_evidence.first_published_at[session_index] = published_at[0] if len(published_at) else np.nan
        absence_evidence.half_published_at[session_index] = (
            published_at[half_count - 1] if len(published_at) >= half_count else np.nan
        )


def _build_request_history(found: dict[str, NDArray[Any]], symbol_index: SymbolIndex, grid: SlotGrid) -> RequestHistory:
    """What was asked about the universe, out of what was asked about anybody."""
    row, session = symbol_index.find_rows(found["symbol_id"]), _find_sessions(found["session_day"], grid)
    owner, within = expand_multiranges(found["withheld"].tolist())
    entry = np.flatnonzero(found["lacks"])[owner]
    is_known = (row >= 0) & (session >= 0)
    is_known_entry = is_known[entry]
    return RequestHistory(
        row=row[is_known],
        session=session[is_known],
        requested_at=np.rint(to_unix_seconds(found["asked_at"])).astype(np.int64)[is_known],
        request_count=found["asks"].astype(np.int64)[is_known],
        no_new_data_since=to_unix_seconds(found["silent_since"])[is_known],
        published=found["published"].astype(bool)[is_known],
        data_until=np.rint(np.nan_to_num(to_unix_seconds(found["reached"]))).astype(np.int64)[is_known],
        published_at=to_unix_seconds(found["seen_at"])[is_known],
        not_returned_entry=(np.cumsum(is_known) - 1)[entry[is_known_entry]],
        not_returned_ordinal=within[is_known_entry] + grid.session_offsets[session[entry[is_known_entry]]],
    )


def _build_empty_history() -> RequestHistory:
    none = np.zeros(0, np.int64)
    return RequestHistory(
        none, none, none, none, none.astype(float), none.astype(bool), none, none.astype(float), none, none
    )
