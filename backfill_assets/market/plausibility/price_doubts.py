"""Spikes and scale breaks of the same rows or bars, each row doubted once.

Rows of another scale are left out before spikes are looked for: they are no spikes, nor neighbours to judge others by.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from backfill_assets.market.arrays import Bools
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.price_spikes import find_price_spikes
from backfill_assets.market.plausibility.scale_breaks import find_scale_breaks
from backfill_assets.market.plausibility.session_panel import PANEL_VALUES, SessionPanel


def find_price_doubts(panel: SessionPanel, days: DayFigures, judged: Bools) -> list[Doubt]:
    """The scale breaks of a panel, and the spikes that are none; arguments as of ``find_price_spikes``.

    Scale breaks in lines that are not judged are left out, too.
    """
    breaks = find_scale_breaks(panel, days, np.ones(len(panel), bool))
    lines = [_find_line(panel, doubt) for doubt in breaks]
    spikes = find_price_spikes(_leave_out(panel, breaks, lines), days, judged)
    return [doubt for doubt, line in zip(breaks, lines, strict=True) if judged[line]] + spikes


def _find_line(panel: SessionPanel, doubt: Doubt) -> int:
    first = int(np.searchsorted(panel.symbol_id, doubt.symbol_id))
    end = int(np.searchsorted(panel.symbol_id, doubt.symbol_id, side="right"))
    return first + int(np.searchsorted(panel.session[first:end], doubt.session))


def _leave_out(panel: SessionPanel, doubts: Sequence[Doubt], lines: Sequence[int]) -> SessionPanel:
    """The panel without the rows in doubt; ``lines`` are those of the doubts."""
    if not doubts:
        return panel
    is_left_out = np.zeros(panel.close.shape, bool)
    for doubt, line in zip(doubts, lines, strict=True):
        stamps = np.array([doubt.first_stamp, doubt.last_stamp], np.int64)
        first, last = panel.find_columns(np.array([line, line]), stamps).tolist()
        is_left_out[line, first : last + 1] = True
    opened, high, low, close, volume = (np.where(is_left_out, np.nan, getattr(panel, name)) for name in PANEL_VALUES)
    return replace(panel, open=opened, high=high, low=low, close=close, volume=volume)
