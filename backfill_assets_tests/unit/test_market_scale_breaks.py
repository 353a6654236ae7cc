"""Prices of another scale: for some rows, to a session's end, for whole sessions; and what is none."""

from dataclasses import replace

import numpy as np
import pytest

from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.price_doubts import find_price_doubts
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.scale_breaks import find_scale_breaks
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets_tests.unit.simulated_panels import KINDS, aggregate_bars, scale_prices, simulate_panel

RATIOS = [10.0, 0.1, 100.0, 0.01, 1000.0, 0.001, 1e4, 1e-4, 2.0, 0.5, 3.0, 0.25, 5.0, 0.05, 20.0]


def _simulate(kind: str = "liquid", symbols: int = 1, sessions: int = 3) -> tuple[SessionPanel, DayFigures]:
    return simulate_panel(KINDS[kind], np.random.default_rng(4), symbols, sessions)


def _find(panel: SessionPanel, days: DayFigures | None = None) -> list[Doubt]:
    known = DayFigures.create_unknown(len(panel)) if days is None else days
    return find_price_doubts(panel, known, np.ones(len(panel), bool))


def _get_places(panel: SessionPanel, doubts: list[Doubt]) -> list[tuple[int, int, int]]:
    """Session, first and last column of each doubt."""
    stamps = [(doubt, doubt.session, int(panel.opens[doubt.session])) for doubt in doubts]
    return [
        (at, (doubt.first_stamp - opened) // panel.seconds, (doubt.last_stamp - opened) // panel.seconds)
        for doubt, at, opened in stamps
    ]


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize(("first", "end"), [(30, 31), (30, 40), (0, 5), (70, 78), (1, 78), (0, 78)])
def test_rows_of_another_scale_are_one_doubt(first: int, end: int, ratio: float) -> None:
    panel, _ = _simulate()
    doubts = _find(scale_prices(panel, 1, slice(first, end), ratio))
    assert [doubt.rule for doubt in doubts] == [Rule.SCALE_BREAK]
    assert _get_places(panel, doubts) == [(1, first, end - 1)]
    assert doubts[0].figures["ratio"] == pytest.approx(ratio)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("first", [1, 40, 77])
def test_a_scale_that_changes_in_the_newest_session_is_doubted_to_its_end(first: int, ratio: float) -> None:
    panel, _ = _simulate()
    doubts = _find(scale_prices(panel, 2, slice(first, None), ratio))
    assert [doubt.rule for doubt in doubts] == [Rule.SCALE_BREAK]
    assert _get_places(panel, doubts) == [(2, first, 77)]


def test_a_scale_that_changes_in_the_oldest_session_is_doubted_from_its_start() -> None:
    panel, _ = _simulate()
    doubts = _find(scale_prices(panel, 0, slice(0, 50), 10.0))
    assert _get_places(panel, doubts) == [(0, 0, 49)]
    lone = scale_prices(_simulate(sessions=1)[0], 0, slice(0, 5), 10.0)
    assert _get_places(lone, _find(lone)) == [(0, 0, 4)]


@pytest.mark.parametrize("kind", ["liquid", "thin", "earnings"])
def test_whole_sessions_are_doubted_up_to_a_week(kind: str) -> None:
    panel, _ = _simulate(kind, sessions=12)
    for form in (panel, aggregate_bars(panel)):
        five = _find(scale_prices(form, np.arange(3, 8), slice(None), 0.01))
        assert [(doubt.rule, doubt.session) for doubt in five] == [(Rule.SCALE_BREAK, at) for at in range(3, 8)]
        assert _find(scale_prices(form, np.arange(3, 9), slice(None), 0.01)) == []
        assert _find(scale_prices(form, np.arange(3, 12), slice(None), 0.01)) == []  # a step that stays


@pytest.mark.parametrize("kind", ["liquid", "thin", "halted", "earnings", "cheap"])
def test_bars_show_it_too_with_those_in_which_the_scale_changes(kind: str) -> None:
    panel, _ = _simulate(kind, symbols=60)
    lines = np.arange(1, len(panel), 3)
    bars = aggregate_bars(
        scale_prices(panel, lines, slice(15, 45), 10.0)
    )  # from the middle of a bar to that of another
    doubts = _find(bars)
    found = {doubt.symbol_id for doubt in doubts if doubt.rule is Rule.SCALE_BREAK and doubt.session == 1}
    assert len(found) >= 0.99 * len(lines)
    if kind == "liquid":
        assert [(doubt.first_stamp - doubt.last_stamp) // 1800 for doubt in doubts] == [-5] * len(lines)


def test_spikes_and_scale_breaks_of_one_session_are_found_apart() -> None:
    panel, _ = _simulate()
    wrong = scale_prices(scale_prices(panel, 1, slice(20, 30), 10.0), 1, slice(50, 51), 1.4)
    doubts = _find(scale_prices(wrong, 1, slice(30, 31), 0.7))
    assert [doubt.rule for doubt in doubts] == [Rule.SCALE_BREAK, Rule.PRICE_SPIKE, Rule.PRICE_SPIKE]
    assert _get_places(panel, doubts) == [(1, 20, 29), (1, 30, 30), (1, 50, 50)]


def test_what_the_day_holds_is_none() -> None:
    panel, days = _simulate()
    wrong = scale_prices(panel, 1, slice(20, 30), 2.0)
    held = replace(days, high=np.fmax.reduce(wrong.high, axis=1), low=np.fmin.reduce(wrong.low, axis=1))
    assert [doubt.rule for doubt in _find(wrong, days)] == [Rule.SCALE_BREAK]
    assert _find(wrong, held) == []


def test_a_split_is_none() -> None:
    """Known or not: the price steps overnight and stays."""
    panel, _ = _simulate()
    after_split = scale_prices(panel, 2, slice(None), 0.1)
    ratios = replace(DayFigures.create_unknown(3), split_ratio=np.array([1.0, 1.0, 10.0]))
    assert _find(after_split) == []
    assert _find(after_split, ratios) == []
    # A split and a stretch of the old scale after it.
    doubts = _find(scale_prices(after_split, 2, slice(0, 10), 10.0), ratios)
    assert _get_places(panel, doubts) == [(2, 0, 9)]


def test_a_halving_after_a_halt_is_left_alone() -> None:
    panel, _ = _simulate()
    halved = scale_prices(panel, 2, slice(40, None), 0.5)
    assert _get_places(panel, _find(halved)) == [(2, 40, 77)]  # from one row to the next
    halted = scale_prices(halved, 2, slice(38, 40), np.nan)
    assert _find(halted) == []
    assert _find(aggregate_bars(halved)) == []
    assert len(_find(scale_prices(halted, 2, slice(40, None), 0.02))) == 1  # a hundredth is no move of the market


def test_prices_below_five_cents_and_other_lines_are_left_alone() -> None:
    panel, _ = simulate_panel(replace(KINDS["liquid"], price=(0.03, 0.04)), np.random.default_rng(4), 1, 3)
    unknown = DayFigures.create_unknown(3)
    assert _find(scale_prices(panel, 1, slice(20, 30), 100.0)) == []
    wrong = scale_prices(_simulate()[0], 1, slice(20, 30), 100.0)
    for find in (find_scale_breaks, find_price_doubts):
        assert find(wrong, unknown, np.array([True, False, True])) == []


def test_empty_panels_have_none() -> None:
    panel, _ = _simulate()
    none = np.zeros(0, np.int64)
    fields = {name: getattr(panel, name)[:0] for name in ("open", "high", "low", "close", "volume", "opens", "sizes")}
    empty = replace(panel, symbol_id=none, session=none, **fields)
    assert _find(empty) == []
    assert _find(scale_prices(panel, np.arange(3), slice(None), np.nan)) == []
