"""Whether prices bear out a split: recorded cases, ratios either way, market moves, and what cannot be judged."""

import numpy as np
import pytest

from backfill_assets.market.actions.overnight_steps import OvernightSteps
from backfill_assets.market.actions.proof import Verdict, judge_splits
from backfill_assets.market.arrays import Floats


def build_steps(raw: Floats | float, ratio: Floats | float, days: Floats | float, adjustment: float) -> OvernightSteps:
    """Steps and ratios are factors; unknown ones are NaN."""
    figures = np.broadcast_arrays(np.atleast_1d(raw), days, adjustment, ratio)
    return OvernightSteps(*(np.log(np.asarray(values, np.float64)) for values in figures))


def judge(raw: float, ratio: float, *, days: float = np.nan, adjustment: float = np.nan, others: float = 1) -> Verdict:
    (verdict,) = judge_splits(build_steps(raw, ratio, days, adjustment), np.log([others]))
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.mark.parametrize(
    ("close_before", "opened", "ratio"),
    [
        pytest.param(1208.88, 121.79, 10, id="NVDA 2024-06-10"),
        pytest.param(501.98, 128.0, 4, id="AAPL 2020-08-31"),
        pytest.param(1112.17, 111.5, 10, id="NFLX 2025-11-17"),
        pytest.param(0.12, 1.9, 1 / 15, id="SOPA 2024-05-01, a reverse split"),
    ],
)
def test_recorded_splits_are_applied_once(close_before: float, opened: float, ratio: float) -> None:
    raw = opened / close_before
    assert judge(raw, ratio) == Verdict.APPLIED
    assert abs(np.log(raw * ratio)) < abs(np.log(raw))  # the adjusted step is nearer to 1
    assert judge(raw, ratio, others=ratio) == Verdict.WITHOUT_STEP  # a second record of it, of another day
    assert judge(raw * ratio, ratio) == Verdict.WITHOUT_STEP  # bars that are adjusted already
    assert judge(raw, 1 / ratio) == Verdict.WITHOUT_STEP  # the shares the wrong way round


@pytest.mark.parametrize("ratio", [1.5, 2, 3, 7, 20, 50, 2 / 3, 0.5, 0.1, 1 / 15, 1 / 100])
def test_no_market_move_of_a_usual_night_hides_a_split(ratio: float) -> None:
    """Nights with a standard deviation of 4 %: as of small, volatile companies."""
    moves = np.random.default_rng(3).normal(0, 0.04, 5000)
    with_split = OvernightSteps(moves - np.log(ratio), *np.full((2, 5000), np.nan), np.full(5000, np.log(ratio)))
    without = OvernightSteps(moves, *np.full((2, 5000), np.nan), np.full(5000, np.log(ratio)))
    assert set(judge_splits(with_split)) == {Verdict.APPLIED}
    assert set(judge_splits(without)) == {Verdict.WITHOUT_STEP}


@pytest.mark.parametrize("ratio", [1.05, 1.1, 1.25, 1.4999, 1 / 1.05, 0.8])
def test_small_ratios_are_judged_by_the_factor_in_the_daily_data_alone(ratio: float) -> None:
    """Stock dividends and spin-offs of ADR ratios; the bars step against the split or with it."""
    for raw in (1.1, 1.0, 1 / ratio, 0.5, np.nan):
        assert judge(raw, ratio, adjustment=ratio) == Verdict.APPLIED
        assert judge(raw, ratio, adjustment=ratio * 1.004) == Verdict.APPLIED  # and a cash dividend on the same day
        assert judge(raw, ratio, adjustment=1.0, days=raw) == Verdict.WITHOUT_STEP
        assert judge(raw, ratio, days=raw) == Verdict.NO_FACTOR


def test_a_large_split_is_judged_by_the_bars_alone() -> None:
    """The vendor adjusts its daily data for a split that it lists by mistake, too."""
    raw = 1.3 / 1.5  # 3:2, and 30 % up overnight: as if there were none
    assert judge(raw, 1.5) == judge(raw, 1.5, days=raw, adjustment=1.5) == Verdict.WITHOUT_STEP
    assert judge(1.2 / 1.5, 1.5, adjustment=1.0) == Verdict.APPLIED


def test_bars_that_do_not_step_as_the_daily_data_do_are_not_adjusted_twice() -> None:
    """The vendor adjusted its intraday prices, too: the split must not be applied to them."""
    assert judge(1.01, 10, days=0.101, adjustment=10) == Verdict.WITHOUT_STEP


def test_two_splits_between_the_same_sessions_are_each_judged_by_what_they_add() -> None:
    assert judge(1 / 20, 10, others=2) == judge(1 / 20, 2, others=10) == Verdict.APPLIED
    assert judge(1 / 10, 10, others=2) == Verdict.APPLIED
    assert judge(1 / 10, 2, others=10) == Verdict.WITHOUT_STEP
    assert judge(0.9, 1.05, others=1.1, adjustment=1.05 * 1.1) == Verdict.APPLIED


def test_without_prices_on_both_sides_nothing_is_judged() -> None:
    assert judge(np.nan, 10, adjustment=10) == Verdict.NO_BARS
    assert [verdict for verdict in Verdict if verdict.is_judged] == [Verdict.APPLIED, Verdict.WITHOUT_STEP]
    assert len(judge_splits(OvernightSteps(*np.zeros((4, 0))))) == 0
