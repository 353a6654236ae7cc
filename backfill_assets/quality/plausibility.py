"""The check that no bar is in doubt for long, and why bars of a window are suspect. Doubts are opened elsewhere.

Rules and their codes are in ``market.plausibility``, doubts are stored in ``store.evidence.doubts``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np

from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.criteria import MAX_OFFENDERS, Criterion
from backfill_assets.store.evidence.daily_prices import count_settled_rows
from backfill_assets.store.evidence.doubts import StoredDoubt, list_doubts
from backfill_assets.store.postgres.connection import Connection, Database

BARS_ARE_PLAUSIBLE = "bars_are_plausible"
OPEN_FOR = timedelta(days=1)  # a younger doubt is asked about again first
SOURCE_ROWS = "source_rows"  # the reason of bars without a doubt: rows are absent or were rejected (docs/states.md)


def evaluate_plausibility(database: Database, coverage: Coverage, style: MomentStyle = UTC_STYLE) -> Criterion:
    """Evaluate ``bars_are_plausible`` over the window of a coverage, for its symbols."""
    with database.transaction() as connection:
        doubts = _list_window_doubts(connection, coverage)
        ids = [symbol.symbol_id for symbol in coverage.symbols]
        settled_days = count_settled_rows(connection, ids, coverage.grid.sessions) if coverage.grid.sessions else 0
    return check_bars_are_plausible(doubts, coverage, settled_days, style)


def check_bars_are_plausible(
    doubts: Sequence[StoredDoubt], coverage: Coverage, settled_days: int, style: MomentStyle = UTC_STYLE
) -> Criterion:
    """No doubt of the window is open for more than a day; one that stands, or that a person decided, is no alarm.

    Args:
        doubts: those that mark bars of the window.
        coverage: the state of every slot in the window.
        settled_days: how many days of its symbols and sessions have settled daily data, which bars are compared with.
        style: how moments are shown.
    """
    open_doubts = [doubt for doubt in doubts if doubt.is_open]
    overdue = [doubt for doubt in open_doubts if coverage.now - doubt.opened_at >= OPEN_FOR]
    own_bars = coverage.count_slots(SlotState.PRESENT) + coverage.count_slots(SlotState.SUSPECT)
    if not own_bars and not doubts:
        return Criterion.create_not_judged(BARS_ARE_PLAUSIBLE, "no final bar of the window was built from vendor rows")
    compared = (
        f"{format_count(settled_days, 'settled day')} of the daily data"
        if settled_days
        else "no settled daily data, so their own rows alone are judged"
    )
    by_rule = f": {', '.join(list_rule_counts(count_rules(overdue)))}" if overdue else ""
    waiting = len(open_doubts) - len(overdue)
    return Criterion(
        name=BARS_ARE_PLAUSIBLE,
        passed=not overdue,
        figure=len(overdue),
        threshold=0,
        meaning=f"{format_count(len(overdue), 'doubt has', 'doubts have')} been open for more than a day{by_rule}"
        f" ({len(doubts) - len(open_doubts):,} ended with their bars marked, {waiting:,} younger; {own_bars:,} bars,"
        f" {compared})" + ("; to decide: backfill-assets decisions list" if overdue else ""),
        offenders=tuple(_describe_offenders(overdue, coverage, style)),
    )


def count_rules(doubts: Sequence[StoredDoubt]) -> Counter[str]:
    """How many doubts each rule has."""
    return Counter(str(doubt.rule) for doubt in doubts)


def list_rule_counts(counts: Mapping[str, int]) -> list[str]:
    """``6 price_spike`` for each rule, the most frequent first."""
    return [f"{count:,} {rule}" for rule, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def count_open_doubts(connection: Connection, coverage: Coverage) -> Counter[str]:
    """How many open doubts of a coverage's window each rule has."""
    return count_rules([doubt for doubt in _list_window_doubts(connection, coverage) if doubt.is_open])


def read_suspect_reasons(connection: Connection, coverage: Coverage) -> dict[int, dict[str, int]]:
    """Why bars are suspect: symbol_id → reason → number of suspect bars of the window.

    A reason is the code of a rule, or ``SOURCE_ROWS`` for bars without a doubt. A bar can have several.
    """
    is_suspect = coverage.has_state(SlotState.SUSPECT)
    rows = coverage.open_slots.row[is_suspect]
    starts = coverage.grid.starts[coverage.open_slots.ordinal[is_suspect]]
    row_by_id = {symbol.symbol_id: row for row, symbol in enumerate(coverage.symbols)}
    reasons: dict[int, dict[str, int]] = {}
    is_doubted = np.zeros(len(rows), bool)
    for doubt in _list_window_doubts(connection, coverage) if len(rows) else ():
        first, last = doubt.first_slot.timestamp(), doubt.last_slot.timestamp()
        affected = (rows == row_by_id[doubt.symbol_id]) & (starts >= first) & (starts <= last)
        is_doubted |= affected
        counts = reasons.setdefault(doubt.symbol_id, {})
        counts[str(doubt.rule)] = counts.get(str(doubt.rule), 0) + int(affected.sum())
    for row, count in zip(*np.unique(rows[~is_doubted], return_counts=True), strict=True):
        reasons.setdefault(coverage.symbols[row].symbol_id, {})[SOURCE_ROWS] = int(count)
    return {key: {reason: n for reason, n in counts.items() if n} for key, counts in reasons.items()}


def _list_window_doubts(connection: Connection, coverage: Coverage) -> list[StoredDoubt]:
    sessions = coverage.grid.sessions
    if not sessions:
        return []
    ids = [symbol.symbol_id for symbol in coverage.symbols]
    return list_doubts(connection, ids, coverage.grid.interval, sessions[0].day, sessions[-1].day)


def _describe_offenders(doubts: Sequence[StoredDoubt], coverage: Coverage, style: MomentStyle) -> list[str]:
    """One text for each symbol and session, the session doubted most often first."""
    names = {symbol.symbol_id: str(symbol.ticker) for symbol in coverage.symbols}
    groups: dict[tuple[str, str], list[StoredDoubt]] = {}
    for doubt in doubts:
        groups.setdefault((names[doubt.symbol_id], str(doubt.session_day)), []).append(doubt)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        f"{ticker} {day} ({', '.join(list_rule_counts(count_rules(found)))}"
        f" since {style.format_minute(min(doubt.opened_at for doubt in found))})"
        for (ticker, day), found in ordered[:MAX_OFFENDERS]
    ]
