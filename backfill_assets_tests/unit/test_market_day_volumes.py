"""Which sessions have more volume than their day allows: the day's own volume, and the usual part of it."""

from dataclasses import replace

import numpy as np
import pytest

from backfill_assets.market.arrays import Bools, Floats
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.day_volumes import find_volumes_exceeding_day
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets_tests.unit.session_panels import judge_all

BARS = 13
DAY = 1e6


def build(shares: Floats) -> tuple[SessionPanel, DayFigures]:
    """Sessions with these shares of a day of a million shares; shape (symbols, sessions)."""
    symbols, sessions = shares.shape
    bars = np.repeat(shares.reshape(-1, 1) * DAY / BARS, BARS, axis=1)
    session = np.tile(np.arange(sessions), symbols)
    symbol_id = np.repeat(np.arange(symbols), sessions)
    panel = SessionPanel(symbol_id, session, session * 86_400, np.full(shares.size, BARS), 1800, *[bars] * 5)
    return panel, replace(DayFigures.create_unknown(shares.size), volume=np.full(shares.size, DAY))


def draw_shares(symbols: int, sessions: int, deviation: float, seed: int = 0) -> Floats:
    random = np.random.default_rng(seed)
    shares: Floats = random.uniform(0.15, 0.45, (symbols, 1)) * np.exp(
        deviation * random.standard_normal((symbols, sessions))
    )
    return np.minimum(shares, 1.0)


def mark(doubts: list[Doubt], shape: tuple[int, ...]) -> Bools:
    marked = np.zeros(shape, bool)
    for doubt in doubts:
        marked[doubt.symbol_id, doubt.session] = True
    return marked


def find(shares: Floats) -> Bools:
    panel, days = build(shares)
    return mark(find_volumes_exceeding_day(panel, days, judge_all(panel)), shares.shape)


@pytest.mark.parametrize(("share", "is_doubted"), [(0.5, False), (1.0, False), (1.0005, False), (1.01, True)])
def test_a_session_with_more_than_the_day_is_doubted(share: float, is_doubted: bool) -> None:
    panel, days = build(np.array([[share]]))
    doubts = find_volumes_exceeding_day(panel, days, judge_all(panel))
    assert bool(doubts) == is_doubted
    for doubt in doubts:
        assert (doubt.first_stamp, doubt.last_stamp) == (0, 12 * 1800)
        assert doubt.figures == {"session_volume": pytest.approx(share * DAY), "day_volume": DAY, "usual_share": None}
        assert doubt.withheld_volume == 0


def test_a_day_without_a_known_volume_is_not_judged() -> None:
    panel, _ = build(np.array([[2.0]]))
    assert not find_volumes_exceeding_day(panel, DayFigures.create_unknown(1), judge_all(panel))


def test_only_the_lines_that_are_to_be_judged_are_doubted() -> None:
    panel, days = build(np.array([[2.0, 2.0]]))
    (doubt,) = find_volumes_exceeding_day(panel, days, np.array([False, True]))
    assert doubt.session == 1


def test_volumes_doubled_for_weeks_are_found_and_never_become_usual() -> None:
    shares = draw_shares(300, 90, 0.1)
    doubled = shares.copy()
    doubled[:, 30:60] *= 2
    found = find(doubled)
    assert found[:, 30:60].mean() >= 0.99
    assert not found[:, :30].any()
    assert not found[:, 60:].any()
    assert not find(shares).any()


def test_the_usual_share_is_told() -> None:
    shares = np.full((1, 15), 0.3)
    shares[0, 12] = 0.6
    panel, days = build(shares)
    (doubt,) = find_volumes_exceeding_day(panel, days, judge_all(panel))
    assert (doubt.session, doubt.figures["usual_share"]) == (12, 0.3)


def test_ten_sessions_before_are_needed() -> None:
    shares = np.full((1, 12), 0.3)
    for session, is_doubted in ((9, False), (10, True)):
        changed = shares.copy()
        changed[0, session] = 0.6
        assert find(changed).any() == is_doubted


def test_high_sessions_side_by_side_are_judged_together() -> None:
    usual = np.array([[0.3, 0.27, 0.33] * 7])
    alone, together = np.append(usual, [[0.5]], axis=1), np.append(usual, [[0.5, 0.5, 0.5, 0.5]], axis=1)
    assert not find(alone).any()
    assert np.flatnonzero(find(together)[0]).tolist() == [21, 22, 23, 24]
    parted = np.append(usual, [[0.5, 0.3, 0.5, 0.3, 0.5, 0.3, 0.5]], axis=1)
    assert not find(parted).any()


def test_a_part_of_the_session_is_not_compared_with_the_usual_share_but_with_the_day() -> None:
    shares = np.full((1, 14), 0.3)
    shares[0, 12:] = 0.65, 1.5
    panel, days = build(shares)
    volume = panel.volume.copy()
    volume[12:, 0] = np.nan
    panel = replace(panel, volume=volume)
    (doubt,) = find_volumes_exceeding_day(panel, days, judge_all(panel))
    assert doubt.session == 13


def test_other_symbols_are_not_context() -> None:
    shares = np.array([[0.2] * 12, [0.5] * 12])
    assert not find(shares).any()


@pytest.mark.parametrize("deviation", [0.05, 0.1, 0.2, 0.5])
def test_names_whose_share_varies_are_left_alone(deviation: float) -> None:
    assert not find(draw_shares(400, 60, deviation, seed=3)).any()


def test_an_empty_panel_has_no_doubts() -> None:
    panel, days = build(np.zeros((0, 0)))
    assert find_volumes_exceeding_day(panel, days, judge_all(panel)) == []
