"""What the rules about whole sessions share: where the rows of a panel's lines begin and end, and their doubts.

The panel is in ``session_panel``. The rules are in modules of their own.
"""

from collections.abc import Mapping

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel


def find_first_columns(cells: Bools) -> Int64:
    """The first column of each line where ``cells`` holds, 0 where it never does; shape (lines,)."""
    if not cells.shape[1]:
        return np.zeros(len(cells), np.int64)
    columns: Int64 = np.argmax(cells, axis=1).astype(np.int64)
    return columns


def find_last_columns(cells: Bools) -> Int64:
    """The last column of each line where ``cells`` holds, the last of all where it never does; shape (lines,)."""
    columns: Int64 = cells.shape[1] - 1 - find_first_columns(cells[:, ::-1])
    return columns


def find_lines_before(panel: SessionPanel) -> Int64:
    """For each line, the nearest earlier one of its symbol that has a row, −1 without one; shape (lines,)."""
    lines = np.arange(len(panel))
    newest = np.maximum.accumulate(np.where(panel.is_present.any(axis=1), lines, -1))
    before = np.r_[-1, newest[:-1]][: len(panel)]
    is_same = (before >= 0) & (panel.symbol_id[before] == panel.symbol_id) if len(panel) else np.zeros(0, bool)
    return np.where(is_same, before, -1)


def take_lines(values: Floats, lines: Int64) -> Floats:
    """The values of some lines, NaN for −1."""
    return np.where(lines >= 0, values[lines], np.nan)


def format_session_day(panel: SessionPanel, line: int) -> str:
    """The day of a line's session as ISO text."""
    return str(panel.session_days[line])


def make_session_doubt(
    rule: Rule,
    panel: SessionPanel,
    line: int,
    first_column: int,
    last_column: int,
    figures: Mapping[str, float | str | None],
) -> Doubt:
    """A doubt about a line's rows from one column to another, both inclusive."""
    return Doubt(
        rule=rule,
        symbol_id=int(panel.symbol_id[line]),
        session=int(panel.session[line]),
        first_stamp=panel.get_stamp(line, first_column),
        last_stamp=panel.get_stamp(line, last_column),
        figures=figures,
    )
