"""What the vendor's other feed says about a doubtful bar: whether it bears the bar out, or stands in for it. Pure.

5m rows come from a single venue, 1m rows from the consolidated tape (docs/vendor.md §2.6). So prices are compared with
a tolerance, and volumes never but in one way: those of 5m cannot exceed those of 1m. Which slots are asked, and what
is written, is in ``backfill.cross_feed``.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from backfill_assets.market.arrays import Floats
from backfill_assets.market.plausibility.rules import Rule

PRICE_TOLERANCE = 0.005  # two venues do not trade at the same price in the same second

# Rules about a price: a price of the other feed that is near it bears it out.
PRICE_RULES = frozenset({Rule.PRICE_OUTSIDE_DAY, Rule.PRICE_SPIKE, Rule.SCALE_BREAK, Rule.STEP_WITHOUT_SPLIT})
# Rules about a volume: recorded running totals have the right prices, so no price lifts such a doubt.
VOLUME_RULES = frozenset({Rule.VOLUME_RUNNING_TOTAL, Rule.VOLUME_EXCEEDS_DAY})
# Rules about a session that is a copy or a standstill: its prices are near the true ones, which proves nothing. The
# recorded repeat at 5.007 lies 0.3 % from the true 4.993.
SESSION_RULES = frozenset({Rule.SESSION_REPEATED, Rule.FROZEN})
# The others are about the symbol's life and splits: both feeds carry the same symbol, and cannot tell.
ASKED_RULES = PRICE_RULES | VOLUME_RULES | SESSION_RULES


class Verdict(StrEnum):
    """What becomes of a doubtful bar after the other feed was asked."""

    CONFIRMED = "confirmed"  # the other feed bears it out
    TAKEN = "taken"  # the slot is taken whole from the other feed
    KEPT = "kept"  # the other feed has nothing better; the doubt goes on


@dataclass(frozen=True, slots=True)
class FeedBar:
    """One bar as one feed has it; volume in shares."""

    open: float
    high: float
    low: float
    close: float
    volume: float

    @property
    def prices(self) -> tuple[float, float, float, float]:
        """Open, high, low and close."""
        return self.open, self.high, self.low, self.close


def judge_bar(rule: Rule, bar: FeedBar, other: FeedBar | None, *, other_is_consolidated: bool, fires: bool) -> Verdict:
    """Judge one doubtful bar by the other feed's bar of the same slot.

    Args:
        rule: the rule of the doubt, one of ``ASKED_RULES``.
        bar: the bar in doubt.
        other: the other feed's bar, itself without a doubt; None if that feed has none.
        other_is_consolidated: whether the other feed is 1m; else it is 5m, and the bar in doubt is of 1m.
        fires: whether the rule found the bar improbable in the newest answer of the first feed, too.
    """
    if other is None:
        return Verdict.KEPT
    if rule in PRICE_RULES:
        return Verdict.CONFIRMED if has_like_prices(bar, other) else Verdict.TAKEN
    if rule in VOLUME_RULES:
        single_venue, consolidated = (bar, other) if other_is_consolidated else (other, bar)
        is_lifted = single_venue.volume <= consolidated.volume and not fires
        return Verdict.CONFIRMED if is_lifted else Verdict.TAKEN
    return Verdict.KEPT if bar.prices == other.prices else Verdict.TAKEN  # both feeds carry the same copy


def has_like_prices(bar: FeedBar, other: FeedBar) -> bool:
    """Whether the other feed's open and close lie within 0.5 %, and its range, widened by that, holds the bar's."""
    return (
        abs(bar.open - other.open) <= PRICE_TOLERANCE * other.open
        and abs(bar.close - other.close) <= PRICE_TOLERANCE * other.close
        and bar.high <= other.high * (1 + PRICE_TOLERANCE)
        and bar.low >= other.low * (1 - PRICE_TOLERANCE)
    )


def compute_volume_ratio(volume: Floats, other: Floats) -> float | None:
    """The other feed's volume for one share of the first's, over the slots of a session that both have.

    Args:
        volume: of the first feed's bars in shares, NaN where it has none or a doubtful one, shape (slots,).
        other: of the other feed's, same shape.

    Returns:
        None where no slot with volume is common to both.
    """
    is_common = ~np.isnan(volume) & ~np.isnan(other)
    total = float(volume[is_common].sum())
    return float(other[is_common].sum()) / total if total > 0 else None
