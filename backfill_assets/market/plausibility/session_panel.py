"""Prices and volumes of whole sessions side by side: the form in which the rules of plausibility read rows and bars.

A *line* is one session of one symbol, a *column* one row or bar of it, counted from the session's open. So one rule
serves rows of 1m and 5m as well as stored bars.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.vendor import DateArray

PANEL_VALUES = ("open", "high", "low", "close", "volume")
_SECONDS_OF_DAY = 86_400


@dataclass(frozen=True, eq=False)
class SessionPanel:
    """Sessions of any symbols, ordered by symbol and session; shape (lines,) or (lines, columns).

    Attributes:
        symbol_id: of each line.
        session: of each line, its position in the sessions of the grid.
        opens: epoch seconds (UTC) of the session's open.
        sizes: how many columns the session has; fewer on days with an early close.
        seconds: length of a row or bar.
        open: like ``high``, ``low``, ``close`` (prices) and ``volume`` (shares), NaN where no row or bar is.
        days: of each line, its session's day in the exchange's zone (``datetime64[D]``); None: the date in UTC on which
            it opens, as in the US.
    """

    symbol_id: Int64
    session: Int64
    opens: Int64
    sizes: Int64
    seconds: int
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    days: DateArray | None = None

    def __len__(self) -> int:
        return len(self.symbol_id)

    @property
    def session_days(self) -> DateArray:
        """The day of each line's session in the exchange's time zone, shape (lines,)."""
        return (self.opens // _SECONDS_OF_DAY).astype("datetime64[D]") if self.days is None else self.days

    @property
    def is_present(self) -> Bools:
        """Where a row or bar is, shape (lines, columns)."""
        present: Bools = ~np.isnan(self.close)
        return present

    @property
    def has_line_before(self) -> Bools:
        """Whether the line before is an earlier session of the same symbol, shape (lines,)."""
        same = np.zeros(len(self), bool)
        same[1:] = self.symbol_id[1:] == self.symbol_id[:-1]
        return same

    def keep_cells(self, kept: Bools) -> "SessionPanel":
        """The same sessions with only some of their rows or bars; shape (lines, columns)."""
        cells = {name: np.where(kept, getattr(self, name), np.nan) for name in PANEL_VALUES}
        return replace(self, **cells)  # type: ignore[arg-type] # mypy does not see which fields the names are of

    def get_stamp(self, line: int, column: int) -> int:
        """The open of a row or bar, epoch seconds UTC."""
        return int(self.opens[line]) + column * self.seconds


def build_panel(
    symbol_id: Int64, stamp: Int64, values: Mapping[str, Floats], grid: SlotGrid, seconds: int
) -> tuple[SessionPanel, Int64, Int64]:
    """Lay rows or bars out as a panel.

    Args:
        symbol_id: ascending, shape (rows,) like all that follow.
        stamp: epoch seconds UTC, ascending within a symbol, each within a session of the grid; of two rows at the same
            place the last counts.
        values: the arrays of ``PANEL_VALUES``.
        grid: any grid of the sessions; its own interval does not matter.
        seconds: length of a row or bar.

    Returns:
        The panel, and the line and column of each row.
    """
    opens, closes = grid.session_opens, grid.session_closes
    session = np.searchsorted(opens, stamp, side="right").astype(np.int64) - 1
    column = (stamp - opens[session]) // seconds if len(stamp) else np.zeros(0, np.int64)
    is_new = np.ones(len(stamp), bool)
    is_new[1:] = (symbol_id[1:] != symbol_id[:-1]) | (session[1:] != session[:-1])
    line = np.cumsum(is_new) - 1
    columns = -(-(closes - opens) // seconds)
    shape = (int(is_new.sum()), int(columns.max(initial=0)))
    place = line * shape[1] + column
    laid_out = {}
    for name in PANEL_VALUES:
        cells = np.full(shape[0] * shape[1], np.nan)
        cells[place] = values[name]
        laid_out[name] = cells.reshape(shape)
    of_line = session[is_new]
    panel = SessionPanel(
        symbol_id=symbol_id[is_new],
        session=of_line,
        opens=opens[of_line],
        sizes=columns[of_line],
        seconds=seconds,
        days=grid.session_days[of_line],
        **laid_out,
    )
    return panel, line, column
