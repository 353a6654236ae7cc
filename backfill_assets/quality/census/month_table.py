"""The whole store of an exchange by symbol and month, for reports and the heat map: counts, and what lacks.

Unlike the answer, this reads the counts of every month; the symbols are read in blocks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.gaps.expected_months import count_expected
from backfill_assets.quality.census.month_counts import to_first_day
from backfill_assets.quality.census.newest_months import find_lacking_newest
from backfill_assets.quality.census.scope import HistoryScope
from backfill_assets.quality.census.whole_store import (
    LackingMonths,
    StoredMonths,
    join_months,
    list_lacking,
    read_month_counts,
)
from backfill_assets.quality.heatmap import Cell, Heatmap
from backfill_assets.store.postgres.connection import Connection

_BLOCK_SYMBOLS = 2000


@dataclass(frozen=True, eq=False)
class MonthTable:
    """Symbols × months; every array has this shape. Of months that are not over, settled sessions are expected.

    Attributes:
        scope: the symbols and the months.
        lacking: the months that lack a bar, or may lack one.
        expected: bars that the calendar expects.
        bars: final bars of this program and of others, also outside the slots.
        provisional: bars that are not final.
        explained: absent bars that do not lack: nothing traded, or the vendor never returned them.
    """

    scope: HistoryScope
    lacking: LackingMonths
    expected: Int64
    bars: Int64
    provisional: Int64
    explained: Int64

    @property
    def missing(self) -> Int64:
        """How many bars lack, of months that were measured."""
        return self._lay_out(np.where(self.lacking.is_missing, self.lacking.missing, 0))

    @property
    def is_unmeasured(self) -> Bools:
        """Whether a month waits for a measurement."""
        return self._lay_out(self.lacking.is_unmeasured.astype(np.int64)) > 0

    def _lay_out(self, values: Int64) -> Int64:
        table = np.zeros(self.expected.shape, np.int64)
        np.add.at(table, (self.lacking.row, np.searchsorted(self.scope.monthly.months, self.lacking.month)), values)
        return table

    def list_by_month(self) -> list[dict[str, Any]]:
        """One JSON object for each month, the oldest first; sums over the symbols."""
        missing, is_unmeasured, absent = self.missing, self.is_unmeasured, self._lay_out(self.lacking.missing)
        sums = {
            "symbols": (self.expected > 0).sum(axis=0),
            "expected_bars": self.expected.sum(axis=0),
            "bar_count": self.bars.sum(axis=0),
            "provisional_bars": self.provisional.sum(axis=0),
            "explained_bars": self.explained.sum(axis=0),
            "missing_bars": missing.sum(axis=0),
            "symbols_with_missing": (missing > 0).sum(axis=0),
            "unmeasured_symbols": is_unmeasured.sum(axis=0),
        }
        exchange, interval = self.scope.market.exchange, self.scope.interval.name
        return [
            {
                "exchange": exchange,
                "interval": interval,
                "month": f"{to_first_day(month):%Y-%m}",
                **{name: int(values[position]) for name, values in sums.items()},
                "completeness": _divide(absent[:, position].sum(), sums["expected_bars"][position]),
            }
            for position, month in enumerate(self.scope.monthly.months.tolist())
            if sums["expected_bars"][position]
        ]

    def list_by_symbol(self) -> list[dict[str, Any]]:
        """One JSON object for each symbol, in the scope's order; sums over its months."""
        missing, is_unmeasured, absent = self.missing, self.is_unmeasured, self._lay_out(self.lacking.missing)
        months = self.scope.monthly.months
        return [
            {
                "symbol": symbol.ticker.symbol,
                "exchange": symbol.ticker.exchange,
                "interval": self.scope.interval.name,
                "first_month": _name_first(months, self.expected[row] > 0),
                "expected_bars": int(self.expected[row].sum()),
                "bar_count": int(self.bars[row].sum()),
                "provisional_bars": int(self.provisional[row].sum()),
                "explained_bars": int(self.explained[row].sum()),
                "missing_bars": int(missing[row].sum()),
                "missing_months": int((missing[row] > 0).sum()),
                "unmeasured_months": int(is_unmeasured[row].sum()),
                "oldest_missing_month": _name_first(months, missing[row] > 0),
                "completeness": _divide(absent[row].sum(), self.expected[row].sum()),
            }
            for row, symbol in enumerate(self.scope.symbols)
        ]

    def build_heatmap(self) -> Heatmap:
        """One cell for each symbol and month."""
        missing = self.missing
        cells = np.full(self.expected.shape, Cell.COMPLETE, np.int8)  # later lines overwrite earlier ones
        cells[self.explained == self.expected] = Cell.NO_TRADE
        cells[self.is_unmeasured] = Cell.PENDING
        cells[missing > 0] = Cell.PARTIAL
        cells[(missing > 0) & (missing >= self.expected)] = Cell.MISSING
        cells[self.expected == 0] = Cell.NOT_LISTED
        symbols = tuple(str(symbol.ticker) for symbol in self.scope.symbols)
        days = tuple(to_first_day(month) for month in self.scope.monthly.months.tolist())
        return Heatmap(symbols, days, cells, unit="month")


def read_month_table(connection: Connection, stored: StoredMonths) -> MonthTable:
    """Read the counts of all months; a snapshot sees all of it at one moment."""
    scope = stored.scope
    months, closed = len(scope.monthly.months), scope.closed_months
    rows = np.arange(len(scope.symbols))
    lots, tables = [find_lacking_newest(connection, stored)], []
    for block in np.array_split(rows, max(1, -(-len(rows) // _BLOCK_SYMBOLS))):
        counts = read_month_counts(connection, stored, block, 0, months)
        tables.append((counts.bars, np.maximum(counts.provisional, 0), counts.explained))  # UNKNOWN if not counted
        lots.append(list_lacking(counts.select_first(closed), block, scope.monthly.months))
    bars, provisional, explained = (np.concatenate(parts) for parts in zip(*tables, strict=True))
    expected = count_expected(scope.monthly, scope.begins, scope.settled_ends).slots
    return MonthTable(scope, join_months(lots), expected, bars, provisional, explained)


def _divide(absent: int, expected: int) -> float:
    """The share of bars that are known to be there or explained."""
    return round(1 - int(absent) / int(expected), 6) if expected else 1.0


def _name_first(months: Int64, chosen: Bools) -> str | None:
    return f"{to_first_day(int(months[int(chosen.argmax())])):%Y-%m}" if chosen.any() else None
