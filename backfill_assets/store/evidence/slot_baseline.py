"""Reads what symbols with open slots lacked in their last published sessions, and which slots nobody has.

What that explains is decided in ``market.gaps.thin_symbols``; ``evidence_reader`` reads all other evidence.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.session_fingerprint import compute_session_fingerprint
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.equal_runs import sort_distinct
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.gaps.evidence import SlotBaseline
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.slot_states import OpenSlots, SlotState
from backfill_assets.market.gaps.thin_symbols import MIN_TICKERS_FOR_HOLE
from backfill_assets.store.bars.gap_queries import SUSPECT_SHARE
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.postgres.multiranges import expand_multiranges, parse_multirange

BASELINE_SESSIONS = 20  # published sessions by which a symbol is called thin
_EPOCH_DAY = date(1970, 1, 1)
_NO_SLOTS = np.zeros(0, np.int64)

_NEVER = 2**62  # instead of the moment until which there are rows, where there is nothing after it
# Slot by slot only of symbols that may be thin, whichever of their sessions is left out. Their bars are read only where
# one in the window is suspect: the conditions on ``c`` within the lateral queries keep them from being executed.
_COUNT_BY_SYMBOL = """
SELECT u.symbol_id, count(*) AS published, count(*) FILTER (WHERE NOT isempty(e.not_returned)) AS incomplete,
       min(e.session_day) AS first_day, max(e.session_day) AS last_day,
       %(by_slot)s AND count(*) >= %(min_sessions)s AND
       count(*) FILTER (WHERE NOT isempty(e.not_returned)) >= %(min_share)s * (count(*) - 1) AS may_be_thin
FROM unnest(%(open)s::int[]) AS u (symbol_id) CROSS JOIN LATERAL (
    SELECT session_day, not_returned FROM backfill.session_evidence
    WHERE symbol_id = u.symbol_id AND interval_type = %(interval)s AND source_interval = %(source)s
      AND session_day <= %(last)s AND is_published
    ORDER BY session_day DESC LIMIT %(sessions)s
) e GROUP BY u.symbol_id
"""
_SELECT_BASELINE = """
SELECT c.symbol_id, c.published, c.incomplete, a.days, a.absent, a.cuts, b.starts, b.covered
FROM c LEFT JOIN LATERAL (
    SELECT array_agg(e.session_day - date '1970-01-01') AS days, array_agg(e.not_returned::text) AS absent,
           array_agg(extract(epoch FROM e.data_until)::bigint) FILTER (WHERE e.ends_before_close) AS cuts
    FROM backfill.session_evidence e
    WHERE c.may_be_thin AND e.symbol_id = c.symbol_id AND e.interval_type = %(interval)s
      AND e.source_interval = %(source)s AND e.session_day BETWEEN c.first_day AND c.last_day AND e.is_published
) a ON true LEFT JOIN LATERAL (
    SELECT array_agg(extract(epoch FROM m.timestamp)::bigint) AS starts, array_agg(m.covered) AS covered
    FROM (SELECT d.timestamp, d.source_rows * CASE d.source_interval WHEN '1m' THEN 60 ELSE 300 END AS covered
          FROM market_data d
          WHERE c.may_be_thin AND c.symbol_id = ANY (%(suspect)s::int[])
            AND d.symbol_id = c.symbol_id AND d.interval_type = ANY (%(spellings)s) AND d.is_final
            AND d.timestamp >= c.first_day - 1 AND d.timestamp < c.last_day + 2) m
    WHERE m.covered <= %(half)s
) b ON true
"""
# What was written by other hours numbers other slots.
_SELECT_FINGERPRINTS = """
SELECT NULL::int, 0::bigint, 0::bigint, ARRAY[f.session_day - date '1970-01-01'], ARRAY[f.fingerprint], NULL::bigint[],
       NULL::bigint[], NULL::int[]
FROM backfill.session_fingerprints f
WHERE f.exchange = %(exchange)s AND f.session_day <= %(last)s
  AND f.session_day >= (SELECT min(first_day) FROM c WHERE may_be_thin)
"""
# On most days some ticker has every slot, and no more of that day is read. The tickers are sorted by how far their rows
# reach, so that one of them shows beyond which slots enough of them have rows.
_SELECT_HOLES = f"""
SELECT NULL::int, h.tickers, 0::bigint, ARRAY[d.day - date '1970-01-01'], ARRAY[h.absent::text], ARRAY[h.reached],
       NULL::bigint[], NULL::int[]
FROM unnest(%(hole_days)s::date[]) AS d (day) CROSS JOIN LATERAL (
    SELECT count(*) AS tickers, range_intersect_agg(e.not_returned) AS absent,
           (array_agg(e.reached ORDER BY e.reached DESC))[{MIN_TICKERS_FOR_HOLE}] AS reached
    FROM (SELECT not_returned, CASE WHEN is_published THEN {_NEVER} ELSE extract(epoch FROM data_until)::bigint END
                               AS reached
          FROM backfill.session_evidence
          WHERE session_day = d.day AND interval_type = %(interval)s AND source_interval = %(source)s
            AND (is_published OR data_until IS NOT NULL) AND symbol_id <> ALL (%(others)s::int[])) e
) h
WHERE (SELECT true FROM backfill.session_evidence
       WHERE session_day = d.day AND interval_type = %(interval)s AND source_interval = %(source)s
         AND is_published AND isempty(not_returned) AND symbol_id <> ALL (%(others)s::int[]) LIMIT 1) IS NULL
  AND h.tickers >= {MIN_TICKERS_FOR_HOLE} AND NOT isempty(h.absent)
"""  # noqa: S608 - only constants are inserted
_SELECT_ALL = f"""
WITH c AS MATERIALIZED ({_COUNT_BY_SYMBOL})
{_SELECT_BASELINE} UNION ALL {_SELECT_FINGERPRINTS} UNION ALL {_SELECT_HOLES}
"""


@dataclass(frozen=True, eq=False)
class BaselineFacts:
    """What is known by earlier sessions, and by the other symbols of the exchange.

    Attributes:
        published_sessions: how many of each symbol's last published sessions are known, shape (symbols,).
        incomplete_sessions: how many of those lacked a slot, shape (symbols,).
        slots: what those of symbols that may be thin lacked, slot by slot.
        holes: ordinals of slots of the window that none of many tickers has, ascending.
    """

    published_sessions: Int64
    incomplete_sessions: Int64
    slots: SlotBaseline
    holes: Int64


@dataclass(frozen=True, slots=True)
class Hole:
    """Slots of one session that none of many tickers has: ordinals of a grid, and how many tickers were asked."""

    ordinals: tuple[int, ...]
    tickers: int


def read_baseline(
    connection: Connection,
    values: dict[str, Any],
    symbol_index: SymbolIndex,
    grid: SlotGrid,
    slots: OpenSlots,
    rules: GapRules,
) -> BaselineFacts:
    """Read it in one statement; without open slots there is nothing to explain, and nothing is read.

    Args:
        connection: with a transaction open.
        values: ``exchange``, ``open`` (symbol_ids with open slots), ``others`` (symbol_ids of other exchanges),
            ``interval``, ``source`` and ``last`` (the last day of the window).
        symbol_index: the symbols looked at.
        grid: the slots of the window; it has sessions.
        slots: those without a trusted final bar.
        rules: from when a symbol is thin.
    """
    if not len(slots.row):
        none = np.zeros(symbol_index.size, np.int64)
        return BaselineFacts(none, none, SlotBaseline(), _NO_SLOTS)
    market = grid.sessions[0].market
    absent_count = np.bincount(slots.ordinal[slots.stored_state == SlotState.MISSING], minlength=grid.size)
    without_bar = np.flatnonzero(absent_count == symbol_index.size)  # else somebody has the slot
    suspect_rows = np.unique(slots.row[slots.stored_state == SlotState.SUSPECT])
    parameters = values | {
        "by_slot": market.has_thin_symbols,
        "sessions": BASELINE_SESSIONS,
        "min_sessions": rules.thin_min_sessions,
        "min_share": rules.thin_min_share,
        "suspect": symbol_index.format_array(suspect_rows),
        "spellings": list(grid.interval.spellings),
        "half": int(SUSPECT_SHARE * grid.interval.seconds),
        "hole_days": [grid.sessions[at].day for at in np.unique(grid.session_index[without_bar]).tolist()],
    }
    found = connection.execute(_SELECT_ALL.encode(), parameters).fetchall()
    of_symbols = [line for line in found if line[0] is not None]
    holes = _list_holes([line for line in found if line[0] is None and line[1]], grid)
    fingerprints = {line[3][0]: line[4][0] for line in found if line[0] is None and not line[1]}
    row = symbol_index.get_rows(np.array([line[0] for line in of_symbols], np.int64))
    published, incomplete = np.zeros(symbol_index.size, np.int64), np.zeros(symbol_index.size, np.int64)
    published[row], incomplete[row] = [line[1] for line in of_symbols], [line[2] for line in of_symbols]
    lacking = sorted((at, *line[3:]) for at, line in zip(row.tolist(), of_symbols, strict=True) if line[3] is not None)
    return BaselineFacts(
        published_sessions=published,
        incomplete_sessions=incomplete,
        slots=_build_slots(lacking, market, grid, fingerprints),
        holes=np.intersect1d([ordinal for hole in holes for ordinal in hole.ordinals], without_bar).astype(np.int64),
    )


def find_holes(connection: Connection, grid: SlotGrid, source: Interval, others: Sequence[int]) -> list[Hole]:
    """The slots of a grid that none of many tickers of its exchange has, by session, oldest first.

    Args:
        connection: with a transaction open.
        grid: the slots.
        source: the vendor's interval that the bars are built from.
        others: symbol_ids of other exchanges.
    """
    values = {
        "hole_days": [session.day for session in grid.sessions],
        "interval": grid.interval.name,
        "source": source.name,
        "others": list(others),
    }
    return _list_holes(connection.execute(_SELECT_HOLES.encode(), values).fetchall(), grid)


def _list_holes(found: Iterable[Sequence[Any]], grid: SlotGrid) -> list[Hole]:
    position_by_day = {(session.day - _EPOCH_DAY).days: at for at, session in enumerate(grid.sessions)}
    holes = {}
    for _, tickers, _, (day,), (absent,), (reached,), *_ in found:
        first, after = grid.session_offsets[position_by_day[day] :][:2].tolist()
        within = [at for begin, end in parse_multirange(absent) for at in range(begin, end)]
        ordinals = tuple(first + at for at in within if first + at < after and grid.ends[first + at] < reached)
        if ordinals:
            holes[day] = Hole(ordinals, tickers)
    return [holes[day] for day in sorted(holes)]


def _build_slots(
    found: Sequence[Sequence[Any]], market: MarketProfile, window: SlotGrid, fingerprints: Mapping[int, str]
) -> SlotBaseline:
    """``found`` has for each symbol, ascending: its row, and the last five columns of ``_SELECT_BASELINE``."""
    if not found:
        return SlotBaseline()
    days = np.unique(np.concatenate([np.array(line[1], np.int64) for line in found]))
    grid = build_slot_grid(_list_sessions(market, days.tolist(), fingerprints), window.interval)
    if not grid.size:
        return SlotBaseline()
    known_days = grid.session_days.astype(np.int64)
    is_published = np.zeros((len(found), len(grid.sessions)), bool)
    absent, sparse = [], []
    for position, (row, own_days, lacking, cuts, starts, covered) in enumerate(found):
        session = np.searchsorted(known_days, own_days)
        is_known = np.append(known_days, -1)[session] == own_days  # not where the calendar has no such session any more
        is_published[position, session[is_known]] = True
        owner, within = expand_multiranges(lacking)
        chosen = is_known[owner]
        chosen[chosen] = within[chosen] < grid.session_sizes[session[owner[chosen]]]
        absent.append(grid.get_slot_keys(np.array(row), grid.session_offsets[session[owner[chosen]]] + within[chosen]))
        ordinals = _find_sparse(grid, starts or [], covered or [], cuts or [])
        ordinals = ordinals[is_published[position, grid.session_index[ordinals]]]
        sparse.append(grid.get_slot_keys(np.array(row), ordinals))
    rows = np.array([line[0] for line in found], np.int64)
    return SlotBaseline(grid, rows, is_published, sort_distinct(*absent), sort_distinct(*sparse))


def _find_sparse(grid: SlotGrid, starts: Sequence[int], covered: Sequence[int], cuts: Sequence[int]) -> Int64:
    """The ordinals of slots whose bar has few source rows (given by start and seconds covered), or is cut."""
    ordinal = grid.find_ordinals(np.array(starts, np.int64))
    is_sparse = (ordinal >= 0) & (np.array(covered, np.int64) <= SUSPECT_SHARE * (grid.ends - grid.starts)[ordinal])
    ends = np.array(cuts, np.int64)
    cut = np.searchsorted(grid.starts, ends) - 1  # the last slot that begins before the rows end
    is_cut = (cut >= 0) & (ends < grid.ends[cut])
    return np.concatenate([ordinal[is_sparse], cut[is_cut]])


def _list_sessions(market: MarketProfile, days: Sequence[int], fingerprints: Mapping[int, str]) -> list[Session]:
    """The sessions of these days (since 1970), ascending, without those that had other hours by their fingerprint.

    The years between them are not read.
    """
    dates = [_EPOCH_DAY + timedelta(days=day) for day in days]
    years = {day.year: (day, day) for day in dates}
    for day in dates:
        first, last = years[day.year]
        years[day.year] = min(first, day), max(last, day)
    known = {_EPOCH_DAY + timedelta(days=day): fingerprints.get(day) for day in days}
    found = (session for first, last in years.values() for session in list_sessions(market, first, last))
    return [
        session
        for session in found
        if session.day in known and known[session.day] in (None, compute_session_fingerprint(session))
    ]
