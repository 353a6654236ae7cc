"""When absent slots are a halt, and not a gap of the vendor: the evidence of both feeds, of the market and of the day.

Pure. ``backfill.cross_feed`` collects the facts, ``slot_states`` makes the slots no trade.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64

MAX_LACKING_SHARE = 0.02  # of the exchange's other liquid tickers; from that share on the vendor lost the slot
MIN_TICKERS_SEEN = 20  # fewer say nothing about the market
# Far below the usual share of the day's volume: the feed lost trades. A halt itself lowers both volumes.
REFUTING_SHARE = 0.5
ROWS_INSIDE = "the other feed has rows of the slot"  # the reason of a halt that is refuted by them
MIN_USUAL_DAYS = 5  # of which the usual share is the median
ASK_AGAIN_AFTER = (timedelta(hours=24), timedelta(hours=72))  # from when it was found; then it is final
FINAL_AFTER = ASK_AGAIN_AFTER[-1]


class HaltKind(StrEnum):
    """Why nothing traded in regular hours, although the day is no day without a trade."""

    HALT = "halt"  # rows on both sides of the slot, and none inside
    OUTSIDE_HOURS = "outside_hours"  # the day's only trading was before the open or after the close


class HaltState(StrEnum):
    """What the evidence says about a halt."""

    FOUND = "found"  # the slot is no trade
    PROPOSED = "proposed"  # too few tickers were seen: a person decides
    REFUTED = "refuted"  # it is a gap


@dataclass(frozen=True, slots=True)
class HaltFacts:
    """What is known about a slot that both feeds lack.

    Attributes:
        kind: what both feeds show.
        tickers_seen: the exchange's other liquid tickers whose session was seen published beyond the slot.
        tickers_lacking: how many of them lack the slot.
        daily_volume: shares of the day in the daily data; None while they are not known.
        volume_share: 1m volume of the day, all hours, as a share of the daily volume; None while that is not known.
        usual_share: the median of the same on other days; None while too few are known.
    """

    kind: HaltKind
    tickers_seen: int
    tickers_lacking: int
    daily_volume: float | None = None
    volume_share: float | None = None
    usual_share: float | None = None

    @property
    def is_outage(self) -> bool:
        """Whether so many tickers lack the slot that the vendor lost it."""
        return self.tickers_lacking > 0 and self.tickers_lacking >= MAX_LACKING_SHARE * self.tickers_seen

    @property
    def lacks_volume(self) -> bool:
        """Whether the 1m rows lack trades that the day has."""
        if self.volume_share is None:
            return False
        if self.volume_share == 0:  # the day traded, and the feed has none of it
            return True
        usual = 1.0 if self.usual_share is None and self.kind is HaltKind.OUTSIDE_HOURS else self.usual_share
        return usual is not None and self.volume_share < REFUTING_SHARE * usual


def judge_halt(facts: HaltFacts) -> HaltState:
    """Whether a slot that both feeds lack is a halt.

    A day that only traded outside regular hours is found in a small universe, too: its 1m rows of the same day, which
    hold the day's volume, show that the feed lost nothing.
    """
    if facts.daily_volume == 0:
        return HaltState.FOUND
    if facts.lacks_volume:
        return HaltState.REFUTED
    is_market_seen = facts.tickers_seen >= MIN_TICKERS_SEEN
    if is_market_seen and facts.is_outage:
        return HaltState.REFUTED
    if facts.kind is HaltKind.OUTSIDE_HOURS and facts.volume_share is not None:
        return HaltState.FOUND
    return HaltState.FOUND if is_market_seen else HaltState.PROPOSED


def find_enclosed(starts: Int64, ends: Int64, trades: Int64) -> Bools:
    """Which slots have a trade of one answer on both sides and none inside, shape (slots,).

    Args:
        starts: epoch seconds of each slot's open.
        ends: of its end.
        trades: stamps of the answer's trades, or of anything that stands for one, ascending; of any number.
    """
    earlier, until_end = np.searchsorted(trades, starts), np.searchsorted(trades, ends)
    enclosed: Bools = (earlier > 0) & (until_end == earlier) & (until_end < len(trades))
    return enclosed


def compute_usual_share(shares: Floats) -> float | None:
    """The median share of other days, NaN where a day's is not known; None while fewer than five are known."""
    known = shares[~np.isnan(shares)]
    return float(np.median(known)) if len(known) >= MIN_USUAL_DAYS else None


def compute_next_request(found_at: datetime, asked_at: datetime) -> datetime | None:
    """When both feeds are asked again about a slot found at ``found_at`` and last asked at ``asked_at``.

    None once that was 72 h or more after it was found: the halt is final.
    """
    return next((found_at + delay for delay in ASK_AGAIN_AFTER if asked_at < found_at + delay), None)


def describe_halt(facts: HaltFacts, state: HaltState) -> str:
    """What was seen, in words."""
    lacking = f"{facts.tickers_lacking} of {facts.tickers_seen} other liquid symbols lack the slot"
    if state is HaltState.REFUTED and facts.lacks_volume:
        usual = "" if facts.usual_share is None else f", usually {facts.usual_share:.0%}"
        return f"the 1m rows hold {facts.volume_share or 0:.0%} of the day's volume{usual}: the feed lacks trades"
    if state is HaltState.REFUTED:
        return f"{lacking}, too: the vendor lost it"
    seen = {
        HaltKind.HALT: "both feeds have rows on both sides and none inside",
        HaltKind.OUTSIDE_HOURS: "all of the day's trading was outside regular hours",
    }[facts.kind]
    return f"{seen}; {lacking}" + (": too few to tell, a person decides" if state is HaltState.PROPOSED else "")
