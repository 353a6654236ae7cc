"""Find overnight steps of the prices that the daily data contradict, and splits at which the prices do not step.

A step is the first price of a session divided by the last one of the session before. Intraday prices and the vendor's
daily ones are both as traded (docs/vendor.md §5.4), so both step at a split, and neither does at a cash dividend beyond
what the market does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
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

MAX_DIFFERENCE = np.log(1.02)  # between the step of the bars and that of the daily data
# What the adjusted close must change by to show a split: a cash dividend changes it by its yield, and one of more than
# a third of the price is rarer than the smallest common split, 3:2.
MIN_SPLIT = np.log(1.5)


@dataclass(frozen=True, eq=False)
class _Steps:
    """What is compared at the open of each line's session; natural logarithms, NaN where unknown, shape (lines,).

    Attributes:
        bars: the step of the bars.
        days: that of the daily data, from the close before to the open.
        adjustment: how much adjusted close over close grows from the day before, by which splits and dividends show.
        split: what a known split takes from the price; 0 without one.
        before: the line before, −1 without one.
    """

    bars: Floats
    days: Floats
    adjustment: Floats
    split: Floats
    before: Int64

    @property
    def is_contradicted(self) -> Bools:
        """Whether the daily data have another step."""
        contradicted: Bools = np.abs(self.bars - self.days) > MAX_DIFFERENCE
        return contradicted

    @property
    def is_borne_out(self) -> Bools:
        """Whether the daily data have the same step."""
        borne_out: Bools = np.abs(self.bars - self.days) <= MAX_DIFFERENCE
        return borne_out


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
    without_split = judged & ~has_split & (unexplained | _find_unknown_splits(panel, steps))
    agrees = steps.is_borne_out & _is_nearer(steps.adjustment, steps.split)
    steps_by_split = _is_nearer(-steps.bars, steps.split) | np.isnan(steps.bars)
    without_step = judged & has_split & ~steps_by_split & ~agrees
    # a split at which the price makes some other step than its own is contradicted like any other step
    without_split |= judged & has_split & ~without_step & unexplained
    last = np.where(starts_outside, find_last_columns(is_outside & present), first)
    return [
        make_session_doubt(rule, panel, line, int(first[line]), int(last[line]), _describe(panel, days, steps, line))
        for rule, found in ((Rule.STEP_WITHOUT_SPLIT, without_split), (Rule.SPLIT_WITHOUT_STEP, without_step))
        for line in np.flatnonzero(found).tolist()
    ]


def _compare_steps(panel: SessionPanel, days: DayFigures, first: Int64, before: Int64) -> _Steps:
    lines = np.arange(len(panel))
    last_close = panel.close[lines, find_last_columns(panel.is_present)]
    adjustment = days.adjusted_close / days.close
    return _Steps(
        bars=_log_ratio(panel.open[lines, first], take_lines(last_close, before)),
        days=_log_ratio(days.open, take_lines(days.close, before)),
        adjustment=_log_ratio(adjustment, take_lines(adjustment, before)),
        split=_log_ratio(days.split_ratio, np.ones(len(panel))),
        before=before,
    )


def _find_unknown_splits(panel: SessionPanel, steps: _Steps) -> Bools:
    """Sessions at which the adjusted close has a split that the bars step by, and that is not known."""
    is_next_session = (steps.before >= 0) & (panel.session == panel.session[steps.before] + 1)
    is_split = np.abs(steps.adjustment) >= MIN_SPLIT
    is_unknown: Bools = is_next_session & (steps.split == 0) & is_split & _is_nearer(-steps.bars, steps.adjustment)
    return is_unknown


def _find_outside_range(panel: SessionPanel, days: DayFigures) -> Bools:
    """Rows that open outside the day's range by more than the tolerance of one, shape (lines, columns).

    All do where the range is unknown; none does where the day contradicts itself, as around a spin-off.
    """
    low = (days.low - compute_tolerance(days.low))[:, None]
    high = (days.high + compute_tolerance(days.high))[:, None]
    contradicts_itself = (days.open[:, None] < low) | (days.open[:, None] > high)
    is_outside: Bools = ~((panel.open >= low) & (panel.open <= high)) & ~contradicts_itself
    return is_outside


def _is_nearer(value: Floats, to: Floats) -> Bools:
    """Whether a logarithm is nearer to another one than to none; False where one is unknown."""
    is_nearer: Bools = np.abs(value - to) < np.abs(value)
    return is_nearer


def _log_ratio(values: Floats, to: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        logarithms = np.log(values / to)
    return np.where(np.isfinite(logarithms), logarithms, np.nan)


def _describe(panel: SessionPanel, days: DayFigures, steps: _Steps, line: int) -> Mapping[str, float | str | None]:
    """What was compared; steps are factors."""
    before = int(steps.before[line])
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
