"""Daily rows as they are stored: impossible numbers become unknown, and what absence reads stays as it was."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from backfill_assets.market.daily_prices import MAX_DAILY_VOLUME, build_daily_prices, is_settled
from backfill_assets_tests.unit.market_builders import make_daily_rows

DAY = date(2026, 6, 2)
CLOSE = datetime(2026, 6, 2, 20, tzinfo=UTC)
GOOD = (10.0, 12.0, 9.0, 11.0, 5.5, 1000.0)  # open, high, low, close, adjusted close, volume
FIGURES = ("open", "high", "low", "close", "adjusted_close", "volume")


def replace_figure(position: int, value: float | None) -> tuple[float | None, ...]:
    return (*GOOD[:position], value, *GOOD[position + 1 :])


def build_figures(*figures: float | None) -> list[float | None]:
    prices = build_daily_prices([7], make_daily_rows((DAY, *figures)), [0])
    values = [float(getattr(prices, name)[0]) for name in FIGURES]
    return [None if np.isnan(value) else value for value in values]


def test_a_good_row_keeps_all_figures() -> None:
    assert build_figures(*GOOD) == list(GOOD)


@pytest.mark.parametrize("position", range(5))
@pytest.mark.parametrize("impossible", [None, 0.0, -1.0, np.inf])
def test_a_price_that_is_impossible_or_absent_is_unknown_and_the_others_stay(
    position: int, impossible: float | None
) -> None:
    assert build_figures(*replace_figure(position, impossible)) == list(replace_figure(position, None))


def test_a_high_below_the_low_makes_both_unknown() -> None:
    assert build_figures(10.0, 9.0, 12.0, 11.0, 5.5, 1000.0) == [10.0, None, None, 11.0, 5.5, 1000.0]


@pytest.mark.parametrize(
    ("sent", "known", "read_by_absence"),
    [
        (1000.0, 1000, 1000),
        (0.0, 0, 0),
        (0.4, 0.4, 1),  # a fraction of a share is a trade
        (None, None, None),
        (-5.0, None, None),
        (2 * MAX_DAILY_VOLUME, None, None),
        (np.inf, None, None),
    ],
)
def test_a_volume_that_is_impossible_is_unknown_and_one_of_a_fraction_is_a_trade(
    sent: float | None, known: float | None, read_by_absence: int | None
) -> None:
    prices = build_daily_prices([7], make_daily_rows((DAY, *replace_figure(5, sent))), [0])
    assert build_figures(*replace_figure(5, sent))[5] == known
    assert [None if np.isnan(volume) else volume for volume in prices.traded_volume] == [read_by_absence]


def test_a_row_is_settled_twelve_hours_after_the_close() -> None:
    settled_at = CLOSE + timedelta(hours=12)
    assert [is_settled(at, CLOSE) for at in (settled_at, settled_at - timedelta(seconds=1), None)] == [
        True,
        False,
        False,
    ]
