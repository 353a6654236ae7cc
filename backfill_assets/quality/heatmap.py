"""The heat map: symbols × sessions with one cell each, which shows how complete the session is; also as text.

That of a whole history has months in the place of sessions (``quality.census.month_table``). Pure. Images of it are
drawn in ``heatmap_image``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import IntEnum
from itertools import groupby
from types import MappingProxyType
from typing import Literal

import numpy as np

from backfill_assets.market.arrays import Bools, Int8, Int64
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.session_counts import count_by_session

Cells = Int8


class Cell(IntEnum):
    """The state of a symbol's session, worst first."""

    MISSING = 0
    PARTIAL = 1
    VENDOR_GAP = 2
    SUSPECT = 3
    PROVISIONAL = 4
    PENDING = 5
    NO_TRADE = 6
    COMPLETE = 7
    NOT_LISTED = 8

    @property
    def label(self) -> str:
        """The name in reports: lower case, with spaces."""
        return self.name.lower().replace("_", " ")


CELL_LETTERS = {
    Cell.MISSING: "X",
    Cell.PARTIAL: "/",
    Cell.VENDOR_GAP: "g",
    Cell.SUSPECT: "?",
    Cell.PROVISIONAL: "p",
    Cell.PENDING: "~",
    Cell.NO_TRADE: "-",
    Cell.COMPLETE: "·",
    Cell.NOT_LISTED: " ",
}
CELL_MEANINGS = {
    Cell.MISSING: "every slot is missing",
    Cell.PARTIAL: "some slots are missing, or overdue with a bar that is not final",
    Cell.VENDOR_GAP: "the vendor never returned some slots",
    Cell.SUSPECT: "no slot is missing, and some bars may be wrong",
    Cell.PROVISIONAL: "some bars are not final",
    Cell.PENDING: "some slots are not due yet",
    Cell.NO_TRADE: "no slot traded",
    Cell.COMPLETE: "every slot has a bar, or did not trade",
    Cell.NOT_LISTED: "before the listing or after the delisting",
}
UNREMARKABLE_CELLS = (Cell.COMPLETE, Cell.NO_TRADE, Cell.NOT_LISTED)


@dataclass(frozen=True, eq=False)
class Heatmap:
    """One ``Cell`` for each symbol and session.

    Attributes:
        symbols: the tickers.
        days: the sessions, oldest first.
        cells: values of ``Cell``, shape (symbols, sessions).
        marks: (ticker, day) → what happened on that day besides, such as a split; also of rows and days left out.
        unit: what a column is: a ``session``, or a ``month``, whose first day is in ``days``.
    """

    symbols: tuple[str, ...]
    days: tuple[date, ...]
    cells: Cells
    marks: Mapping[tuple[str, date], str] = field(default_factory=dict)
    unit: Literal["session", "month"] = "session"

    def has_gaps(self) -> Bools:
        """Which symbols have a missing, partial or vendor-gap session, shape (symbols,)."""
        result: Bools = (self.cells <= Cell.VENDOR_GAP).sum(axis=1) > 0
        return result

    def list_used_cells(self) -> list[Cell]:
        """The kinds of cell that occur, worst first."""
        return [Cell(value) for value in np.unique(self.cells).tolist()]

    def count_cells(self) -> dict[Cell, int]:
        """The number of cells of each kind that occurs."""
        return {cell: int((self.cells == cell).sum()) for cell in self.list_used_cells()}

    def sort_worst_first(self, max_rows: int | None = None) -> "Heatmap":
        """Rows with most missing sessions first, then most partial ones and so on; ties keep their order."""
        counts = [(self.cells == cell).sum(axis=1) for cell in Cell if cell not in UNREMARKABLE_CELLS]
        order = np.lexsort([np.arange(len(self.symbols)), *(-count for count in reversed(counts))])[:max_rows]
        return self._select_rows(order)

    def filter_by_gaps(self, *, invert: bool = False) -> "Heatmap":
        """The rows with gaps (see ``has_gaps``), or with ``invert`` those without."""
        rows = np.flatnonzero(self.has_gaps() != invert)
        return self._select_rows(rows)

    def select_newest(self, sessions: int) -> "Heatmap":
        """The newest ``sessions`` sessions."""
        return replace(self, days=self.days[-sessions:], cells=self.cells[:, -sessions:])

    def list_marks(self) -> list[tuple[int, int, str]]:
        """The marks of these rows and sessions: (row, session, text), by row, then by session."""
        rows = {symbol: row for row, symbol in enumerate(self.symbols)}
        sessions = {day: session for session, day in enumerate(self.days)}
        return sorted(
            (rows[symbol], sessions[day], text)
            for (symbol, day), text in self.marks.items()
            if symbol in rows and day in sessions
        )

    def format_day(self, day: date) -> str:
        """A column's day as text: ``2026-06-01``, of a month ``2026-06``."""
        return f"{day}" if self.unit == "session" else f"{day:%Y-%m}"

    def render_lines(self) -> list[str]:
        """One line for each row, with one letter for each session (``CELL_LETTERS``)."""
        letters = np.array([CELL_LETTERS[cell] for cell in Cell])
        return ["".join(letters[row]) for row in self.cells]

    def iter_ranges(self, row: int) -> Iterator[tuple[Cell, date, date, int]]:
        """Runs of equal, incomplete cells in a row: (cell, first day, last day, number of sessions)."""
        for cell, group in groupby(
            enumerate(self.cells[row].tolist()), key=lambda position_and_cell: position_and_cell[1]
        ):
            positions = [position for position, _ in group]
            if Cell(cell) not in (Cell.COMPLETE, Cell.NOT_LISTED):
                yield Cell(cell), self.days[positions[0]], self.days[positions[-1]], len(positions)

    def _select_rows(self, rows: Int64) -> "Heatmap":
        return replace(self, symbols=tuple(self.symbols[row] for row in rows), cells=self.cells[rows])


def build_heatmap(coverage: Coverage, marks: Mapping[tuple[str, date], str] = MappingProxyType({})) -> Heatmap:
    """The heat map of a coverage; ``marks`` as in ``Heatmap``."""
    return Heatmap(
        symbols=tuple(str(s.ticker) for s in coverage.symbols),
        days=tuple(s.day for s in coverage.grid.sessions),
        cells=_classify_cells(coverage),
        marks=marks,
    )


def _classify_cells(coverage: Coverage) -> Cells:
    expected = count_by_session(coverage).expected
    missing, vendor_gap = _count_state(coverage, SlotState.MISSING), _count_state(coverage, SlotState.VENDOR_GAP)
    cells = np.full(expected.shape, Cell.COMPLETE, np.int8)  # later lines overwrite earlier ones
    cells[_count_state(coverage, SlotState.NO_TRADE) == expected] = Cell.NO_TRADE
    cells[_count_state(coverage, SlotState.PENDING) > 0] = Cell.PENDING
    cells[_count_state(coverage, SlotState.PROVISIONAL) > 0] = Cell.PROVISIONAL
    cells[_count_state(coverage, SlotState.SUSPECT) > 0] = Cell.SUSPECT
    cells[vendor_gap > 0] = Cell.VENDOR_GAP
    cells[(missing > 0) | _find_overdue_provisional(coverage)] = Cell.PARTIAL
    cells[(missing > 0) & (missing + vendor_gap == expected)] = Cell.MISSING
    cells[expected == 0] = Cell.NOT_LISTED
    return cells


def _count_state(coverage: Coverage, state: SlotState) -> Int64:
    return coverage.count_by_session(coverage.has_state(state))


def _find_overdue_provisional(coverage: Coverage) -> Bools:
    """Sessions with a bar that is not final although the final one is overdue; such a bar counts as missing."""
    return coverage.count_by_session(coverage.has_state(SlotState.PROVISIONAL) & coverage.slot_states.overdue) > 0
