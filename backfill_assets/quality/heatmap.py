"""Symbols × sessions, one cell each: how complete a session of a symbol is, and the same as text.

Pure. Pictures of it are in ``pictures``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from itertools import groupby

import numpy as np

from backfill_assets.market.arrays import Bools, Int8, Int64
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.session_counts import count_by_session

Cells = Int8


class Cell(IntEnum):
    """What a symbol's session is, the worst first."""

    HOLE = 0
    PARTIAL = 1
    GIVEN_UP = 2
    PROVISIONAL = 3
    PENDING = 4
    NO_TRADE = 5
    COMPLETE = 6
    NOT_LISTED = 7

    @property
    def label(self) -> str:
        """As people read it."""
        return self.name.lower().replace("_", " ")


CELL_LETTERS = {
    Cell.HOLE: "X",
    Cell.PARTIAL: "/",
    Cell.GIVEN_UP: "g",
    Cell.PROVISIONAL: "p",
    Cell.PENDING: "~",
    Cell.NO_TRADE: "-",
    Cell.COMPLETE: "·",
    Cell.NOT_LISTED: " ",
}
CELL_MEANINGS = {
    Cell.HOLE: "every slot is missing",
    Cell.PARTIAL: "some slots are missing, or overdue with a bar that is not final",
    Cell.GIVEN_UP: "the vendor never gave some slots",
    Cell.PROVISIONAL: "some bars are not final",
    Cell.PENDING: "some slots are not due yet",
    Cell.NO_TRADE: "nothing traded",
    Cell.COMPLETE: "every slot has a bar, or did not trade",
    Cell.NOT_LISTED: "outside the listing life",
}
UNREMARKABLE_CELLS = (Cell.COMPLETE, Cell.NO_TRADE, Cell.NOT_LISTED)


@dataclass(frozen=True, eq=False)
class Heatmap:
    """One ``Cell`` for each symbol and session.

    Attributes:
        symbols: the tickers, shape (symbols,).
        days: the sessions, oldest first, shape (sessions,).
        cells: a ``Cell`` each, shape (symbols, sessions).
    """

    symbols: tuple[str, ...]
    days: tuple[date, ...]
    cells: Cells

    def has_gaps(self) -> Bools:
        """Which symbols lack something that is due, shape (symbols,); pending and provisional sessions are as usual."""
        result: Bools = (self.cells <= Cell.GIVEN_UP).sum(axis=1) > 0
        return result

    def list_used_cells(self) -> list[Cell]:
        """The kinds of cell that occur, the worst first."""
        return [Cell(value) for value in np.unique(self.cells).tolist()]

    def count_cells(self) -> dict[Cell, int]:
        """How many cells there are of each kind that occurs."""
        return {cell: int((self.cells == cell).sum()) for cell in self.list_used_cells()}

    def sort_worst_first(self, max_rows: int | None = None) -> "Heatmap":
        """The rows with most holes first, then partial ones and so on; alphabetical where alike."""
        counts = [(self.cells == cell).sum(axis=1) for cell in Cell if cell not in UNREMARKABLE_CELLS]
        order = np.lexsort([np.arange(len(self.symbols)), *(-count for count in reversed(counts))])[:max_rows]
        return Heatmap(tuple(self.symbols[row] for row in order), self.days, self.cells[order])

    def filter_by_gaps(self, *, invert: bool = False) -> "Heatmap":
        """The rows that lack something that is due, or (``no``) those that don't."""
        rows = np.flatnonzero(self.has_gaps() != invert)
        return Heatmap(tuple(self.symbols[row] for row in rows), self.days, self.cells[rows])

    def select_newest(self, sessions: int) -> "Heatmap":
        """The last so many sessions."""
        return Heatmap(self.symbols, self.days[-sessions:], self.cells[:, -sessions:])

    def render_lines(self) -> list[str]:
        """A character a session for each row (``LETTERS``)."""
        letters = np.array([CELL_LETTERS[cell] for cell in Cell])
        return ["".join(letters[row]) for row in self.cells]

    def iter_ranges(self, row: int) -> Iterator[tuple[Cell, date, date, int]]:
        """Sessions of a row that follow each other and are alike (but for complete): what, first, last, how many."""
        for cell, alike in groupby(enumerate(self.cells[row].tolist()), key=lambda at: at[1]):
            at = [position for position, _ in alike]
            if Cell(cell) not in (Cell.COMPLETE, Cell.NOT_LISTED):
                yield Cell(cell), self.days[at[0]], self.days[at[-1]], len(at)


def build_heatmap(coverage: Coverage) -> Heatmap:
    """Sum up each symbol's sessions."""
    return Heatmap(
        symbols=tuple(str(s.ticker) for s in coverage.symbols),
        days=tuple(s.day for s in coverage.grid.sessions),
        cells=_classify_cells(coverage),
    )


def _classify_cells(coverage: Coverage) -> Cells:
    expected = count_by_session(coverage).expected
    missing, vendor_gap = _count_state(coverage, SlotState.MISSING), _count_state(coverage, SlotState.VENDOR_GAP)
    cells = np.full(expected.shape, Cell.COMPLETE, np.int8)  # later lines win
    cells[_count_state(coverage, SlotState.NO_TRADE) == expected] = Cell.NO_TRADE
    cells[_count_state(coverage, SlotState.PENDING) > 0] = Cell.PENDING
    cells[_count_state(coverage, SlotState.PROVISIONAL) > 0] = Cell.PROVISIONAL
    cells[vendor_gap > 0] = Cell.GIVEN_UP
    cells[(missing > 0) | _find_overdue_provisional(coverage)] = Cell.PARTIAL
    cells[(missing > 0) & (missing + vendor_gap == expected)] = Cell.HOLE
    cells[expected == 0] = Cell.NOT_LISTED
    return cells


def _count_state(coverage: Coverage, state: SlotState) -> Int64:
    return coverage.count_by_session(coverage.has_state(state))


def _find_overdue_provisional(coverage: Coverage) -> Bools:
    """Where a bar is not final although the final one is overdue: it counts as missing."""
    return coverage.count_by_session(coverage.has_state(SlotState.PROVISIONAL) & coverage.slot_states.overdue) > 0
