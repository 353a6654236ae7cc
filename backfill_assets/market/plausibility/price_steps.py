"""Find overnight steps of the prices that the daily data contradict, and splits at which the prices do not step.

Steps are compared as ``market.actions.overnight_steps`` says; none of them has a cash dividend beyond what the market
does. Here is what makes bars doubtful. Whether a split is applied is a verdict of ``market.actions.proof``.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from backfill_assets.market.actions.overnight_steps import MIN_SPLIT, OvernightSteps, compute_log_ratio, is_nearer
from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.day_ranges import compute_tolerance
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_lines import (
    find_first_columns,
    find_last_columns,
    find_lines_before,
    format_session_day,
    make_session_doubt,
    take_lines,
)
from backfill_assets.market.plausibility.session_panel import SessionPanel


def find_price_steps(panel: SessionPanel, days: DayFigures, judged: Bools) -> list[Doubt]:
    """Doubt sessions that begin with a step without a split, or without the step of a split.

    A step without a split is one that

    - the daily data contradict by more than 2 %, if the session's first price lies outside the day's range as well: a
      thin name's first trade at one venue may be far from the official open. Before a spin-off the daily data are
      adjusted and the bars are not; on its day the first price lies within the range, so it is no doubt, or
    - the daily data show, too, with an adjusted close that takes a split for its cause, and none is known.

    A split without a step is one whose step is nearer to none than to what the split makes of the price, unless the
    daily data have the same step and their adjusted close has the split: then the market moved against it.

    Args:
        panel: rows or bars, with the session before those judged.
        days: the settled figures of the lines' days; where the splits of a symbol are unknown, only steps that the
            daily data contradict are found.
        judged: which lines are judged, shape (lines,).
    """
    present = panel.is_present
    before = find_lines_before(panel)
    judged = judged & (before >= 0) & present.any(axis=1)
    if not judged.any():
        return []
    first = find_first_columns(present)
    steps = _compare_steps(panel, days, first, before)
    is_outside = _find_outside_range(panel, days)
    starts_outside = is_outside[np.arange(len(panel)), first]
    has_split = ~np.isnan(steps.split) & (steps.split != 0)
    unexplained = steps.is_contradicted & starts_outside
    without_split = judged & ~has_split & (unexplained | _find_unknown_splits(panel, steps, before))
    has_step = steps.has_split_in_bars | steps.has_split_in_days | np.isnan(steps.bars)
    without_step = judged & has_split & ~has_step
    # a split at which the price makes some other step than its own is contradicted like any other step
    without_split |= judged & has_split & ~without_step & unexplained
    last = np.where(starts_outside, find_last_columns(is_outside & present), first)
    figures = partial(_describe, panel, days, steps, before)
    return [
        make_session_doubt(rule, panel, line, int(first[line]), int(last[line]), figures(line))
        for rule, found in ((Rule.STEP_WITHOUT_SPLIT, without_split), (Rule.SPLIT_WITHOUT_STEP, without_step))
        for line in np.flatnonzero(found).tolist()
    ]


def _compare_steps(panel: SessionPanel, days: DayFigures, first: Int64, before: Int64) -> OvernightSteps:
    lines = np.arange(len(panel))
    last_close = panel.close[lines, find_last_columns(panel.is_present)]
    adjustment = days.adjusted_close / days.close
    return OvernightSteps(
        bars=compute_log_ratio(panel.open[lines, first], take_lines(last_close, before)),
        days=compute_log_ratio(days.open, take_lines(days.close, before)),
        adjustment=compute_log_ratio(adjustment, take_lines(adjustment, before)),
        split=compute_log_ratio(days.split_ratio, np.ones(len(panel))),
    )


def _find_unknown_splits(panel: SessionPanel, steps: OvernightSteps, before: Int64) -> Bools:
    """Sessions at which the adjusted close has a split that the bars step by, and that is not known."""
    is_next_session = (before >= 0) & (panel.session == panel.session[before] + 1)
    is_split = np.abs(steps.adjustment) >= MIN_SPLIT
    is_unknown: Bools = is_next_session & (steps.split == 0) & is_split & is_nearer(-steps.bars, steps.adjustment)
    return is_unknown


def _find_outside_range(panel: SessionPanel, days: DayFigures) -> Bools:
    """Rows that open outside the day's range by more than the tolerance of one, shape (lines, columns).

    All do where the range is unknown; none does where the day contradicts itself, as around a spin-off.
    """
    low = (days.low - compute_tolerance(days.low, days.price_step))[:, None]
    high = (days.high + compute_tolerance(days.high, days.price_step))[:, None]
    contradicts_itself = (days.open[:, None] < low) | (days.open[:, None] > high)
    is_outside: Bools = ~((panel.open >= low) & (panel.open <= high)) & ~contradicts_itself
    return is_outside


def _describe(
    panel: SessionPanel, days: DayFigures, steps: OvernightSteps, lines_before: Int64, line: int
) -> Mapping[str, float | str | None]:
    """What was compared; steps are factors."""
    before = int(lines_before[line])
    figures = {
        "open": panel.open[line, int(find_first_columns(panel.is_present[line : line + 1])[0])],
        "close_before": panel.close[before, int(find_last_columns(panel.is_present[before : before + 1])[0])],
        "step": np.exp(steps.bars[line]),
        "day_open": days.open[line],
        "day_low": days.low[line],
        "day_high": days.high[line],
        "day_close_before": days.close[before],
        "day_step": np.exp(steps.days[line]),
        "adjustment_step": np.exp(steps.adjustment[line]),
        "split_ratio": days.split_ratio[line],
    }
    known = {name: None if np.isnan(figure) else float(figure) for name, figure in figures.items()}
    return {"session_before": format_session_day(panel, before)} | known
