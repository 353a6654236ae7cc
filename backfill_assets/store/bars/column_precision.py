"""Rounds bars to the decimals of ``market_data``, whose price columns another program may have declared.

A column ``numeric(12, 4)`` rounds each price as it is stored. A bar that is rounded in the same way beforehand equals
the stored one, so that reading the same data again changes nothing. Other types keep all decimals of a price.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from backfill_assets.market.arrays import Floats, Int64
from backfill_assets.market.bars.source_rows import PRICE_DECIMALS, PRICES
from backfill_assets.store.bars.refused_bars import RefusedBar
from backfill_assets.store.postgres.connection import Connection

# The modifier of a numeric type holds the scale in eleven bits with a sign; without scale it is -1.
_SELECT_SCALES = """
SELECT attname::text, (((atttypmod - 4) & 2047) # 1024) - 1024 FROM pg_attribute
WHERE attrelid = to_regclass('market_data') AND attname = ANY (%(columns)s)
  AND atttypid = 'pg_catalog.numeric'::regtype AND atttypmod >= 4
"""
_NAMES_BY_COLUMN = {f"{name}_price": name for name in PRICES}


def round_to_columns(connection: Connection, bars: pd.DataFrame) -> tuple[pd.DataFrame, list[RefusedBar]]:
    """``bars`` as the table stores them, and those that it cannot store because a price above zero becomes zero."""
    scales = _read_scales(connection)
    if not scales:
        return bars, []
    rounded = round_prices(bars, scales)
    is_zero = rounded["may_insert"] & (rounded[list(scales)] <= 0).any(axis=1)
    refused = [
        RefusedBar(symbol_id, stamp, "rounding", "a price column has so few decimals that the price becomes 0")
        for symbol_id, stamp in rounded.loc[is_zero, ["symbol_id", "timestamp"]].itertuples(index=False)
    ]
    return rounded.loc[~is_zero], refused


def round_prices(bars: pd.DataFrame, scales: Mapping[str, int]) -> pd.DataFrame:
    """``bars`` with prices rounded half up, as PostgreSQL rounds; ``scales`` are decimals by column of ``bars``."""
    return bars.assign(**{name: _round_half_up(bars[name].to_numpy(float), scale) for name, scale in scales.items()})


def _read_scales(connection: Connection) -> dict[str, int]:
    """The decimals of the price columns that keep fewer than prices have; by column of a bar table."""
    rows = connection.execute(_SELECT_SCALES, {"columns": list(_NAMES_BY_COLUMN)}).fetchall()
    return {_NAMES_BY_COLUMN[column]: scale for column, scale in rows if scale < PRICE_DECIMALS}


def _round_half_up(values: Floats, scale: int) -> Floats:
    """Round in whole millionths, because halves are not exact in binary."""
    unit = 10 ** (PRICE_DECIMALS - scale)
    millionths: Int64 = np.rint(values * 10**PRICE_DECIMALS).astype(np.int64)
    rounded: Floats = (millionths + unit // 2) // unit * unit / 10**PRICE_DECIMALS
    return rounded
