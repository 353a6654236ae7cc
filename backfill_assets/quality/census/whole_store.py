"""What the months of a store that are over lack, from the census and the calendar: no bar is looked at.

The counts of each month are compared with the calendar; what absent bars were found to be is stored beside the counts
(``explaining``). Whatever may have changed since counts as missing until it was measured again, so that no store is
called complete that is not. Later sessions are measured, in ``newest_months``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.gaps.expected_months import ExpectedMonths, count_expected, select_proven
from backfill_assets.quality.census.month_counts import (
    UNKNOWN,
    MonthCounts,
    to_first_day,
    to_months,
)
from backfill_assets.quality.census.scope import HistoryScope
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.census.evidence_changes import read_evidence_changes
from backfill_assets.store.census.open_months import read_open_months, read_uncounted, read_unfolded_months
from backfill_assets.store.census.reader import read_census
from backfill_assets.store.census.scopes import CensusScopes, read_scopes
from backfill_assets.store.postgres.connection import Connection

_EPOCH = date(1970, 1, 1)
_NEVER = np.iinfo(np.int64).max
_COUNTED = ("final", "unverified", "provisional", "minute_squares")
_KNOWN = ("expected", "expected_squares", "no_trade", "vendor_gap", "missing")


@dataclass(frozen=True, eq=False)
class LackingMonths:
    """Months of symbols that lack a bar or were not measured; arrays of the shape (months,).

    Attributes:
        row: the symbol, a position in the scope's symbols.
        month: counted from January 1970.
        missing: how many bars lack; of a month that was not measured, how many are absent.
        is_unmeasured: whether a measurement may find fewer.
    """

    row: Int64
    month: Int64
    missing: Int64
    is_unmeasured: Bools

    @property
    def is_missing(self) -> Bools:
        """Whether a measurement says that bars lack; of other months it may explain each one that is absent."""
        is_missing: Bools = (self.missing > 0) & ~self.is_unmeasured
        return is_missing


@dataclass(frozen=True, eq=False)
class StoredMonths:
    """How far what is stored about a scope's months still holds; arrays of the shape (symbols,).

    Attributes:
        scope: what the store must hold.
        is_current: whether all that is stored of the symbol's months that are over holds.
        is_written: whether what the calendar expects of it now is stored.
        has_rules: whether measurements of it were made by the rules that hold now.
        changed_from: the month (since January 1970) from which on something new is known of its absent bars.
    """

    scope: HistoryScope
    is_current: Bools
    is_written: Bools
    has_rules: Bools
    changed_from: Int64


def find_lacking_months(connection: Connection, stored: StoredMonths) -> LackingMonths:
    """The months that are over and lack a bar, or may lack one; a snapshot sees all of it at one moment."""
    scope = stored.scope
    if not scope.closed_months or not scope.symbols:
        return join_months([])
    others = np.flatnonzero(~stored.is_current)
    counts = read_month_counts(connection, stored, others, 0, scope.closed_months)
    return join_months([_select_open(connection, stored), list_lacking(counts, others, scope.monthly.months)])


def build_scopes(scope: HistoryScope) -> CensusScopes:
    """What the months of each symbol are to be computed for, shape (symbols,)."""
    ends = np.minimum(scope.ends, scope.monthly.offsets[scope.closed_months])
    begins = np.minimum(scope.begins, ends)
    square_sums = scope.monthly.square_sums
    through = (to_first_day(scope.last_closed_month) - _EPOCH).days
    return CensusScopes(
        symbol_id=scope.symbol_index.symbol_ids,
        through_month=np.full(len(begins), through, np.int64),
        expected=ends - begins,
        expected_squares=square_sums[ends] - square_sums[begins],
        basis=scope.basis,
    )


def examine_stored_months(connection: Connection, scope: HistoryScope) -> StoredMonths:
    """Compare what the months were computed for with what holds now."""
    if not scope.closed_months or not scope.symbols:
        none = np.zeros(len(scope.symbols), bool)
        return StoredMonths(scope, none, none, none, np.zeros(len(none), np.int64))
    wanted, computed = build_scopes(scope), read_scopes(connection, scope.interval)
    index, last = scope.symbol_index, scope.last_closed_month
    unfolded = read_unfolded_months(connection)
    changes = read_evidence_changes(connection)
    row = index.find_rows(changes.symbol_id)
    changed_from = np.full(len(scope.symbols), _NEVER, np.int64)
    # A session may begin on the eve of its day.
    np.minimum.at(changed_from, row[row >= 0], to_months(np.maximum(changes.since_day, 1) - 1)[row >= 0])
    is_written = wanted.find_same(computed)
    is_current = is_written & (changed_from > last)
    row = index.find_rows(unfolded.symbol_id[to_months(unfolded.month) <= last])
    is_current[row[row >= 0]] = False
    is_current[index.get_rows(read_uncounted(connection, index.symbol_ids, to_first_day(last)))] = False
    return StoredMonths(scope, is_current, is_written, wanted.find_same(computed, "basis"), changed_from)


def read_month_counts(connection: Connection, stored: StoredMonths, rows: Int64, first: int, last: int) -> MonthCounts:
    """The months of some symbols from position ``first`` until before ``last``, shape (rows, months).

    Measurements that hold no more are left out. Of months that are not over, only settled slots are expected.
    """
    scope = stored.scope
    months = scope.monthly.months[first:last]
    everything = count_expected(scope.monthly, scope.begins[rows], scope.settled_ends[rows])
    expected = ExpectedMonths(everything.slots[:, first:last], everything.square_sum[:, first:last])
    table = _lay_out(connection, scope, rows, months)
    holds = (table["expected"] == expected.slots) & (table["expected_squares"] == expected.square_sum)
    holds &= stored.has_rules[rows][:, None] & (months < stored.changed_from[rows][:, None])
    return MonthCounts(
        expected=expected,
        bars=table["final"] + table["unverified"],
        provisional=table["provisional"],
        square_sum=table["minute_squares"],
        measured_missing=np.where(holds, table["missing"], UNKNOWN),
        measured_explained=np.where(holds, np.maximum(table["no_trade"] + table["vendor_gap"], 0), 0),
    )


def _lay_out(connection: Connection, scope: HistoryScope, rows: Int64, months: Int64) -> Mapping[str, Int64]:
    """Columns of the census as symbols × months; counts of symbols that were not counted are impossible ones."""
    shape = len(rows), len(months)
    table = {name: np.full(shape, UNKNOWN if name in _KNOWN else 0, np.int64) for name in (*_COUNTED, *_KNOWN)}
    if not (len(rows) and len(months)):
        return table
    index = SymbolIndex(scope.symbol_index.symbol_ids[rows])
    bounds = to_first_day(int(months[0])), to_first_day(int(months[-1]))
    found = read_census(connection, index.symbol_ids.tolist(), scope.interval, *bounds)
    column = np.searchsorted(months, found.month)
    is_known = np.append(months, UNKNOWN)[column] == found.month
    cell = index.get_rows(found.symbol_id)[is_known], column[is_known]
    for name, values in table.items():
        values[cell] = getattr(found, name)[is_known]
    for name in ("provisional", *_KNOWN):
        table[name][index.get_rows(found.uncounted)] = UNKNOWN
    return table


def list_lacking(counts: MonthCounts, rows: Int64, months: Int64) -> LackingMonths:
    """The months of a table that lack a bar, or were not measured; ``rows`` are its symbols, ``months`` its columns."""
    missing, is_unmeasured = counts.missing, counts.is_unmeasured
    row, month = np.nonzero((missing > 0) | is_unmeasured)
    return LackingMonths(rows[row], months[month], missing[row, month], is_unmeasured[row, month])


def _select_open(connection: Connection, stored: StoredMonths) -> LackingMonths:
    """The same of symbols whose stored months hold: only those at which somebody has to look are read."""
    scope = stored.scope
    first, last = int(scope.monthly.months[0]), scope.last_closed_month
    found = read_open_months(connection, scope.interval, to_first_day(first), to_first_day(last))
    row = scope.symbol_index.find_rows(found.symbol_id)
    proven = ExpectedMonths(found.expected, found.expected_squares)
    is_proven = select_proven(proven, found.bars, found.provisional, found.minute_squares)
    month = to_months(found.month)
    first_month, last_month = (scope.monthly.find_months(one) for one in (scope.begins, scope.settled_ends - 1))
    is_expected = (row >= 0) & (month >= first_month[row]) & (month <= last_month[row])
    chosen = np.flatnonzero(is_expected & stored.is_current[row] & ~is_proven)
    is_unmeasured = found.missing[chosen] == UNKNOWN
    absent = np.maximum(found.expected - found.bars, 0)[chosen]
    missing = np.where(is_unmeasured, absent, found.missing[chosen])
    return LackingMonths(row[chosen], month[chosen], missing, is_unmeasured)


def join_months(parts: Sequence[LackingMonths]) -> LackingMonths:
    """All months of several lots; none without any."""
    none = np.zeros(0, np.int64)
    parts = [LackingMonths(none, none, none, none.astype(bool)), *parts]
    return LackingMonths(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in LackingMonths.__dataclass_fields__)
    )
