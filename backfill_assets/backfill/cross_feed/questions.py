"""Finds what the other feed is asked: doubts, halts that are not final, and slots whose absence is not usual.

Only what the first feed was asked again once, and has not given; a session that may only be late is not asked about
(``market.gaps.ask_times``). What both feeds lack is asked again on a ladder
(``market.gaps.halts``); nothing else is asked twice while nothing changed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.intervals import INTERVALS, Interval
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.gaps.ask_times import find_awaited
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.evidence import look_up
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.halts import compute_next_request
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.market.gaps.thin_symbols import is_thin, is_usual
from backfill_assets.market.plausibility.other_feed import ASKED_RULES
from backfill_assets.store.evidence.doubts import Outcome, StoredDoubt, list_doubts
from backfill_assets.store.evidence.other_feed_answers import AskedSlot, read_asked_slots
from backfill_assets.store.postgres.connection import Connection

MIN_REQUESTS = 2  # of the first feed, before the other is asked


@dataclass(frozen=True, slots=True)
class TickerQuestions:
    """What the other feed is asked about one symbol.

    Attributes:
        symbol: the symbol.
        row: its position in the coverage.
        ordinals: absent slots, positions in the coverage's grid, ascending.
        doubts: doubts about stored bars.
    """

    symbol: Symbol
    row: int
    ordinals: tuple[int, ...] = ()
    doubts: tuple[StoredDoubt, ...] = field(default=())


def get_other_feed(source: Interval) -> Interval:
    """The feed that is asked about bars built from ``source``: 1m about 5m, and 5m about 1m."""
    return INTERVALS["5m" if source.name == "1m" else "1m"]


def find_questions(
    connection: Connection, coverage: Coverage, source: Interval, rules: GapRules, other_rules: GapRules
) -> list[TickerQuestions]:
    """What to ask now, the symbols with doubts first, then those with the newest absent slot.

    Args:
        connection: with a transaction open.
        coverage: measured after the run's requests.
        source: interval of the rows that the bars are built from.
        rules: when absent slots of that feed count.
        other_rules: when those of the other feed do.
    """
    other, grid, symbols = get_other_feed(source), coverage.grid, coverage.symbols
    if not grid.size or not symbols:
        return []
    is_published = np.array([other_rules.compute_askable_at(s) <= coverage.now for s in grid.sessions], bool)
    askable = _find_absent(coverage, rules) & is_published[grid.session_index[coverage.open_slots.ordinal]]
    row, ordinal = coverage.open_slots.row[askable], coverage.open_slots.ordinal[askable]
    ids = [symbols[at].symbol_id for at in np.unique(row).tolist()]
    asked = read_asked_slots(connection, ids, grid, other) if ids else {}
    halted = set(_find_due_halts(coverage).tolist())
    keys = grid.get_slot_keys(row, ordinal)
    leaders = _find_leaders(row, ordinal, coverage)
    is_open = [
        key in halted or _is_due(asked.get((symbols[at].symbol_id, start)), coverage.now)
        for key, at, start in zip(keys.tolist(), row.tolist(), grid.starts[leaders].tolist(), strict=True)
    ]
    doubts = _list_doubts(connection, coverage, source, is_published)
    return _group(coverage, row[is_open], ordinal[is_open], doubts)


def _find_absent(coverage: Coverage, rules: GapRules) -> Bools:
    """Which open slots the first feed lacks after it was asked twice, and the symbol usually has; (open slots,)."""
    slots, history, evidence, grid = (
        coverage.open_slots,
        coverage.request_history,
        coverage.absence_evidence,
        coverage.grid,
    )
    entries = history.build_entry_index(len(coverage.symbols), len(grid.sessions))
    entry = entries[slots.row, grid.session_index[slots.ordinal]]
    key = grid.get_slot_keys(slots.row, slots.ordinal)
    is_absent = (slots.stored_state == SlotState.MISSING) & ~np.isin(key, evidence.refused)
    state = coverage.slot_states.state
    is_unexplained = np.isin(state, (SlotState.MISSING, SlotState.VENDOR_GAP)) | np.isin(key, _find_due_halts(coverage))
    was_asked_again = look_up(history.request_count, entry, default=0) >= MIN_REQUESTS
    # A symbol that was never seen published may have no intraday data at all, and one request more shows nothing.
    is_served = ~evidence.is_unserved[slots.row] & (evidence.published_sessions[slots.row] > 0)
    not_returned = grid.get_slot_keys(history.row[history.not_returned_entry], history.not_returned_ordinal)
    found: Bools = is_absent & is_unexplained & was_asked_again & is_served & np.isin(key, not_returned)
    overdue_at = np.array([at.timestamp() for at in coverage.overdue_at])
    is_awaited = find_awaited(history, entries, evidence, grid, overdue_at, coverage.now.timestamp())
    found &= ~is_awaited[slots.row, grid.session_index[slots.ordinal]]
    is_thin_slot = is_thin(slots.row, entry, history, evidence, rules)
    # What is usual for the symbol needs no second feed. What nobody has would take all its calls.
    is_skipped = np.isin(slots.ordinal, evidence.holes)
    has_bar = np.zeros(len(slots.row), bool)
    is_skipped |= is_usual(slots.row, slots.ordinal, has_bar, grid, evidence.slot_baseline, rules)
    found &= ~(is_thin_slot & is_skipped)
    return found


def _find_leaders(row: Int64, ordinal: Int64, coverage: Coverage) -> Int64:
    """The slot whose ladder each absent slot follows, as an ordinal, shape (slots,): mostly itself.

    Sessions newer than all rows of a symbol may only be late. They follow the oldest of them, so that a symbol that the
    vendor is late with for days is not asked once more for each of them.
    """
    history, session = coverage.request_history, coverage.grid.session_index[ordinal]
    newest = np.full(len(coverage.symbols), -1, np.int64)
    has_rows = history.data_until > 0
    np.maximum.at(newest, history.row[has_rows], history.session[has_rows])
    is_newer = session > newest[row]
    oldest = np.full(len(coverage.symbols), coverage.grid.size, np.int64)
    np.minimum.at(oldest, row[is_newer], ordinal[is_newer])
    return np.where(is_newer, oldest[row], ordinal)


def _find_due_halts(coverage: Coverage) -> Int64:
    """The slot keys of halts that are to be asked again by now."""
    halts = coverage.absence_evidence.halts
    return halts.slot_key[halts.next_request_at <= coverage.now.timestamp()]


def _is_due(asked: AskedSlot | None, now: datetime) -> bool:
    """Whether an absent slot is asked now; one that was taken, and is absent again, is new.

    A moment in the future comes from a mistaken --as-of, and holds nothing up.
    """
    if asked is None or asked.answer == "taken" or asked.asked_at > now:
        return True
    next_at = compute_next_request(asked.first_asked_at, asked.asked_at)
    return next_at is not None and next_at <= now


def _list_doubts(
    connection: Connection, coverage: Coverage, source: Interval, is_published: Bools
) -> list[StoredDoubt]:
    """Doubts about this program's bars of the first feed that the vendor repeated, and that are to be asked now."""
    sessions = coverage.grid.sessions
    published_days = {session.day for session, known in zip(sessions, is_published, strict=True) if known}
    ids = [symbol.symbol_id for symbol in coverage.symbols]
    found = list_doubts(connection, ids, coverage.grid.interval, sessions[0].day, sessions[-1].day)
    return [
        doubt
        for doubt in found
        if doubt.rule in ASKED_RULES
        and doubt.source_interval == source.name
        and doubt.repeats >= MIN_REQUESTS - 1
        and (doubt.is_open or doubt.outcome is Outcome.STANDS)
        and not doubt.from_audit
        and doubt.session_day in published_days
        and _is_doubt_due(doubt, coverage.now)
    ]


def _is_doubt_due(doubt: StoredDoubt, now: datetime) -> bool:
    said: Mapping[str, str] | None = doubt.other_feed
    if said is None or said["values_hash"] != doubt.values_hash:
        return True
    if said["answer"] != "no_rows":
        return False
    first, last = (datetime.fromisoformat(said[at]) for at in ("first_asked_at", "asked_at"))
    if last > now:
        return True
    next_at = compute_next_request(first, last)
    return next_at is not None and next_at <= now


def _group(coverage: Coverage, row: Int64, ordinal: Int64, doubts: Sequence[StoredDoubt]) -> list[TickerQuestions]:
    row_by_id = {symbol.symbol_id: at for at, symbol in enumerate(coverage.symbols)}
    slots_by_row: dict[int, list[int]] = defaultdict(list)
    doubts_by_row: dict[int, list[StoredDoubt]] = defaultdict(list)
    for at, slot in zip(row.tolist(), ordinal.tolist(), strict=True):
        slots_by_row[at].append(slot)
    for doubt in doubts:
        doubts_by_row[row_by_id[doubt.symbol_id]].append(doubt)
    questions = [
        TickerQuestions(coverage.symbols[at], at, tuple(sorted(slots_by_row[at])), tuple(doubts_by_row[at]))
        for at in sorted({*slots_by_row, *doubts_by_row})
    ]
    return sorted(questions, key=lambda asked: (not asked.doubts, -max(asked.ordinals, default=0)))


def find_sessions(questions: TickerQuestions, coverage: Coverage) -> Iterable[int]:
    """The sessions (positions in the coverage's grid) that the questions are about."""
    position_by_day = {session.day: at for at, session in enumerate(coverage.grid.sessions)}
    yield from (int(coverage.grid.session_index[slot]) for slot in questions.ordinals)
    yield from (position_by_day[doubt.session_day] for doubt in questions.doubts)
