"""Whether the prices bear out a split that is known. Pure.

ADR ratio changes and stock dividends are splits of other ratios. A verdict is about the split; whether the bars around
it are in doubt is judged by ``market.plausibility.price_steps``, by the same steps.
"""

from dataclasses import replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.actions.overnight_steps import MIN_SPLIT, OvernightSteps, is_nearer
from backfill_assets.market.arrays import Floats

_ROUNDING = 1e-9  # of the logarithm of a quotient: 2 / 3 is as far from 1 as 3 / 2


class Verdict(StrEnum):
    """What the prices say of a split."""

    APPLIED = "applied"
    WITHOUT_STEP = "without step"
    NO_BARS = "not judged: no bars on both sides of its ex-date"
    NO_FACTOR = "not judged: no daily rows of both sides that were read since its ex-date"

    @property
    def is_judged(self) -> bool:
        """Whether there was something to compare."""
        return self in (Verdict.APPLIED, Verdict.WITHOUT_STEP)


def judge_splits(steps: OvernightSteps, others: Floats | None = None) -> NDArray[np.object_]:
    """Judge splits by the steps at the first open with each.

    - Of a ratio of at least 1.5, or at most 1/1.5: applied if the bars step by it, that is if the step is nearer to
      what the split makes of the price than to none. Then the adjusted step is nearer to none than the raw one. The
      factor in the daily data is no evidence: the vendor adjusts for a split that it lists by mistake, too.
    - Of a ratio nearer to 1: by the factor in the daily data alone, because a price moves as much by itself.

    Args:
        steps: from the last session with a bar before the ex-date to the first one from it on. ``adjustment`` must be
            of rows read since the ex-date, else NaN: a row that was read before it does not know of the split.
        others: of other splits between the same two sessions, as ``steps.split``; each split is judged by what it adds
            to them, so two records of one split are both without a step. None: there are none.

    Returns:
        A ``Verdict`` for each, shape (splits,).
    """
    if others is not None:
        steps = replace(steps, bars=steps.bars + others, days=steps.days + others, adjustment=steps.adjustment - others)
    is_small = np.abs(steps.split) < MIN_SPLIT - _ROUNDING
    has_evidence = ~np.isnan(np.where(is_small, steps.adjustment, steps.bars))
    is_applied = np.where(is_small, is_nearer(steps.adjustment, steps.split), steps.has_split_in_bars)
    verdicts = np.empty(len(steps.split), np.object_)
    for verdict, chosen in (
        (Verdict.APPLIED, has_evidence & is_applied),
        (Verdict.WITHOUT_STEP, has_evidence & ~is_applied),
        (Verdict.NO_FACTOR, ~has_evidence & is_small),
        (Verdict.NO_BARS, ~has_evidence & ~is_small),
    ):
        verdicts[chosen] = verdict
    return verdicts
