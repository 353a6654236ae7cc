"""Tests of what an experimental exchange has to show before rules rest on its daily data."""

from dataclasses import replace

import pytest

from backfill_assets.market.exchanges.learned import (
    MIN_SESSIONS,
    NOTHING_COMPARED,
    DailyComparison,
    DailyFigure,
    may_judge_by_daily_data,
)
from backfill_assets.market.exchanges.registry import US, get_profile

LSE = get_profile("LSE")
FINE = DailyComparison(MIN_SESSIONS, days=800, untraded=30, untraded_with_bars=8, ranged=800, outside_range=8)


@pytest.mark.parametrize("figure", DailyFigure)
def test_a_verified_exchange_is_judged_without_any_comparison(figure: DailyFigure) -> None:
    assert may_judge_by_daily_data(US, NOTHING_COMPARED, figure)


@pytest.mark.parametrize("figure", DailyFigure)
def test_an_experimental_exchange_is_judged_from_twenty_sessions_on(figure: DailyFigure) -> None:
    assert not may_judge_by_daily_data(LSE, NOTHING_COMPARED, figure)
    assert not may_judge_by_daily_data(LSE, replace(FINE, sessions=MIN_SESSIONS - 1), figure)
    assert may_judge_by_daily_data(LSE, FINE, figure)


def test_daily_data_that_the_bars_contradict_do_not_judge_and_each_figure_is_for_itself() -> None:
    traded = replace(FINE, untraded_with_bars=9)
    assert not may_judge_by_daily_data(LSE, traded, DailyFigure.TRADING)
    assert may_judge_by_daily_data(LSE, traded, DailyFigure.PRICES)
    outside = replace(FINE, outside_range=9)
    assert may_judge_by_daily_data(LSE, outside, DailyFigure.TRADING)
    assert not may_judge_by_daily_data(LSE, outside, DailyFigure.PRICES)


def test_a_small_universe_may_have_a_few_wrong_bars_and_no_false_silence() -> None:
    few = replace(FINE, days=20, untraded_with_bars=0, ranged=20, outside_range=3)
    assert may_judge_by_daily_data(LSE, few, DailyFigure.PRICES)
    assert not may_judge_by_daily_data(LSE, replace(few, outside_range=4), DailyFigure.PRICES)
    assert not may_judge_by_daily_data(LSE, replace(few, untraded_with_bars=1), DailyFigure.TRADING)


@pytest.mark.parametrize("is_set", [True, False])
def test_what_a_user_has_set_decides_whether_a_volume_of_0_is_a_proof(is_set: bool) -> None:
    known = replace(LSE, daily_volume_tells=is_set, assumed=LSE.assumed - {"daily_volume_tells"})
    assert may_judge_by_daily_data(known, NOTHING_COMPARED, DailyFigure.TRADING) is is_set
    assert not may_judge_by_daily_data(known, NOTHING_COMPARED, DailyFigure.PRICES)
