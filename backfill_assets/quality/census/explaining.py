"""Brings what is stored beside the counts of months up to date, a bounded step at a time.

A step takes away what new evidence refutes, writes what the calendar expects of symbols where that changed, and
measures months that are over and neither complete by proof nor measured, the newest first. Measurements are repeated
after a week, because not everything that can change one is noted: other tickers show which slots nobody has. One
process works on a database at a time; whoever finds another one leaves it to that.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.gaps.expected_months import count_expected
from backfill_assets.quality.census.month_counts import to_first_day, to_months
from backfill_assets.quality.census.newest_months import measure_sessions, split_measured
from backfill_assets.quality.census.scope import HistoryScope
from backfill_assets.quality.census.whole_store import (
    build_scopes,
    examine_stored_months,
    find_lacking_months,
)
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.census.evidence_changes import (
    MAX_APPLIED,
    apply_evidence_changes,
    try_lock_explanations,
)
from backfill_assets.store.census.explained import (
    Explanation,
    forget_explained,
    write_expected,
    write_explained,
)
from backfill_assets.store.census.open_months import list_measured_before
from backfill_assets.store.census.reader import CensusMonths, read_census
from backfill_assets.store.census.scopes import read_scopes, write_scopes
from backfill_assets.store.postgres.connection import Connection, Database

MAX_WRITTEN = 60_000  # months of a step whose expected bars are written: a second or two
MAX_MEASURED = 100_000  # symbol-sessions of a step that are measured
REPEATED_AFTER = timedelta(days=7)
MAX_REPEATED = 2000  # months of a step


@dataclass(frozen=True, slots=True)
class ExplainedStep:
    """What a step did.

    Attributes:
        changes: new evidence that was looked at.
        symbols: whose expected bars were written.
        measured: months that were measured.
        is_last: whether nothing is left to do.
    """

    changes: int
    symbols: int
    measured: int
    is_last: bool


def explain_months(
    database: Database, scope: HistoryScope, *, max_measured: int = MAX_MEASURED
) -> ExplainedStep | None:
    """One step for the symbols of a scope; None while another process is at it.

    ``max_measured``: about how many symbol-sessions are measured.
    """
    with database.transaction() as guard:
        if not try_lock_explanations(guard):
            return None
        with database.transaction() as connection:
            changes = apply_evidence_changes(connection)
        symbols, is_written = _write_expected(database, scope)
        measured, is_measured = _measure(database, scope, max_measured) if scope.closed_months else (0, True)
    return ExplainedStep(changes, symbols, measured, is_written and is_measured and changes < MAX_APPLIED)


def _write_expected(database: Database, scope: HistoryScope) -> tuple[int, bool]:
    """Write what the calendar expects of symbols of which that, or the rules, changed; how many, and whether of all."""
    count = scope.closed_months
    if not count:
        return 0, True
    wanted = build_scopes(scope)
    with database.transaction() as connection:
        stored = read_scopes(connection, scope.interval)
        others = np.flatnonzero(~wanted.find_same(stored))
        rows = others[: max(1, MAX_WRITTEN // count)]
        if not len(rows):
            return 0, True
        expected = count_expected(scope.monthly, scope.begins[rows], scope.settled_ends[rows])
        ids = scope.symbol_index.symbol_ids
        forgotten = rows[~wanted.select(rows).find_same(stored, "basis")]
        forget_explained(connection, scope.interval, ids[forgotten].tolist(), date.min, date.max)
        # A month in which nothing is expected of a symbol is never looked at, whatever its row says.
        row, month = np.nonzero(expected.slots[:, :count])
        sums = expected.slots[row, month], expected.square_sum[row, month]
        write_expected(connection, scope.interval, ids[rows[row]], scope.monthly.months[month], *sums)
        write_scopes(connection, scope.interval, wanted.select(rows))
    return len(rows), len(rows) == len(others)


def _measure(database: Database, scope: HistoryScope, max_measured: int) -> tuple[int, bool]:
    """Measure months that may lack bars, the newest first; how many, and whether all. Then old ones again."""
    with database.snapshot() as connection:
        stored = examine_stored_months(connection, scope)
        lacking = find_lacking_months(connection, stored)
        is_waiting = lacking.is_unmeasured & stored.is_written[lacking.row]
        rows, months = lacking.row[is_waiting], lacking.month[is_waiting]
        done, left = _measure_months(database, connection, scope, rows, months, max_measured)
        if left > 0:
            _measure_months(database, connection, scope, *_list_repeated(connection, scope), left)
    return done, done == lacking.is_unmeasured.sum()


def _measure_months(
    database: Database, connection: Connection, scope: HistoryScope, rows: Int64, months: Int64, left: int
) -> tuple[int, int]:
    """Measure months of symbols, about ``left`` symbol-sessions; how many months, and how much was not used."""
    done = 0
    for month in np.unique(months)[::-1].tolist():
        begin, end = scope.find_sessions(int(np.searchsorted(scope.monthly.months, month)))
        chosen = np.sort(rows[months == month])[: max(1, left // (end - begin))]
        explained = _explain(connection, scope, chosen, month)
        with database.transaction() as writing:
            write_explained(writing, scope.interval, *explained, scope.now)
        done, left = done + len(chosen), left - len(chosen) * (end - begin)
        if left <= 0:
            break
    return done, left


def _list_repeated(connection: Connection, scope: HistoryScope) -> tuple[Int64, Int64]:
    """Months that were measured too long ago, as rows of the scope and months since January 1970."""
    months = to_first_day(int(scope.monthly.months[0])), to_first_day(scope.last_closed_month)
    index, before = scope.symbol_index, scope.now - REPEATED_AFTER
    found = list_measured_before(connection, scope.interval, index.symbol_ids, months, before, MAX_REPEATED)
    return index.get_rows(found.symbol_id), to_months(found.month)


def _explain(connection: Connection, scope: HistoryScope, rows: Int64, month: int) -> tuple[CensusMonths, Explanation]:
    """Measure one month (since January 1970) of some symbols: its counts, and what a look at its bars says."""
    ids = SymbolIndex(scope.symbol_index.symbol_ids[rows])
    counts = read_census(connection, ids.symbol_ids.tolist(), scope.interval, *[to_first_day(month)] * 2)
    begin, end = scope.find_sessions(int(np.searchsorted(scope.monthly.months, month)))
    months, measured = split_measured(scope, rows, begin, measure_sessions(connection, scope, rows, begin, end))
    cell = ids.get_rows(counts.symbol_id), np.searchsorted(months, month)
    explanation = Explanation(
        no_trade=measured.no_trade[cell],
        vendor_gap=measured.vendor_gap[cell],
        missing=measured.missing[cell],
        suspect=measured.suspect[cell],
    )
    return counts, explanation
