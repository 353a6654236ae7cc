"""Finds halts among the slots that both feeds lack: collects the facts that ``market.gaps.halts`` judges."""

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date, datetime

import numpy as np

from backfill_assets.backfill.cross_feed.request import AFTER_CLOSE, BEFORE_OPEN, CrossFeedRequest
from backfill_assets.market.arrays import Floats, Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.learned import DailyFigure
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.halts import (
    ROWS_INSIDE,
    HaltFacts,
    HaltKind,
    HaltState,
    compute_next_request,
    compute_usual_share,
    describe_halt,
    find_enclosed,
    judge_halt,
)
from backfill_assets.market.gaps.thin_symbols import is_thin
from backfill_assets.market.vendor import IntradayRows
from backfill_assets.store.evidence.halt_facts import (
    AskedSession,
    count_lacking,
    find_enclosing_sessions,
    read_daily_volumes,
)
from backfill_assets.store.evidence.halts import StoredHalt, list_halts
from backfill_assets.store.learning import may_judge_daily_data
from backfill_assets.store.postgres.connection import Connection
from backfill_assets.store.symbols import list_symbols


@dataclass(frozen=True, eq=False)
class HaltQuestion:
    """Slots of one symbol that both feeds lack.

    Attributes:
        request: what the other feed was asked.
        rows: its answer.
        ordinals: positions in the coverage's grid.
        coverage: measured before the other feed was asked.
        source: the first feed.
        other: the other feed.
        rules: when absent slots of the first feed count, and which symbols are thin.
        now: the moment, UTC.
    """

    request: CrossFeedRequest
    rows: IntradayRows
    ordinals: Int64
    coverage: Coverage
    source: Interval
    other: Interval
    rules: GapRules
    now: datetime

    @property
    def symbol_id(self) -> int:
        """The symbol."""
        return self.request.questions.symbol.symbol_id

    @property
    def trades(self) -> Int64:
        """The stamps of the other feed's rows with volume, ascending."""
        return np.sort(self.rows.timestamp[self.rows.volume > 0])


def find_halts(connection: Connection, question: HaltQuestion) -> list[StoredHalt]:
    """What the evidence says about each slot that may be a halt; none about slots that one feed does not enclose."""
    kinds = {**_find_enclosed_slots(connection, question), **_find_outside_hours(question)}
    shown = _find_shown_trades(question)
    kinds = {ordinal: kind for ordinal, kind in kinds.items() if ordinal not in shown}
    known = _list_known(connection, question)
    judged = _judge_slots(connection, question, kinds, known) if kinds else []
    # A rarely traded symbol lacks slots every day: nobody could answer for each of them.
    thin = _find_thin_days(question, kinds)
    judged = [halt for halt in judged if halt.state is not HaltState.PROPOSED or halt.session_day not in thin]
    return [*judged, *_ask_on(question, kinds.keys() | shown, known)]


def _find_shown_trades(question: HaltQuestion) -> Set[int]:
    """The ordinals of slots in which a row of the first feed shows a trade, although it made no bar."""
    slots, row = question.coverage.open_slots, question.request.questions.row
    if slots.is_unexcused is None:
        return frozenset()
    return frozenset(slots.ordinal[(slots.row == row) & slots.is_unexcused].tolist())


def _find_thin_days(question: HaltQuestion, ordinals: Collection[int]) -> Set[date]:
    """The days of slots by whose other sessions the symbol is rarely traded."""
    coverage, history = question.coverage, question.coverage.request_history
    session = np.unique(coverage.grid.session_index[list(ordinals)]) if ordinals else np.zeros(0, np.int64)
    row = np.full(len(session), question.request.questions.row, np.int64)
    entries = history.build_entry_index(len(coverage.symbols), len(coverage.grid.sessions))
    thin = is_thin(row, entries[row, session], history, coverage.absence_evidence, question.rules)
    return {coverage.grid.sessions[at].day for at in session[thin].tolist()}


def _list_known(connection: Connection, question: HaltQuestion) -> dict[datetime, StoredHalt]:
    """What is known about halts of the sessions asked about, by the start of the slot."""
    grid = question.coverage.grid
    days = [grid.sessions[at].day for at in grid.session_index[list(question.request.questions.ordinals)].tolist()]
    if not days:
        return {}
    halts = list_halts(connection, [question.symbol_id], grid.interval, min(days), max(days))
    return {halt.timestamp: halt for halt in halts}


def _ask_on(question: HaltQuestion, judged: Set[int], known: Mapping[datetime, StoredHalt]) -> list[StoredHalt]:
    """Halts that were asked about again and that these answers do not enclose.

    That one side is absent now, as where the request ends with the halted session, disproves nothing: the halt was
    asked again, and stays. Rows inside disprove it.
    """
    grid, halts = question.coverage.grid, []
    for ordinal in set(question.request.questions.ordinals) - judged:
        halt = known.get(to_datetime(int(grid.starts[ordinal])))
        if halt is None or halt.state is HaltState.REFUTED:
            continue
        has_rows = np.diff(np.searchsorted(question.trades, [grid.starts[ordinal], grid.ends[ordinal]])).item() > 0
        if has_rows:
            halt = replace(halt, state=HaltState.REFUTED, reason=ROWS_INSIDE, next_request_at=None)
        elif halt.state is HaltState.FOUND:
            halt = replace(halt, next_request_at=compute_next_request(halt.found_at, question.now))
        halts.append(replace(halt, asked_at=question.now))
    return halts


def _judge_slots(
    connection: Connection,
    question: HaltQuestion,
    kinds: Mapping[int, HaltKind],
    known: Mapping[datetime, StoredHalt],
) -> list[StoredHalt]:
    """What the evidence says about the slots of ``kinds``, given by ordinal."""
    grid, coverage = question.coverage.grid, question.coverage
    ordinals = sorted(kinds)
    sessions = [int(grid.session_index[ordinal]) for ordinal in ordinals]
    asked = [
        AskedSession(
            grid.sessions[session].day,
            ordinal - int(grid.session_offsets[session]),
            to_datetime(int(grid.starts[ordinal])),
            bool(coverage.is_session_overdue[session]),
        )
        for ordinal, session in zip(ordinals, sessions, strict=True)
    ]
    exchange = question.request.questions.symbol.ticker.exchange
    others = [
        symbol.symbol_id for symbol in list_symbols(connection, exchange) if symbol.symbol_id != question.symbol_id
    ]
    counts = count_lacking(connection, asked, others, grid.interval, question.source, question.rules)
    shares = _read_shares(connection, question, {item.day for item in asked})
    facts = [
        HaltFacts(kinds[ordinal], seen, lacking, *shares[item.day])
        for ordinal, item, (seen, lacking) in zip(ordinals, asked, counts, strict=True)
    ]
    return [
        _build_halt(question, ordinal, item.day, fact, known)
        for ordinal, item, fact in zip(ordinals, asked, facts, strict=True)
    ]


def _find_enclosed_slots(connection: Connection, question: HaltQuestion) -> dict[int, HaltKind]:
    """The slots with trades on both sides, and none inside, in one answer of each feed; by ordinal."""
    grid, ordinals = question.coverage.grid, question.ordinals
    is_enclosed = find_enclosed(grid.starts[ordinals], grid.ends[ordinals], question.trades)
    candidates = ordinals[is_enclosed]
    sessions = np.unique(grid.session_index[candidates]).tolist()
    days = [grid.sessions[session].day for session in sessions]
    enclosing = find_enclosing_sessions(connection, question.symbol_id, days, grid.interval, question.source)
    found: dict[int, HaltKind] = {}
    for session, day in zip(sessions, days, strict=True):
        of_session = candidates[grid.session_index[candidates] == session]
        trades = _list_returned(question, session, *enclosing.get(day, (False, False)))
        chosen = of_session[find_enclosed(grid.starts[of_session], grid.ends[of_session], trades)]
        found |= dict.fromkeys(chosen.tolist(), HaltKind.HALT)
    return found


def _list_returned(question: HaltQuestion, session: int, has_earlier: bool, has_later: bool) -> Int64:
    """The starts of the slots that the first feed's answer about a session held, with one for each side beyond it."""
    grid, history = question.coverage.grid, question.coverage.request_history
    lacking = history.not_returned_ordinal[history.row[history.not_returned_entry] == question.request.questions.row]
    slots = np.arange(grid.session_offsets[session], grid.session_offsets[session + 1])
    returned = grid.starts[slots[~np.isin(slots, lacking)]]
    earlier = grid.session_opens[[session]] - 1 if has_earlier else returned[:0]
    later = grid.session_closes[[session]] if has_later else returned[:0]
    return np.concatenate([earlier, returned, later])


def _find_outside_hours(question: HaltQuestion) -> dict[int, HaltKind]:
    """The slots of whole sessions whose day has trades of 1m before the open or after the close only; by ordinal."""
    grid, trades = question.coverage.grid, question.trades
    if question.other.name != "1m":  # 5m has regular hours only (docs/vendor.md §2.7)
        return {}
    found: dict[int, HaltKind] = {}
    for session in np.unique(grid.session_index[question.ordinals]).tolist():
        slots = np.arange(grid.session_offsets[session], grid.session_offsets[session + 1])
        opens, closes = grid.sessions[session].rows_from.timestamp(), grid.sessions[session].close.timestamp()
        first, last = opens - BEFORE_OPEN.total_seconds(), closes + AFTER_CLOSE.total_seconds()
        before, inside, after = np.diff(np.searchsorted(trades, [first, opens, closes, last])).tolist()
        if np.isin(slots, question.ordinals).all() and not inside and before + after:
            found |= dict.fromkeys(slots.tolist(), HaltKind.OUTSIDE_HOURS)
    return found


def _read_shares(
    connection: Connection, question: HaltQuestion, days: set[date]
) -> Mapping[date, tuple[float | None, float | None, float | None]]:
    """Of each of ``days``: its daily volume, the share of it that 1m has, and the usual share; None for unknown."""
    context = question.request.context
    if not may_judge_daily_data(connection, context[0].market, DailyFigure.VOLUME):
        return dict.fromkeys(days, (None, None, None))
    context_days = [session.day for session in context]
    daily = read_daily_volumes(connection, question.symbol_id, context_days, context[0].market.zone)
    of_feed = _sum_volumes(question.rows, question.request) if question.other.name == "1m" else None
    shares = {
        session.day: float(of_feed[at]) / daily[session.day]
        for at, session in enumerate(context)
        if of_feed is not None and daily.get(session.day)
    }
    usual = compute_usual_share(np.array([share for day, share in shares.items() if day not in days], float))
    return {day: (daily.get(day), shares.get(day), usual) for day in days}


def _sum_volumes(rows: IntradayRows, request: CrossFeedRequest) -> Floats:
    """The volume of each session of the context, all hours, shape (sessions,)."""
    first = np.array([(session.open - BEFORE_OPEN).timestamp() for session in request.context])
    last = np.array([(session.close + AFTER_CLOSE).timestamp() for session in request.context])
    session = np.searchsorted(first, rows.timestamp, side="right") - 1
    is_inside = (session >= 0) & (rows.timestamp < last[session]) & (rows.volume > 0)
    volumes: Floats = np.bincount(session[is_inside], rows.volume[is_inside], minlength=len(first)).astype(np.float64)
    return volumes


def _build_halt(
    question: HaltQuestion, ordinal: int, day: date, facts: HaltFacts, known: Mapping[datetime, StoredHalt]
) -> StoredHalt:
    grid, state = question.coverage.grid, judge_halt(facts)
    start = to_datetime(int(grid.starts[ordinal]))
    earlier = known.get(start)
    found_at = earlier.found_at if earlier is not None and earlier.state is state else question.now
    return StoredHalt(
        symbol_id=question.symbol_id,
        interval_type=grid.interval.name,
        timestamp=start,
        session_day=day,
        kind=facts.kind,
        state=state,
        reason=describe_halt(facts, state),
        tickers_seen=facts.tickers_seen,
        tickers_lacking=facts.tickers_lacking,
        volume_share=facts.volume_share,
        usual_share=facts.usual_share,
        found_at=found_at,
        asked_at=question.now,
        next_request_at=compute_next_request(found_at, question.now) if state is HaltState.FOUND else None,
    )


def list_no_rows(slots: Mapping[int, str], ordinals: Sequence[int], starts: Int64) -> Int64:
    """Of the slots asked about (positions in a grid with ``starts``), those of which the other feed has no row."""
    return np.array([at for at in ordinals if slots[int(starts[at])] == "no_rows"], np.int64)
