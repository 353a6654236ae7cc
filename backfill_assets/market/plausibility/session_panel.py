"""Prices and volumes of whole sessions side by side: the form in which the rules of plausibility read rows and bars.

A *line* is one session of one symbol, a *column* one row or bar of it, counted from the session's open. So one rule
serves rows of 1m and 5m as well as stored bars.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.vendor import DateArray

PANEL_VALUES = ("open", "high", "low", "close", "volume")
_SECONDS_OF_DAY = 86_400
_NEVER = np.iinfo(np.int64).max


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
        starts: open of the row or bar of each column, epoch seconds, ascending in a line, shape (lines, columns); None:
            the columns follow each other from the session's open on. They do not over a break, which has no columns,
            nor after a first bar that is short because the session opens beside the clock.
        days: of each line, its session's day in the exchange's zone (``datetime64[D]``); None: the date in UTC on which
            it opens, as in the US.
        market: the exchange of all lines; it decides what volumes and small steps of prices mean.
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
    starts: Int64 | None = None
    market: MarketProfile = US

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
        if self.starts is not None:
            return int(self.starts[line, column])
        return int(self.opens[line]) + column * self.seconds

    def list_stamps(self, line: int) -> Int64:
        """The open of the row or bar of each column of a line, epoch seconds UTC, shape (columns,)."""
        stamps: Int64
        if self.starts is not None:
            stamps = self.starts[line]
        else:
            stamps = self.opens[line] + self.seconds * np.arange(self.close.shape[1], dtype=np.int64)
        return stamps

    def find_columns(self, lines: Int64, stamps: Int64) -> Int64:
        """The column of the row or bar that each stamp lies in; all of one shape, epoch seconds UTC."""
        if self.starts is None:
            return (stamps - self.opens[lines]) // self.seconds
        columns: Int64 = (self.starts[lines] <= stamps[:, None]).sum(axis=1) - 1
        return columns


def list_starts(grid: SlotGrid, of_line: Int64) -> Int64 | None:
    """``SessionPanel.starts`` of lines that are slots of a grid, by their sessions; None where slots just follow.

    Columns that a session does not have begin later than any stamp.
    """
    offsets = grid.session_offsets
    from_open = (np.arange(grid.size) - offsets[grid.session_index]) * grid.interval.seconds
    if np.array_equal(grid.starts, grid.session_opens[grid.session_index] + from_open):
        return None
    columns = np.arange(int(grid.session_sizes.max(initial=0)))
    ordinal = np.minimum(offsets[of_line][:, None] + columns, grid.size - 1)
    starts: Int64 = np.where(columns < grid.session_sizes[of_line][:, None], grid.starts[ordinal], _NEVER)
    return starts


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
    rows = _build_row_grid(grid, seconds)
    if rows is None:
        column = (stamp - opens[session]) // seconds if len(stamp) else np.zeros(0, np.int64)
    else:
        ordinal = np.searchsorted(rows.starts, stamp, side="right").astype(np.int64) - 1
        column = np.maximum(ordinal - rows.session_offsets[session], 0)
    is_new = np.ones(len(stamp), bool)
    is_new[1:] = (symbol_id[1:] != symbol_id[:-1]) | (session[1:] != session[:-1])
    line = np.cumsum(is_new) - 1
    columns = rows.session_sizes if rows else -(-(closes - opens) // seconds)
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
        starts=list_starts(rows, of_line) if rows else None,
        market=grid.sessions[0].market if grid.sessions else US,
        **laid_out,
    )
    return panel, line, column


def _build_row_grid(grid: SlotGrid, seconds: int) -> SlotGrid | None:
    """The grid of rows of a length; None where they follow each other from open to close in every session."""
    has_short_slots = bool((np.diff(grid.starts) < grid.interval.seconds).any())
    if not has_short_slots and not len(grid.pauses):
        return None
    return build_slot_grid(grid.sessions, Interval(f"{seconds}s", seconds, ()))
