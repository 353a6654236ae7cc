"""The rules by which bars are improbable: the codes that are stored and shown, and what each means in words.

The functions that apply them are in modules of their own beside this one.
"""

from collections.abc import Mapping
from enum import StrEnum


class Rule(StrEnum):
    """Why a bar is doubted; the values are stored, reported and shown."""

    VOLUME_RUNNING_TOTAL = "volume_running_total"
    VOLUME_EXCEEDS_DAY = "volume_exceeds_day"
    PRICE_OUTSIDE_DAY = "price_outside_day"
    PRICE_SPIKE = "price_spike"
    SCALE_BREAK = "scale_break"
    SESSION_REPEATED = "session_repeated"
    FROZEN = "frozen"
    STEP_WITHOUT_SPLIT = "step_without_split"
    SPLIT_WITHOUT_STEP = "split_without_step"
    OUTSIDE_LISTING = "outside_listing"


RULE_TEXTS: Mapping[Rule, str] = {
    Rule.VOLUME_RUNNING_TOTAL: "the volume is the session's total so far, not the row's own",
    Rule.VOLUME_EXCEEDS_DAY: "the session's volumes exceed the day's, or the usual share of it",
    Rule.PRICE_OUTSIDE_DAY: "a price lies outside the day's range",
    Rule.PRICE_SPIKE: "a price lies far from its neighbours and returns",
    Rule.SCALE_BREAK: "the prices are of another scale",
    Rule.SESSION_REPEATED: "the session's prices repeat an earlier session",
    Rule.FROZEN: "one price and no volume while the day traded",
    Rule.STEP_WITHOUT_SPLIT: "the price steps overnight, and the daily data do not",
    Rule.SPLIT_WITHOUT_STEP: "a split is known, and the price does not step",
    Rule.OUTSIDE_LISTING: "the symbol was not listed",
}
