"""To how many digits prices are kept: six decimals, and eight significant digits below 0.01.

What a table keeps of them is in ``store.bars.column_precision``, the text that certificates hash in
``market.bars.canonical_rows``.
"""

import math

import numpy as np

from backfill_assets.market.arrays import Floats

PRICE_DECIMALS = 6
SMALL_PRICE = 0.01  # six decimals would lose most of the price of a coin that costs 0.00001234
SMALL_PRICE_DIGITS = 8
_MAX_EXPONENT = 22  # the largest power of ten that double precision holds exactly


def round_prices(prices: Floats) -> Floats:
    """Prices as they are kept, half to even; NaN stays, and what is not above zero has six decimals."""
    rounded: Floats = np.round(prices, PRICE_DECIMALS)
    is_small = prices < SMALL_PRICE
    if is_small.any():
        is_small &= prices > 0
        rounded[is_small] = _round_significant(prices[is_small])
    return rounded


def format_price(price: float) -> str:
    """A price as people read it: six significant digits, but all of one below 0.01, and two decimals from 10,000 on."""
    if abs(price) < SMALL_PRICE:
        return f"{price:.{SMALL_PRICE_DIGITS}g}"
    whole_digits = len(f"{abs(price):.0f}") if math.isfinite(price) else 0
    return f"{price:.{max(6, whole_digits + 2)}g}"


def _round_significant(prices: Floats) -> Floats:
    """Prices above zero to eight significant digits; below 5e-23 they become 0."""
    digits = SMALL_PRICE_DIGITS - 1 - np.floor(np.log10(prices))
    scale = 10.0 ** np.minimum(digits, _MAX_EXPONENT)
    rounded: Floats = np.rint(prices * scale) / scale
    return rounded
