"""Rounds bars to the decimals of ``market_data``, whose price columns another program may have declared.

A column ``numeric(12, 4)`` rounds each price as it is stored. A bar that is rounded in the same way beforehand equals
the stored one, so that reading the same data again changes nothing. Other types keep all decimals of a price.

A price below 0.01 with more than six decimals would lose a part that matters: its bar is refused instead
(docs/decisions/0073).
"""

from collections.abc import Mapping

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.bars.source_rows import PRICES
from backfill_assets.market.columns import Columns
from backfill_assets.market.price_digits import PRICE_DECIMALS, SMALL_PRICE
from backfill_assets.store.bars.refused_bars import RefusedBar
from backfill_assets.store.postgres.connection import Connection

MAX_LOST_SHARE = 1e-7  # of a small price: above the noise of 32-bit floats, 6e-8
# The modifier of a numeric type holds the scale in eleven bits with a sign; without scale it is -1.
_SELECT_SCALES = """
SELECT attname::text, (((atttypmod - 4) & 2047) # 1024) - 1024 FROM pg_attribute
WHERE attrelid = to_regclass('market_data') AND attname = ANY (%(columns)s)
  AND atttypid = 'pg_catalog.numeric'::regtype AND atttypmod >= 4
"""
_NAMES_BY_COLUMN = {f"{name}_price": name for name in PRICES}
_BECOMES_ZERO = "a price column has so few decimals that the price becomes 0"
_LOSES_DIGITS = "a price column has so few decimals that a price below 0.01 loses digits"


def round_to_columns(connection: Connection, bars: Columns) -> tuple[Columns, list[RefusedBar]]:
    """``bars`` as the table stores them, and those that it cannot: prices become zero, or lose digits below 0.01."""
    is_small = any((bars[name] < SMALL_PRICE).any() for name in PRICES)
    scales = {name: scale for name, scale in _read_scales(connection).items() if is_small or scale < PRICE_DECIMALS}
    if not scales:
        return bars, []
    rounded = round_prices(bars, scales)
    is_zero = np.logical_or.reduce([rounded[name] <= 0 for name in scales])
    is_refused = rounded["may_insert"] & (is_zero | _find_losses(bars, scales))
    fields = (column[is_refused].tolist() for column in (rounded["symbol_id"], rounded["timestamp"], is_zero))
    refused = [
        RefusedBar(symbol_id, stamp, "rounding", _BECOMES_ZERO if becomes_zero else _LOSES_DIGITS)
        for symbol_id, stamp, becomes_zero in zip(*fields, strict=True)
    ]
    return rounded.take(~is_refused), refused


def round_prices(bars: Columns, scales: Mapping[str, int]) -> Columns:
    """``bars`` with prices rounded half up, as PostgreSQL rounds; ``scales`` are decimals by column of ``bars``.

    With six decimals or more, only prices below 0.01 have some that are not kept.
    """
    return bars.assign(**{name: _round_half_up(bars[name], scale) for name, scale in scales.items()})


def _find_losses(bars: Columns, scales: Mapping[str, int]) -> Bools:
    """Whether a price below 0.01 would lose more than noise; one of six decimals is rounded like all others."""
    loses = np.zeros(len(bars), bool)
    for name, scale in scales.items():
        price = bars[name]
        kept = _round_small(price, max(scale, PRICE_DECIMALS))
        loses |= (price < SMALL_PRICE) & (np.abs(kept - price) > MAX_LOST_SHARE * price)
    return loses


def _read_scales(connection: Connection) -> dict[str, int]:
    """The decimals of the price columns that have a scale; by column of a bar table."""
    rows = connection.execute(_SELECT_SCALES, {"columns": list(_NAMES_BY_COLUMN)}).fetchall()
    return {_NAMES_BY_COLUMN[column]: scale for column, scale in rows}


def _round_half_up(values: Floats, scale: int) -> Floats:
    """Round in whole millionths, because halves are not exact in binary."""
    if scale >= PRICE_DECIMALS:
        return np.where(values < SMALL_PRICE, _round_small(values, scale), values)
    unit = 10 ** (PRICE_DECIMALS - scale)
    millionths: Int64 = np.rint(values * 10**PRICE_DECIMALS).astype(np.int64)
    rounded: Floats = (millionths + unit // 2) // unit * unit / 10**PRICE_DECIMALS
    return rounded


def _round_small(values: Floats, scale: int) -> Floats:
    """Round half up to six decimals or more; what binary adds to the eight digits of a small price is taken off."""
    unit = 10.0**scale
    rounded: Floats = np.floor(np.round(values * unit, 4) + 0.5) / unit
    return rounded
