"""What the values of ``market_data`` mean in SQL: when two prices are the same, and where a volume is not known.

Statements that read or compare bars are in the modules around; ``market.price_digits`` says to how many
digits prices are kept.
"""

import numpy as np

from backfill_assets.market.columns import Columns
from backfill_assets.market.price_digits import SMALL_PRICE
from backfill_assets.store.postgres.connection import Connection

_EQUAL_WITHIN = "5e-7"  # half of the last of six decimals
# Prices below 0.01 have eight significant digits, whose last one is 1e-8 to 1e-7 of the price.
_EQUAL_WITHIN_SHARE = "5e-9"
# A NOT NULL of a partition holds although the partitioned table has none.
_REQUIRES_VOLUME = """
SELECT EXISTS (
    SELECT FROM pg_attribute WHERE attname = 'volume' AND attnotnull AND attrelid IN (
        SELECT to_regclass('market_data') UNION ALL SELECT relid FROM pg_partition_tree(to_regclass('market_data'))))
"""

# In a table that got the columns in this order, volume_known lies in the room that the alignment of fetched_at leaves.
_IS_MARK_FREE = """
SELECT EXISTS (
    SELECT FROM pg_attribute k JOIN pg_attribute f USING (attrelid)
    WHERE attrelid = to_regclass('market_data') AND k.attname = 'volume_known' AND f.attname = 'fetched_at'
      AND k.attnum < f.attnum)
"""


def compare_prices(stored: str, price: str) -> str:
    """SQL: whether a stored price is the same as one in double precision; null if it is null."""
    is_small = f"least({stored}::float8, {price}) < {SMALL_PRICE}"
    within = f"CASE WHEN {is_small} THEN {_EQUAL_WITHIN_SHARE} * {price} ELSE {_EQUAL_WITHIN} END"
    # Most are equal, which is the cheapest to find.
    return f"({stored}::float8 = {price} OR abs({stored}::float8 - {price}) < {within})"


def compare_bars(stored: str, bar: str, prices: tuple[str, str, str, str]) -> str:
    """SQL: whether the bar of one alias has the prices and the volume of a staged one (``bar_staging``).

    Args:
        stored: alias of ``market_data``.
        bar: alias of the other bar, whose ``volume`` is below zero if it is not known.
        prices: its columns of open, high, low and close.
    """
    names = ("open_price", "high_price", "low_price", "close_price")
    pairs = zip(names, prices, strict=True)
    same_prices = " AND ".join(compare_prices(f"{stored}.{name}", f"{bar}.{column}") for name, column in pairs)
    return f"{same_prices} AND {compare_volumes(stored, bar)}"


def compare_volumes(stored: str, bar: str) -> str:
    """SQL: whether both know the same volume, or neither knows one."""
    return (
        f"({stored}.volume = {bar}.volume AND {stored}.volume_known IS NOT FALSE"
        f" OR {bar}.volume < 0 AND {stored}.volume_known IS FALSE)"
    )


def select_volume(stored: str) -> str:
    """SQL: the volume of a bar of ``market_data``, null where it is not known."""
    return f"CASE WHEN {stored}.volume_known IS NOT FALSE THEN {stored}.volume END"


def mark_volume(bar: str) -> tuple[str, str]:
    """SQL: what ``volume`` and ``volume_known`` hold of a staged bar, with the values of ``choose_volume_marks``."""
    return (
        f"CASE WHEN {bar}.volume >= 0 THEN {bar}.volume ELSE %(unknown_volume)s::bigint END",
        f"CASE WHEN {bar}.volume >= 0 THEN %(known_mark)s::boolean ELSE false END",
    )


def choose_volume_marks(connection: Connection, bars: Columns) -> dict[str, int | bool | None]:
    """What the table holds of known and unknown volumes.

    ``known_mark`` is what ``volume_known`` holds of a known one: true where that makes no row longer, else null, which
    says the same. ``unknown_volume`` is what ``volume`` holds of an unknown one (NaN): null, or 0 where it allows none;
    that is only looked up if one of ``bars`` needs it.
    """
    is_needed = bool(np.isnan(bars["volume"].astype(np.float64)).any())
    requires_volume = is_needed and connection.execute(_REQUIRES_VOLUME).fetchall()[0][0]
    ((is_free,),) = connection.execute(_IS_MARK_FREE).fetchall()
    return {"known_mark": True if is_free else None, "unknown_volume": 0 if requires_volume else None}
