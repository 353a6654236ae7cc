"""Overnight steps: doubted where the daily data have another one, or where a known split has none."""

import numpy as np
import pytest

from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.price_steps import find_price_steps
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets_tests.unit.session_panels import (
    build_days,
    build_full_panel,
    build_session_grid,
    change_days,
    change_panel,
    copy_values,
    describe,
    judge_all,
)

GRID = build_session_grid("2026-08-03", "2026-08-14")
CLEAN = build_full_panel(GRID)
DAYS = build_days(CLEAN)
AT = 5  # the line of the step


def scale(panel: SessionPanel, factor: float, *, before: bool = False) -> SessionPanel:
    """Multiply the prices from ``AT`` on, or those before."""
    values = copy_values(panel)
    for name in ("open", "high", "low", "close"):
        values[name][slice(AT) if before else slice(AT, None)] *= factor
    return change_panel(panel, **values)


def split(days: DayFigures, ratio: float, known: float = 1.0) -> DayFigures:
    """Daily data with a split at ``AT``, as the vendor gives them; ``known`` is what is known of it."""
    before = np.arange(len(days.open)) < AT
    prices = {name: getattr(days, name) / np.where(before, 1, ratio) for name in ("open", "high", "low", "close")}
    ratios = np.ones(len(before))
    ratios[AT] = known
    adjusted = prices["close"] / np.where(before, ratio, 1)
    return change_days(days, **prices, adjusted_close=adjusted, split_ratio=ratios)


def find(panel: SessionPanel, days: DayFigures) -> list[tuple[Rule, int]]:
    return [(doubt.rule, doubt.session) for doubt in find_price_steps(panel, days, judge_all(panel))]


def test_ordinary_sessions_are_not_doubted() -> None:
    assert find(CLEAN, DAYS) == []
    assert find(CLEAN, DayFigures.create_unknown(len(CLEAN))) == []


@pytest.mark.parametrize("factor", [0.1, 0.5, 0.96, 1.04, 4.0])
def test_a_step_that_the_daily_data_lack_is_doubted(factor: float) -> None:
    panel = scale(CLEAN, factor)
    (doubt,) = find_price_steps(panel, DAYS, judge_all(panel))
    assert (doubt.rule, doubt.session) == (Rule.STEP_WITHOUT_SPLIT, AT)
    assert doubt.first_stamp == panel.get_stamp(AT, 0)
    names = ("session_before", "open", "close_before", "day_open", "day_close_before", "split_ratio")
    expected = [panel.open[AT, 0], panel.close[AT - 1, 12], DAYS.open[AT], DAYS.close[AT - 1], 1.0]
    assert describe(doubt.figures, *names) == [str(GRID.sessions[AT - 1].day), *expected]


def test_the_doubt_is_about_the_rows_outside_the_range() -> None:
    panel = scale(CLEAN, 4.0)
    (doubt,) = find_price_steps(panel, DAYS, judge_all(panel))
    assert doubt.last_stamp == panel.get_stamp(AT, 12)


@pytest.mark.parametrize("factor", [0.08, 0.6, 1.7, 12.0])
def test_a_step_that_the_daily_data_have_is_none(factor: float) -> None:
    """Failed trials, penny stocks, second days after a listing, reopenings."""
    panel = scale(CLEAN, factor)
    assert find(panel, build_days(panel)) == []


def test_a_thin_name_may_trade_anywhere_in_the_range() -> None:
    open_far_from_ours = change_days(DAYS, open=DAYS.open * 1.05, high=DAYS.high * 1.06, low=DAYS.low * 0.98)
    assert find(CLEAN, open_far_from_ours) == []


def test_a_cheap_name_is_given_two_ticks() -> None:
    cheap = build_full_panel(GRID, price=1.2)
    days = build_days(cheap)
    assert find(cheap, change_days(days, high=days.high - 0.01, low=days.low - 0.02, open=days.open - 0.025)) == []


@pytest.mark.parametrize(
    ("close_before", "opened", "ratio"), [(1208.88, 121.79, 10), (501.98, 128.0, 4), (1112.17, 111.5, 10)]
)
def test_recorded_splits(close_before: float, opened: float, ratio: float) -> None:
    """NVDA 2024, AAPL 2020 and NFLX 2025: known, unknown, and with prices that were adjusted for it."""
    level = scale(CLEAN, close_before / CLEAN.close[AT - 1, 12], before=True)
    panel = scale(level, opened / CLEAN.open[AT, 0])
    raw = build_days(panel)
    adjusted_close = np.where(np.arange(len(panel)) < AT, raw.close / ratio, raw.close)
    ratios = np.ones(len(panel))
    ratios[AT] = ratio
    known = change_days(raw, adjusted_close=adjusted_close, split_ratio=ratios)
    assert find(panel, known) == []
    assert find(panel, change_days(known, split_ratio=np.ones(len(panel)))) == [(Rule.STEP_WITHOUT_SPLIT, AT)]
    assert find(panel, change_days(known, split_ratio=np.full(len(panel), np.nan))) == []
    adjusted = scale(panel, 1 / ratio, before=True)
    (doubt,) = find_price_steps(adjusted, known, judge_all(adjusted))
    assert (doubt.rule, doubt.session, doubt.figures["split_ratio"]) == (Rule.SPLIT_WITHOUT_STEP, AT, ratio)
    assert find(adjusted, change_days(DayFigures.create_unknown(len(panel)), split_ratio=ratios)) == [
        (Rule.SPLIT_WITHOUT_STEP, AT)
    ]


@pytest.mark.parametrize("ratio", [1.05, 1.5, 20.0, 0.05])
def test_splits_either_way(ratio: float) -> None:
    days, panel = split(DAYS, ratio, known=ratio), scale(CLEAN, 1 / ratio)
    assert find(panel, days) == []
    assert (Rule.SPLIT_WITHOUT_STEP, AT) in find(CLEAN, days)


def test_a_split_of_another_day_is_doubted() -> None:
    ratios = np.ones(len(CLEAN))
    ratios[AT] = 10
    assert find(CLEAN, change_days(DAYS, split_ratio=ratios)) == [(Rule.SPLIT_WITHOUT_STEP, AT)]


def test_a_split_that_steps_by_something_else_is_a_step_of_its_own() -> None:
    days, panel = split(DAYS, 10, known=10), scale(CLEAN, 1 / 20)
    assert find(panel, days) == [(Rule.STEP_WITHOUT_SPLIT, AT)]


def test_a_small_stock_dividend_against_the_market_is_borne_out_by_the_day() -> None:
    """A dividend of 5 % in shares on a day on which the price rises by 4 %."""
    days = split(
        change_days(DAYS, **{n: getattr(DAYS, n) * 1.04 for n in ("open", "high", "low", "close")}), 1.05, 1.05
    )
    before = np.arange(len(CLEAN)) < AT
    level = {n: np.where(before, getattr(DAYS, n), getattr(days, n)) for n in ("open", "high", "low", "close")}
    adjusted = level["close"] / np.where(before, 1.05, 1)
    assert find(scale(CLEAN, 1.04 / 1.05), change_days(days, **level, adjusted_close=adjusted)) == []


@pytest.mark.parametrize("dividend", [0.004, 0.02, 0.3])
def test_cash_dividends_are_no_unknown_splits(dividend: float) -> None:
    panel = scale(CLEAN, 1 - dividend)
    days = build_days(panel)
    adjusted = np.where(np.arange(len(panel)) < AT, days.close * (1 - dividend), days.close)
    assert find(panel, change_days(days, adjusted_close=adjusted)) == []


def test_daily_rows_that_were_read_before_and_after_a_split_show_none() -> None:
    """One day was read again after a later split: its adjusted close alone is a quarter."""
    adjusted = DAYS.close.copy()
    adjusted[AT] /= 4
    assert find(CLEAN, change_days(DAYS, adjusted_close=adjusted)) == []


def test_a_spin_off_is_no_step() -> None:
    """The vendor adjusts the days before for it, all figures or the close alone; the bars are as traded (DD, 2.39)."""
    panel = scale(CLEAN, 2.39, before=True)
    days = build_days(panel)
    before = np.arange(len(panel)) < AT
    everything = ["open", "high", "low", "close", "adjusted_close"]
    for adjusted in (everything, everything[1:], everything[3:]):
        figures = {name: np.where(before, getattr(days, name) / 2.39, getattr(days, name)) for name in adjusted}
        assert find(panel, change_days(days, **figures)) == []


def test_thin_names_are_compared_with_their_last_session() -> None:
    values = copy_values(scale(CLEAN, 3.0))
    for cells in values.values():
        cells[AT, :4] = np.nan
        cells[AT - 1, 9:] = np.nan
    panel = change_panel(CLEAN, **values)
    (doubt,) = find_price_steps(panel, DAYS, judge_all(panel))
    assert (doubt.session, doubt.first_stamp) == (AT, panel.get_stamp(AT, 4))
    assert doubt.figures["close_before"] == panel.close[AT - 1, 8]


def test_a_session_without_rows_is_no_session_before() -> None:
    """A halt of a whole day before a split."""
    panel, days = scale(CLEAN, 1 / 10), split(DAYS, 10, known=10)

    def drop(panel: SessionPanel, begin: int) -> SessionPanel:
        values = copy_values(panel)
        for cells in values.values():
            cells[begin:AT] = np.nan
        return change_panel(panel, **values)

    assert find(drop(panel, AT - 1), days) == []
    (doubt,) = find_price_steps(drop(CLEAN, AT - 1), days, judge_all(CLEAN))
    assert (doubt.rule, doubt.figures["session_before"]) == (Rule.SPLIT_WITHOUT_STEP, str(GRID.sessions[AT - 2].day))
    assert find(drop(CLEAN, 0), days) == []
