"""Prices outside the settled range of their day, and one factor of many days in place of many doubts."""

from dataclasses import replace

import numpy as np
import pytest

from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.day_ranges import CommonFactor, find_prices_outside_day
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets_tests.unit.simulated_panels import KINDS, aggregate_bars, scale_prices, simulate_panel


def _simulate(kind: str = "liquid", symbols: int = 4, sessions: int = 30) -> tuple[SessionPanel, DayFigures]:
    return simulate_panel(KINDS[kind], np.random.default_rng(5), symbols, sessions)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_within_their_days_are_not_doubted(kind: str) -> None:
    panel, days = simulate_panel(KINDS[kind], np.random.default_rng(1), 200, 3)
    for form in (panel, aggregate_bars(panel)):
        assert find_prices_outside_day(form, days, np.ones(len(form), bool)) == ([], [])


@pytest.mark.parametrize(
    ("price", "bounds", "is_doubted"),
    [
        (100.5, (90.0, 100.0), False),  # 0.5 %
        (100.51, (90.0, 100.0), True),
        (89.54, (90.0, 100.0), True),
        (1.02, (0.9, 1.0), False),  # two ticks of a cent
        (1.03, (0.9, 1.0), True),
        (0.0102, (0.009, 0.01), False),  # two ticks of 1/100 cent
        (0.0103, (0.009, 0.01), True),
    ],
)
def test_the_tolerance_is_half_a_percent_or_two_ticks(
    price: float, bounds: tuple[float, float], is_doubted: bool
) -> None:
    panel, days = _simulate(symbols=1, sessions=1)
    flat = np.full_like(panel.close, np.mean(bounds))
    changed = flat.copy()
    changed[0, 10] = price
    panel = replace(panel, open=flat, high=np.maximum(flat, changed), low=np.minimum(flat, changed), close=flat)
    days = replace(days, low=np.array([bounds[0]]), high=np.array([bounds[1]]))

    doubts, factors = find_prices_outside_day(panel, days, np.ones(1, bool))

    assert len(doubts) == is_doubted
    assert not factors
    if doubts:
        assert doubts[0].first_stamp == panel.get_stamp(0, 10)
        assert price in (doubts[0].figures["highest"], doubts[0].figures["lowest"])
        assert (doubts[0].figures["day_low"], doubts[0].figures["day_high"]) == bounds


def test_rows_in_a_row_are_one_doubt_and_unknown_days_are_none() -> None:
    panel, days = _simulate()
    wrong = scale_prices(scale_prices(panel, 40, slice(5, 9), 1.3), 40, slice(20, 21), 0.7)

    doubts, _ = find_prices_outside_day(wrong, days, np.ones(len(panel), bool))

    assert [(doubt.symbol_id, doubt.session) for doubt in doubts] == [(2, 10), (2, 10)]
    assert [doubt.first_stamp for doubt in doubts] == [panel.get_stamp(40, 5), panel.get_stamp(40, 20)]
    assert doubts[0].last_stamp == panel.get_stamp(40, 8)
    only_others = np.arange(len(panel)) != 40
    assert find_prices_outside_day(wrong, days, only_others) == ([], [])
    unknown = DayFigures.create_unknown(len(panel))
    assert find_prices_outside_day(wrong, unknown, np.ones(len(panel), bool)) == ([], [])


@pytest.mark.parametrize("kind", ["liquid", "thin"])
def test_a_spin_off_is_one_finding_and_wrong_rows_before_it_are_found(kind: str) -> None:
    panel, days = _simulate(kind)
    bars = aggregate_bars(panel)
    before = np.flatnonzero((bars.symbol_id == 2) & (bars.session < 22))
    adjusted = [values.copy() for values in (days.open, days.high, days.low, days.close)]
    for values in adjusted:
        values[before] /= 2.39
    days = replace(days, open=adjusted[0], high=adjusted[1], low=adjusted[2], close=adjusted[3])

    doubts, factors = find_prices_outside_day(bars, days, np.ones(len(bars), bool))

    assert doubts == []
    (factor,) = factors
    assert factor == CommonFactor(2, 0, 21, factor.factor)
    assert factor.factor == pytest.approx(2.39, rel=0.01)

    line = int(before[3])
    column = int(np.flatnonzero(bars.is_present[line])[2])
    doubts, factors = find_prices_outside_day(
        scale_prices(bars, line, slice(column, column + 1), 1.5), days, np.ones(len(bars), bool)
    )
    assert [(doubt.session, doubt.first_stamp) for doubt in doubts] == [(3, bars.get_stamp(line, column))]
    assert [known.last_session for known in factors] == [21]


@pytest.mark.parametrize(("factor", "is_found"), [(2.39, True), (1.17, True), (2.0, False), (10.0, False)])
def test_bars_step_at_a_spin_off_by_its_factor_and_after_a_wrong_scale_by_a_plain_one(
    factor: float, is_found: bool
) -> None:
    """The daily data are adjusted and go on at one level; the bars fall by the factor."""
    panel, days = _simulate(sessions=31)
    bars = aggregate_bars(panel)
    lines = np.flatnonzero((bars.symbol_id == 2) & (bars.session < 22))
    doubts, factors = find_prices_outside_day(
        scale_prices(bars, lines, slice(None), factor), days, np.ones(len(bars), bool)
    )
    assert [(found.last_session, bool(doubts)) for found in factors] == [(21, False)] * is_found
    assert len({doubt.session for doubt in doubts}) == (0 if is_found else 22)


@pytest.mark.parametrize("sessions", [range(4), range(10, 15), range(6), range(20, 30)])
def test_sessions_of_another_scale_are_no_spin_off(sessions: range) -> None:
    """Fewer than five, in the middle, at the beginning with a step back, or at the end."""
    panel, days = _simulate()
    bars = aggregate_bars(panel)
    lines = np.flatnonzero((bars.symbol_id == 3) & np.isin(bars.session, list(sessions)))

    doubts, factors = find_prices_outside_day(
        scale_prices(bars, lines, slice(None), 2.0), days, np.ones(len(bars), bool)
    )

    assert factors == []
    assert [doubt.session for doubt in doubts] == list(sessions)
