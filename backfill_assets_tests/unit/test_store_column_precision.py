"""Prices are rounded as PostgreSQL rounds them for a column with few decimals: half up."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.market.columns import Columns
from backfill_assets.store.bars.column_precision import round_prices


def round_close(price: float, scale: int) -> float:
    rounded = round_prices(Columns({"open": [price], "close": [price]}), {"close": scale})
    assert rounded["open"].tolist() == [price]
    return float(rounded["close"][0])


@pytest.mark.parametrize(
    ("price", "scale", "stored"),
    [
        (10.12345, 4, 10.1235),
        (10.123449, 4, 10.1234),
        (1.005, 2, 1.01),
        (2.5, 0, 3.0),
        (0.00004, 4, 0.0),
        (55.0, -1, 60.0),
    ],
)
def test_halves_are_rounded_up(price: float, scale: int, stored: float) -> None:
    assert round_close(price, scale) == stored


@given(st.integers(1, 10**12 - 1), st.integers(0, 5))
def test_every_price_is_rounded_as_a_decimal(millionths: int, scale: int) -> None:
    exact = (Decimal(millionths) / 10**6).quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
    assert round_close(millionths / 10**6, scale) == float(exact)
