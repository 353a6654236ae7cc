"""Read what explains absent bars: past requests, thin symbols, daily data, listing lives, days without a session.

The values are in ``market.gaps.evidence``; ``evidence_writer``, ``daily_prices`` and ``daily_data`` write what
is read here.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Bools, Floats, Int8, Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session, list_next_sessions
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.exchanges.learned import DailyFigure
from backfill_assets.market.exchanges.profile import DailyEvidence
from backfill_assets.market.gaps.evidence import AbsenceEvidence, DayTrading, RequestHistory
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.slot_states import OpenSlots, SlotState
from backfill_assets.store.bars.gap_queries import NEWEST_SESSIONS
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.evidence.daily_prices import NO_ROW_AS_USUAL, NOT_IN_MARKET_FILE
from backfill_assets.store.evidence.halts import read_found_halts
from backfill_assets.store.evidence.known_lives import KNOWN_LIVES
from backfill_assets.store.evidence.refusals import read_refused_slots
from backfill_assets.store.evidence.slot_baseline import read_baseline
from backfill_assets.store.learning import has_unclear_rows, may_judge_daily_data
from backfill_assets.store.postgres.array_reader import read_columns, to_postgres_days, to_unix_seconds
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.postgres.multiranges import expand_multiranges
from backfill_assets.store.symbol_counts import count_rows

# What is recorded of a ticker's listings may change which ticker is asked: sessions without any row begin anew.
_SELECT_EVIDENCE = """
SELECT symbol_id, session_day, requested_at, request_count, is_published,
       coalesce(CASE WHEN no_new_data_since IS NULL OR data_until IS NOT NULL THEN no_new_data_since
                ELSE greatest(no_new_data_since, l.recorded_at) END, '-infinity') AS no_new_data_since,
       coalesce(data_until, '-infinity') AS data_until, coalesce(published_at, '-infinity') AS published_at,
       NOT isempty(not_returned) AS has_not_returned,
       CASE WHEN NOT isempty(not_returned) THEN not_returned::text END AS not_returned
FROM backfill.session_evidence LEFT JOIN (
    SELECT symbol_id, max(recorded_at) AS recorded_at FROM backfill.listings WHERE withdrawn_at IS NULL GROUP BY 1
) l USING (symbol_id)
WHERE interval_type = %(interval)s AND source_interval = %(source)s
"""
_SELECT_REQUEST_HISTORY = f"""
{_SELECT_EVIDENCE} AND session_day = ANY (%(newest)s){{without_others}}
UNION ALL
{_SELECT_EVIDENCE} AND session_day >= %(first)s AND session_day < %(newest_first)s AND symbol_id = ANY (%(open)s::int[])
"""
_REQUEST_HISTORY_TYPES = {
    "symbol_id": ">i4", "session_day": ">i4", "requested_at": ">i8", "request_count": ">i4", "is_published": ">i1",
    "no_new_data_since": ">i8", "data_until": ">i8", "published_at": ">i8", "has_not_returned": ">i1",
    "not_returned": "text",
}  # fmt: skip
_WITHOUT_OTHERS = " AND symbol_id <> ALL (%(others)s::int[])"  # rows of other exchanges
_SELECT_DAILY = """
SELECT symbol_id, day, CASE WHEN no_row_reason = %(not_in_file)s THEN %(not_in_file_code)s
       WHEN no_row_reason = %(as_usual)s THEN %(as_usual_code)s
       WHEN reported_volume IS NULL AND read_at IS NOT NULL THEN %(unknown_code)s -- a volume that is absent is not 0
       ELSE (volume > 0)::int END AS traded
FROM backfill.daily_prices
WHERE symbol_id = ANY (%(open)s::int[]) AND day BETWEEN %(first)s AND %(last)s
"""
_DAILY_CODES = {
    "not_in_file": NOT_IN_MARKET_FILE,
    "not_in_file_code": int(DayTrading.NOT_IN_MARKET_FILE),
    "as_usual": NO_ROW_AS_USUAL,
    "as_usual_code": int(DayTrading.NO_ROW_AS_USUAL),
    "unknown_code": int(DayTrading.UNKNOWN),
}
_DAILY_TYPES = {"symbol_id": ">i4", "day": ">i4", "traded": ">i4"}
_SELECT_LISTING_LIVES = f"""
SELECT symbol_id, coalesce(first_day, '-infinity') AS first_day, coalesce(last_day, 'infinity') AS last_day,
       has_ended
FROM {KNOWN_LIVES} l
"""  # noqa: S608 - only a constant is inserted
_LISTING_LIVES_TYPES = {"symbol_id": ">i4", "first_day": ">i4", "last_day": ">i4", "has_ended": ">i1"}
_SELECT_UNSERVED = """
SELECT u.symbol_id, extract(epoch FROM (
    SELECT max(e.requested_at) FROM backfill.session_evidence e
    WHERE e.symbol_id = u.symbol_id AND e.interval_type = %(interval)s AND e.source_interval = %(source)s))::float8
FROM backfill.unserved_symbols u
LEFT JOIN LATERAL (SELECT true AS found FROM market_data d
                   WHERE d.symbol_id = u.symbol_id AND d.is_final IS NOT FALSE LIMIT 1) bar ON true
WHERE u.ended_at IS NULL AND bar.found IS NULL
"""
_SELECT_CLOSURES = """
SELECT day FROM backfill.exchange_closures
WHERE exchange = %(exchange)s AND day BETWEEN %(first)s AND %(last)s ORDER BY day
"""


def read_evidence(
    connection: Connection,
    symbol_index: SymbolIndex,
    grid: SlotGrid,
    source: Interval,
    slots: OpenSlots,
    rules: GapRules,
    now: datetime,
    *,
    only_states: bool = False,
) -> tuple[RequestHistory, AbsenceEvidence]:
    """Read everything that ``market.gaps.slot_states`` needs about absent bars, over the sessions of ``grid``.

    Of symbols without open ``slots`` only requests for the newest sessions are read, which show whether those are
    published; nothing else about them explains anything. Requests for symbols of other exchanges show nothing. With
    ``only_states`` what symbols lacked in earlier sessions is read only of those whose states depend on it: it is most
    of the time in the hours in which the newest session is absent for all. Sessions that have been overdue at ``now``
    for longer than any bar is asked for often, and have newer ones after them, have no newest ones then.
    """
    if not symbol_index.size or not grid.sessions:
        empty = AbsenceEvidence.create_empty(symbol_index.size, len(grid.sessions))
        return RequestHistory.create_empty(), empty
    days, market = [s.day for s in grid.sessions], grid.sessions[0].market
    newest = days[-NEWEST_SESSIONS:]  # older sessions are overdue anyway
    if only_states and _is_long_past(grid.sessions[-1], rules, now):
        newest = []
    active, others = count_rows(connection, market.exchange)
    values: dict[str, Any] = {
        "exchange": market.exchange,
        "others": others,
        "open": symbol_index.format_array(np.unique(slots.row)),
        "interval": grid.interval.name,
        "source": source.name,
        "first": days[0],
        "last": days[-1],
        "newest": newest,
        "newest_first": newest[0] if newest else days[-1] + timedelta(days=1),
    }
    statement = _SELECT_REQUEST_HISTORY.format(without_others=_WITHOUT_OTHERS if others else "")
    history = read_columns(connection, statement, values, _REQUEST_HISTORY_TYPES)
    explained = values
    if only_states:
        explained = values | {"open": symbol_index.format_array(_find_judged_by_habit(history, symbol_index, slots))}
    baseline = read_baseline(connection, explained, symbol_index, grid, slots, rules)
    first_session, last_session = read_life_bounds(connection, symbol_index, days)
    half_count = max(1, (active + 1) // 2)
    first_published_at, half_published_at = _find_publication_times(history, len(newest), half_count, grid)
    evidence = AbsenceEvidence(
        incomplete_sessions=baseline.incomplete_sessions,
        published_sessions=baseline.published_sessions,
        traded=_read_traded(connection, values, symbol_index, grid),
        first_session=first_session,
        last_session=last_session,
        first_published_at=first_published_at,
        half_published_at=half_published_at,
        closed=_read_closed_sessions(connection, values, grid),
        refused=read_refused_slots(connection, symbol_index, grid),
        unserved_asked_at=_read_unserved(connection, values, symbol_index),
        halts=read_found_halts(connection, symbol_index, grid),
        judges_by_daily=may_judge_daily_data(connection, market, DailyFigure.TRADING),
        judges_by_habit=market.has_thin_symbols and not has_unclear_rows(connection, market, source),
        slot_baseline=baseline.slots,
        holes=baseline.holes,
    )
    return _build_request_history(history, symbol_index, grid), evidence


def _is_long_past(session: Session, rules: GapRules, now: datetime) -> bool:
    """Whether no look until ``now`` counts a session among the newest; after a long closure one still does."""
    if rules.compute_overdue_at(session) + rules.retry_schedule.vendor_gap_after >= now:
        return False
    # The last one that has opened may be too new for a window.
    return len(list_next_sessions(session, NEWEST_SESSIONS + 1, now)) > NEWEST_SESSIONS


def _find_judged_by_habit(history: dict[str, NDArray[Any]], symbol_index: SymbolIndex, slots: OpenSlots) -> Int64:
    """The rows of symbols of which an open slot may have another state because they often lack it.

    It was requested and not returned, or its bar is suspect (``slot_states``, where habits are used).
    """
    lacking = symbol_index.find_rows(history["symbol_id"][history["has_not_returned"].astype(bool)])
    suspect = slots.row[slots.stored_state == SlotState.SUSPECT]
    rows: Int64 = np.intersect1d(slots.row, np.concatenate([lacking, suspect]))
    return rows


def _find_sessions(days: NDArray[Any], grid: SlotGrid) -> Int64:
    """The position of each day's session, −1 for a day without one."""
    known = to_postgres_days([s.day for s in grid.sessions])
    position = np.searchsorted(known, days)
    return np.where(np.r_[known, -1][position] == days, position, -1)


def _read_traded(connection: Connection, values: dict[str, Any], symbol_index: SymbolIndex, grid: SlotGrid) -> Int8:
    """Whether the daily data show volume (see ``AbsenceEvidence.traded``), shape (symbols, sessions)."""
    found = read_columns(connection, _SELECT_DAILY, values | _DAILY_CODES, _DAILY_TYPES)
    session = _find_sessions(found["day"], grid)
    in_grid = session >= 0
    traded = np.full((symbol_index.size, len(grid.sessions)), -1, np.int8)
    traded[symbol_index.get_rows(found["symbol_id"])[in_grid], session[in_grid]] = found["traded"][in_grid]
    if any(session.market.daily_evidence is DailyEvidence.CARRIED_FORWARD for session in grid.sessions[:1]):
        # Recorded before that was known of the exchange: every day has a row there, so its absence says nothing.
        traded[np.isin(traded, (DayTrading.NOT_IN_MARKET_FILE, DayTrading.NO_ROW_AS_USUAL))] = DayTrading.UNKNOWN
    return traded


def read_life_bounds(connection: Connection, symbol_index: SymbolIndex, days: Sequence[date]) -> tuple[Int64, Int64]:
    """The first and the last session of each symbol's listing life, positions in ``days``; shape (symbols,) each."""
    found = read_columns(connection, _SELECT_LISTING_LIVES, {}, _LISTING_LIVES_TYPES)
    row, session_days = symbol_index.find_rows(found["symbol_id"]), to_postgres_days(days)
    is_known = row >= 0  # the table also has symbols outside this universe
    has_ended = found["has_ended"].astype(bool) & is_known
    first, last = np.zeros(symbol_index.size, np.int64), np.full(symbol_index.size, len(days), np.int64)
    first[row[is_known]] = np.searchsorted(session_days, found["first_day"])[is_known]
    last[row[has_ended]] = np.searchsorted(session_days, found["last_day"], side="right")[has_ended] - 1
    return first, last


def read_closures(connection: Connection, exchange: str, first: date, last: date) -> list[date]:
    """Days of an exchange's calendar, both bounds included, on which it was closed all the same; ascending."""
    values = {"exchange": exchange, "first": first, "last": last}
    return [day for (day,) in connection.execute(_SELECT_CLOSURES, values)]


def _read_unserved(connection: Connection, values: dict[str, Any], symbol_index: SymbolIndex) -> Floats:
    """See ``AbsenceEvidence.unserved_asked_at``."""
    found = connection.execute(_SELECT_UNSERVED, values).fetchall()
    row = symbol_index.find_rows(np.array([symbol_id for symbol_id, _ in found], np.int64))
    asked_at = np.array([-np.inf if at is None else at for _, at in found], float)[row >= 0]
    if not len(asked_at):
        return np.zeros(0)
    unserved_asked_at = np.full(symbol_index.size, np.nan)
    unserved_asked_at[row[row >= 0]] = asked_at
    return unserved_asked_at


def _read_closed_sessions(connection: Connection, values: dict[str, Any], grid: SlotGrid) -> Bools:
    """Sessions of the calendar that the market did not hold, shape (sessions,)."""
    closed = np.zeros(len(grid.sessions), bool)
    for day in read_closures(connection, values["exchange"], values["first"], values["last"]):
        closed[_find_sessions(to_postgres_days([day]), grid)] = True
    return closed


def _find_publication_times(
    found: dict[str, NDArray[Any]], newest: int, half_count: int, grid: SlotGrid
) -> tuple[Floats, Floats]:
    """When the first and the ``half_count``-th symbol of the exchange was seen published, shape (sessions,) each.

    Epoch seconds; NaN before, and for all but the ``newest`` sessions.
    """
    first_at, half_at = np.full(len(grid.sessions), np.nan), np.full(len(grid.sessions), np.nan)
    session, seen_at = _find_sessions(found["session_day"], grid), to_unix_seconds(found["published_at"])
    for position in range(len(grid.sessions) - newest, len(grid.sessions)):
        published_at = np.sort(seen_at[(session == position) & (found["is_published"] == 1)])
        if len(published_at):
            first_at[position] = published_at[0]
        if len(published_at) >= half_count:
            half_at[position] = published_at[half_count - 1]
    return first_at, half_at


def _build_request_history(found: dict[str, NDArray[Any]], symbol_index: SymbolIndex, grid: SlotGrid) -> RequestHistory:
    """The history of the universe, out of the requests for all symbols of the exchange."""
    row, session = symbol_index.find_rows(found["symbol_id"]), _find_sessions(found["session_day"], grid)
    owner, within = expand_multiranges(found["not_returned"].tolist())
    entry = np.flatnonzero(found["has_not_returned"])[owner]  # only those entries have a text of ``not_returned``
    is_known = (row >= 0) & (session >= 0)
    is_known_entry = is_known[entry]
    new_position = np.cumsum(is_known) - 1  # of each entry, once the unknown ones are dropped
    return RequestHistory(
        row=row[is_known],
        session=session[is_known],
        requested_at=np.rint(to_unix_seconds(found["requested_at"])).astype(np.int64)[is_known],
        request_count=found["request_count"].astype(np.int64)[is_known],
        no_new_data_since=to_unix_seconds(found["no_new_data_since"])[is_known],
        published=found["is_published"].astype(bool)[is_known],
        data_until=np.rint(np.nan_to_num(to_unix_seconds(found["data_until"]))).astype(np.int64)[is_known],
        published_at=to_unix_seconds(found["published_at"])[is_known],
        not_returned_entry=new_position[entry[is_known_entry]],
        not_returned_ordinal=within[is_known_entry] + grid.session_offsets[session[entry[is_known_entry]]],
    )
