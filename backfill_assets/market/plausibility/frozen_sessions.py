"""Find sessions that are frozen: one price and no volume, while the daily data say that the symbol traded."""

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_lines import find_first_columns, find_last_columns, make_session_doubt
from backfill_assets.market.plausibility.session_panel import SessionPanel

LAST_SESSIONS = 20
MIN_MOVED_SESSIONS = 15  # of the last 20; names that often show one price all day are left alone
MIN_ROWS = 2  # a single quote is no frozen session


def find_frozen_sessions(panel: SessionPanel, days: DayFigures, judged: Bools) -> list[Doubt]:
    """Doubt each session with one price and no volume on a day with settled figures that show trading.

    Only names are judged whose price moved within the session on at least 15 of the last 20 before it; sessions that
    are frozen themselves do not count among these, so that a feed that stands still for weeks is doubted to the end.

    Args:
        panel: rows or bars, with the 20 sessions before those judged.
        days: the settled figures of the lines' days.
        judged: which lines are judged, shape (lines,).
    """
    present = panel.is_present
    highest, lowest = (
        np.fmax.reduce(panel.high, axis=1, initial=-np.inf),
        np.fmin.reduce(panel.low, axis=1, initial=np.inf),
    )
    has_no_volume = ((panel.volume == 0) | ~present).all(axis=1)
    traded = (days.volume > 0) | (days.high > days.low)  # without known splits the volume of a day is unknown
    is_frozen = (present.sum(axis=1) >= MIN_ROWS) & (highest == lowest) & has_no_volume & traded
    if not (judged & is_frozen).any():
        return []
    moved = _count_moved_before(panel, is_frozen, highest > lowest)
    first, last = find_first_columns(present), find_last_columns(present)
    return [
        make_session_doubt(
            Rule.FROZEN,
            panel,
            line,
            int(first[line]),
            int(last[line]),
            {
                "price": float(highest[line]),
                "rows": int(present[line].sum()),
                "day_volume": _to_known(days.volume[line]),
                "day_high": _to_known(days.high[line]),
                "day_low": _to_known(days.low[line]),
                "moved_sessions_before": int(moved[line]),
            },
        )
        for line in np.flatnonzero(judged & is_frozen & (moved >= MIN_MOVED_SESSIONS)).tolist()
    ]


def _count_moved_before(panel: SessionPanel, is_frozen: Bools, has_moved: Bools) -> Int64:
    """On how many of the last 20 sessions with another price the symbol moved, before each line; shape (lines,)."""
    counted = ~is_frozen
    before = np.r_[0, np.cumsum(counted)]  # how many counted lines there are before each line
    moved = np.r_[0, np.cumsum(has_moved[counted])]
    begins = before[np.searchsorted(panel.symbol_id, panel.symbol_id)]  # those before the symbol's first line
    counts: Int64 = moved[before[:-1]] - moved[np.maximum(begins, before[:-1] - LAST_SESSIONS)]
    return counts


def _to_known(figure: float) -> float | None:
    return None if np.isnan(figure) else float(figure)
