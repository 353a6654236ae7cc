"""Tests of what is a change of unit, and what is a split, a wrong session or a move."""

from datetime import date, timedelta

import pytest

from backfill_assets.market.exchanges.price_units import get_currency, has_subunit, read_price_unit
from backfill_assets.market.exchanges.registry import US, get_profile
from backfill_assets.market.learning.level_jumps import SessionLevel, find_level_jumps

FIRST = date(2026, 5, 4)


def build_levels(*prices: float) -> list[SessionLevel]:
    """Sessions whose ranges are 2 % wide."""
    return [SessionLevel(FIRST + timedelta(days=at), price * 0.99, price * 1.01) for at, price in enumerate(prices)]


@pytest.mark.parametrize(("before", "after"), [(120.0, 1.2), (1.2, 120.0), (120.0, 1.3), (0.9, 85.0)])
def test_a_level_that_jumps_by_100_and_stays_is_a_jump(before: float, after: float) -> None:
    (jump,) = find_level_jumps(build_levels(before, before * 1.05, before, after, after * 1.02, after * 0.98))
    assert (jump.day, jump.last_day) == (FIRST + timedelta(days=3), FIRST + timedelta(days=2))
    assert jump.is_up is (after > before)
    assert jump.new_price == pytest.approx(after, rel=0.01)


def test_the_first_session_at_a_new_level_is_enough() -> None:
    assert len(find_level_jumps(build_levels(120, 121, 122, 1.22))) == 1


@pytest.mark.parametrize(
    "prices",
    [
        pytest.param((120, 121, 122, 1.2, 122, 121), id="one wrong session"),
        pytest.param((120, 121, 122, 1.2, 1.21, 122, 121, 120), id="two wrong sessions"),
        pytest.param((120, 121, 122, 60, 61, 60), id="a split"),
        pytest.param((120, 121, 122, 12.2, 12.1), id="a factor of 10"),
        pytest.param((120, 121, 122, 2.4, 2.3), id="a factor of 50"),
        pytest.param((120, 1, 121, 1.2, 1.21), id="no level before"),
        pytest.param((120, 121, 122), id="no change"),
        pytest.param((), id="no session"),
    ],
)
def test_anything_else_is_no_jump(prices: tuple[float, ...]) -> None:
    assert find_level_jumps(build_levels(*prices)) == []


def test_a_listed_split_on_the_day_explains_the_jump() -> None:
    levels = build_levels(120, 121, 122, 1.22)
    assert find_level_jumps(levels, frozenset({levels[3].day})) == []


def test_a_listing_may_switch_and_switch_back_after_weeks() -> None:
    prices = [120.0] * 5 + [1.2] * 10 + [121.0] * 5
    assert [jump.is_up for jump in find_level_jumps(build_levels(*prices))] == [False, True]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("GBX", "GBX"),
        ("GBp", "GBX"),
        ("GBP ", "GBP"),
        ("ZAc", "ZAC"),
        (" usd", "USD"),
        ("", None),
        (None, None),
        ("RWF.", None),
    ],
)
def test_units_are_read_as_the_vendor_writes_them(text: str | None, unit: str | None) -> None:
    assert read_price_unit(text) == unit


def test_units_of_exchanges() -> None:
    assert [get_currency(unit) for unit in ("GBX", "ZAC", "EUR")] == ["GBP", "ZAR", "EUR"]
    assert [has_subunit(market) for market in (US, get_profile("LSE"), get_profile("JSE"), get_profile("PA"))] == [
        False,
        True,
        True,
        False,
    ]
