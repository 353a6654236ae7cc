"""Find sessions that are frozen: one price and no volume, while the symbol traded.

That it did is said by the daily data; of currencies, which have none of their session and no volumes, by the market: in
a day and a night of trading a pair that moved on most days does not stand still.
"""

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.exchanges.profile import VolumeKind
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_lines import find_first_columns, find_last_columns, make_session_doubt
from backfill_assets.market.plausibility.session_panel import SessionPanel

LAST_SESSIONS = 20
MIN_MOVED_SESSIONS = 15  # of the last 20; names that often show one price all day are left alone
MIN_ROWS = 2  # a single quote is no frozen session


def find_frozen_sessions(panel: SessionPanel, days: DayFigures, judged: Bools) -> list[Doubt]:
    """Doubt each session with one price and no volume on a day on which the symbol traded.

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
    has_no_volume = _lacks_volume(panel).all(axis=1)
    # without known splits the volume of a day is unknown
    traded = (days.volume > 0) | (days.high > days.low) | is_always_traded(panel)
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


def is_always_traded(panel: SessionPanel) -> Bools:
    """Lines with bars in half of their session, of an exchange without volumes that say whether it trades; (lines,)."""
    is_half: Bools = panel.is_present.sum(axis=1) * 2 >= panel.sizes
    return is_half & (panel.market.volume_kind is VolumeKind.NONE)


def _lacks_volume(panel: SessionPanel) -> Bools:
    """Where no volume is; one that is unknown is a volume only where volumes count shares, shape (lines, columns)."""
    is_unknown = np.isnan(panel.volume) & (panel.market.volume_kind is not VolumeKind.SHARES)
    lacks: Bools = (panel.volume == 0) | ~panel.is_present | is_unknown
    return lacks


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
