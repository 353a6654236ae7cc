"""Applies the rules that read the vendor's rows, and makes one doubt for each slot that they concern.

Which rules these are is in the table of ``judgement``; those of stored bars are applied by the judge.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from backfill_assets.market.arrays import Bools
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.doubted_rows import join_figures
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.judgement import Form, JudgedPanel, find_doubts, select_judgements
from backfill_assets.market.plausibility.listing import ListingLives
from backfill_assets.market.plausibility.session_panel import SessionPanel


def find_row_doubts(panel: SessionPanel, days: DayFigures, judged: Bools | None = None) -> list[Doubt]:
    """What every rule of this form doubts in a panel of the vendor's usable rows, a doubt for each row or stretch.

    Args:
        panel: the rows.
        days: the settled figures of its lines' days, as far as they are known.
        judged: which lines are judged, shape (lines,); by default all.
    """
    chosen = np.ones(len(panel), bool) if judged is None else judged
    given = JudgedPanel(panel, days, ListingLives.create_unknown(len(panel)), chosen)
    return find_doubts(given, select_judgements(Form.ROWS))


def merge_doubts_of_slots(doubts: Iterable[Doubt], grid: SlotGrid) -> list[Doubt]:
    """One doubt for each rule, symbol and first slot of ``grid``: a bar is doubted once by a rule.

    The figures of several rows stand side by side in their order, separated by commas.
    """

    def get_key(doubt: Doubt) -> tuple[str, int, int]:
        return doubt.rule, doubt.symbol_id, int(grid.starts.searchsorted(doubt.first_stamp, side="right"))

    ordered = sorted(doubts, key=lambda doubt: (*get_key(doubt), doubt.first_stamp))
    return [_merge(list(group)) for _, group in groupby(ordered, get_key)]


def _merge(doubts: Sequence[Doubt]) -> Doubt:
    if len(doubts) == 1:
        return doubts[0]
    names = {name: None for doubt in doubts for name in doubt.figures}
    return replace(
        doubts[0],
        last_stamp=max(doubt.last_stamp for doubt in doubts),
        figures={name: join_figures([doubt.figures.get(name) for doubt in doubts]) for name in names},
        withheld_volume=sum(doubt.withheld_volume for doubt in doubts),
    )
