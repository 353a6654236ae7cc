"""What the months lack that are not over: sessions that are not settled are measured, settled ones only if need be.

The counts of a month hold bars of both. Those of the measured sessions are known slot by slot, so they are taken off;
what is left is compared with the calendar, as all of a month that is over is.
"""

from dataclasses import replace

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.expected_months import (
    count_minutes_in_month,
    count_months,
    group_by_month,
)
from backfill_assets.market.gaps.monthly_coverage import MonthlyCoverage, split_by_month
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.census.month_counts import MonthCounts
from backfill_assets.quality.census.scope import HistoryScope
from backfill_assets.quality.census.whole_store import LackingMonths, StoredMonths, join_months, read_month_counts
from backfill_assets.store.coverage import measure_coverage
from backfill_assets.store.postgres.connection import Connection


def find_lacking_newest(connection: Connection, stored: StoredMonths) -> LackingMonths:
    """The months that are not over and lack a bar; all of it is measured, or proven by the counts."""
    scope = stored.scope
    first = scope.closed_months
    if first == len(scope.monthly.months) or not scope.symbols:
        return join_months([])
    rows = np.arange(len(scope.symbols))
    settled = scope.settled_sessions
    unsettled = measure_sessions(connection, scope, rows, settled, len(scope.grid.sessions))
    counts = read_month_counts(connection, stored, rows, first, len(scope.monthly.months))
    left = _take_off(counts, unsettled, scope, first)
    doubtful = np.flatnonzero((~left.is_proven & (left.expected.slots > 0)).any(axis=1))
    begin, _ = scope.find_sessions(first)
    parts = [_list_lacking(scope, rows, settled, unsettled, first)]
    if len(doubtful) and begin < settled:
        measured = measure_sessions(connection, scope, doubtful, begin, settled)
        parts.append(_list_lacking(scope, doubtful, begin, measured, first))
    return join_months(parts)


def measure_sessions(connection: Connection, scope: HistoryScope, rows: Int64, begin: int, end: int) -> Coverage:
    """Measure some symbols in the scope's sessions from position ``begin`` until before ``end``."""
    grid = build_slot_grid(scope.grid.sessions[begin:end], scope.interval)
    symbols = [scope.symbols[row] for row in rows.tolist()]
    return measure_coverage(connection, symbols, grid, scope.source, scope.rules, scope.now, only_states=True)


def split_measured(scope: HistoryScope, rows: Int64, begin: int, coverage: Coverage) -> tuple[Int64, MonthlyCoverage]:
    """The months of a measured coverage, counted from January 1970, and what its symbols lack in each."""
    monthly = group_by_month(coverage.grid)
    begins = scope.begins[rows] - int(scope.grid.session_offsets[begin])
    return monthly.months, split_by_month(coverage, monthly, begins)


def _list_lacking(scope: HistoryScope, rows: Int64, begin: int, coverage: Coverage, first: int) -> LackingMonths:
    """What was measured to lack in months from position ``first`` on; a session may begin in the month before."""
    months, measured = split_measured(scope, rows, begin, coverage)
    row, month = np.nonzero((measured.missing > 0) & (months >= scope.monthly.months[first]))
    missing = measured.missing[row, month]
    return LackingMonths(rows[row], months[month], missing, np.zeros(len(row), bool))


def _take_off(counts: MonthCounts, unsettled: Coverage, scope: HistoryScope, first: int) -> MonthCounts:
    """The counts without the bars of sessions that are not settled, which ``unsettled`` knows."""
    slots, grid, life = unsettled.open_slots, unsettled.grid, unsettled.absence_evidence
    begins = grid.session_offsets[np.minimum(life.first_session, len(grid.sessions))]
    ends = grid.session_offsets[np.clip(life.last_session + 1, 0, len(grid.sessions))]
    ordinals = np.arange(grid.size)
    has_bar = (ordinals >= begins[:, None]) & (ordinals < ends[:, None])  # shape (symbols, slots)
    is_absent, is_provisional = (slots.stored_state == one for one in (SlotState.MISSING, SlotState.PROVISIONAL))
    has_bar[slots.row[is_absent], slots.ordinal[is_absent]] = False
    has_provisional = np.zeros_like(has_bar)
    has_provisional[slots.row[is_provisional], slots.ordinal[is_provisional]] = True
    is_of_month = (count_months(grid.starts)[:, None] == scope.monthly.months[first:]).astype(np.int64)
    provisional = has_provisional @ is_of_month
    squares = count_minutes_in_month(grid.starts)[:, None] ** 2
    return replace(
        counts,
        bars=counts.bars - (has_bar @ is_of_month - provisional),
        provisional=counts.provisional - provisional,
        square_sum=counts.square_sum - has_bar @ (is_of_month * squares),
    )
