"""A doubt: rows or bars that are improbable by a rule, with the figures that were compared. A value, without its life.

How a doubt ends is in ``store.evidence.doubts``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.price_digits import PRICE_DECIMALS, SMALL_PRICE, SMALL_PRICE_DIGITS


@dataclass(frozen=True, slots=True)
class Doubt:
    """One improbable stretch within one session of one symbol.

    Attributes:
        rule: the rule that finds it improbable.
        symbol_id: the symbol.
        session: position in the sessions of the grid at hand.
        first_stamp: open of the first row or bar in doubt, epoch seconds UTC.
        last_stamp: open of the last one.
        figures: what was compared, by name, for people: the values in doubt, and those that they contradict.
        withheld_volume: shares that the rows prove not to be the bar's, and that it therefore lacks.
    """

    rule: Rule
    symbol_id: int
    session: int
    first_stamp: int
    last_stamp: int
    figures: Mapping[str, float | str | None]
    withheld_volume: float = 0.0


def round_price(price: float) -> float:
    """A price as it is shown among figures: six decimals, below 0.01 eight significant digits."""
    return round(price, PRICE_DECIMALS) if abs(price) >= SMALL_PRICE else float(f"{price:.{SMALL_PRICE_DIGITS}g}")
