"""Spikes: clean sessions of every kind of name, spikes of the promised sizes, days of the market, stale opens."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from backfill_assets.market.arrays import Int64
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.price_doubts import find_price_doubts
from backfill_assets.market.plausibility.price_spikes import Spike, find_price_spikes, find_shared_spikes
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel
from backfill_assets_tests.unit.simulated_panels import (
    FIRST_OPEN,
    KINDS,
    PRICES,
    aggregate_bars,
    change_prices,
    scale_prices,
    simulate_panel,
)

PROMISED_FOUND = 0.99


def _find(panel: SessionPanel, days: DayFigures | None = None) -> list[Doubt]:
    known = DayFigures.create_unknown(len(panel)) if days is None else days
    return find_price_doubts(panel, known, np.ones(len(panel), bool))


@pytest.mark.parametrize("seconds", [300, 60])
@pytest.mark.parametrize("kind", KINDS)
def test_clean_sessions_are_not_doubted(kind: str, seconds: int) -> None:
    """Gaps at the open, bursts, thin and cheap names, halts that reopen 15 % away, new listings."""
    panel, _ = simulate_panel(KINDS[kind], np.random.default_rng(7), seconds, 3, seconds)
    assert _find(panel) == []
    assert _find(aggregate_bars(panel)) == []


def _measure_usual_move(panel: SessionPanel, line: int, columns: Int64) -> float:
    """What three of four rows of a session stay below; too few rows tell nothing."""
    close, ranges = panel.close[line, columns], np.log(panel.high[line, columns] / panel.low[line, columns])
    moves = np.maximum(ranges, np.abs(np.diff(np.log(close), prepend=np.log(close[0]))))
    return float(np.quantile(moves, 0.75)) if len(columns) >= 13 else np.log(1.5) / 20


@pytest.mark.parametrize("as_bars", [False, True])
@pytest.mark.parametrize("kind", ["liquid", "volatile", "thin", "halted", "earnings"])
def test_spikes_of_the_promised_size_are_found(kind: str, as_bars: bool) -> None:
    """A high or a low alone, or a whole row, anywhere in the session."""
    rng = np.random.default_rng(3)
    panel, _ = simulate_panel(KINDS[kind], rng, 120, 3)
    panel = aggregate_bars(panel) if as_bars else panel
    spiked, placed = panel, {}
    for line in range(1, len(panel), 3):
        rows = [
            (at, int(column)) for at in (line - 1, line, line + 1) for column in np.flatnonzero(panel.is_present[at])
        ]
        own = np.flatnonzero(panel.is_present[line])
        number, up = int(rng.integers(len(own))), bool(rng.integers(2))
        place = rows.index((line, int(own[number])))
        beside = [*rows[place - 3 : place], *rows[place + 1 : place + 4]]
        lowest, highest = min(panel.low[at] for at in beside), max(panel.high[at] for at in beside)
        ranges = max(np.log(panel.high[at] / panel.low[at]) for at in beside)
        size = max(np.log(1.1), 20 * _measure_usual_move(panel, line, own), 3 * ranges, np.log1p(0.05 / lowest))
        size *= 2 if number < 3 or number >= len(own) - 3 else 1
        column = int(own[number])
        price = highest * np.exp(size + 0.001) if up else lowest * np.exp(-size - 0.001)
        if rng.integers(2):
            spiked = change_prices(spiked, line, column, **{"high" if up else "low": price})
        else:
            spiked = change_prices(spiked, line, column, **dict.fromkeys(PRICES, price))
        placed[line // 3 + 1] = (panel.get_stamp(line, column), "up" if up else "down")

    doubts = _find(spiked)

    found = [doubt for doubt in doubts if doubt.first_stamp == placed[doubt.symbol_id][0]]
    assert len(found) == len(doubts)
    assert len(found) >= PROMISED_FOUND * len(placed)
    assert all(
        doubt.figures["direction"] == placed[doubt.symbol_id][1] for doubt in found if doubt.rule is Rule.PRICE_SPIKE
    )


def test_the_figures_let_a_person_decide() -> None:
    panel, _ = simulate_panel(KINDS["liquid"], np.random.default_rng(2), 1, 3)
    close_before = float(panel.close[1, 39])
    (doubt,) = _find(change_prices(panel, 1, 40, high=9_999.0))

    assert (doubt.rule, doubt.session, doubt.first_stamp) == (Rule.PRICE_SPIKE, 1, panel.get_stamp(1, 40))
    assert doubt.figures["price"] == 9_999.0
    assert doubt.figures["close_before"] == close_before
    assert {"low_before", "high_before", "low_after", "high_after", "usual_move_percent"} <= doubt.figures.keys()
    assert doubt.figures["allowed_move_percent"] == 10.0


@pytest.mark.parametrize("price", [9_999.0, 0.0001])
@pytest.mark.parametrize(("line", "column"), [(0, 0), (0, 77), (1, 0), (1, 77), (2, 77), (1, 30)])
def test_the_first_and_last_row_are_judged_too(line: int, column: int, price: float) -> None:
    """Also without a session before or after."""
    panel, days = simulate_panel(KINDS["liquid"], np.random.default_rng(2), 1, 3)
    for names in (("high",) if price > 1 else ("low",), PRICES, ("open",), ("close",)):
        wrong = change_prices(panel, line, column, **dict.fromkeys(names, price))
        for known in (None, days):
            (doubt,) = _find(wrong, known)
            assert doubt.first_stamp == doubt.last_stamp == panel.get_stamp(line, column)


def test_two_spikes_in_succession_and_the_lines_that_are_judged() -> None:
    panel, days = simulate_panel(KINDS["liquid"], np.random.default_rng(2), 1, 3)
    wrong = scale_prices(panel, 1, slice(20, 22), 1.4)
    unknown = DayFigures.create_unknown(3)

    assert [doubt.first_stamp for doubt in _find(wrong)] == [panel.get_stamp(1, 20), panel.get_stamp(1, 21)]
    assert find_price_spikes(wrong, unknown, np.array([True, False, True])) == []
    held = replace(days, high=np.full(3, wrong.high.max()))
    assert _find(wrong, held) == []


def test_names_below_five_cents_are_not_judged() -> None:
    panel, _ = simulate_panel(replace(KINDS["cheap"], price=(0.02, 0.03)), np.random.default_rng(2), 5, 3)
    column = int(np.flatnonzero(panel.is_present[1])[5])
    assert _find(change_prices(panel, 1, column, high=1.0)) == []


def _lay_out(rows: Sequence[tuple[float, float, float, float] | None], before: float) -> SessionPanel:
    """A session of 5m rows after a calm one that ends at ``before``; None is no row."""
    calm = np.tile([before, before * 1.002, before * 0.998, before], (78, 1))
    own = np.full((78, 4), np.nan)
    for column, row in enumerate(rows):
        own[column] = np.nan if row is None else row
    opened, high, low, close = np.moveaxis(np.stack([calm, own]), 2, 0)
    return SessionPanel(
        symbol_id=np.ones(2, np.int64),
        session=np.arange(2),
        opens=FIRST_OPEN + 86_400 * np.arange(2),
        sizes=np.full(2, 78),
        seconds=300,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=np.where(np.isnan(close), np.nan, 1000.0),
    )


def _know_day(low: float, high: float) -> DayFigures:
    unknown = DayFigures.create_unknown(2)
    return replace(unknown, low=np.array([np.nan, low]), high=np.array([np.nan, high]))


def _repeat(price: float, count: int) -> list[tuple[float, float, float, float] | None]:
    return [(price, price * 1.002, price * 0.998, price)] * count


FLASH_CRASH = [*_repeat(61.5, 62), (60.5, 60.8, 59.0, 59.5), (59.5, 59.6, 39.37, 57.0), *_repeat(60.2, 14)]
OPEN_OF_2015 = [(71.0, 72.1, 50.2, 52.0), (52.0, 58.0, 43.77, 55.0), (55.0, 69.0, 54.0, 68.0), *_repeat(70.8, 75)]


@pytest.mark.parametrize(
    ("rows", "before", "low", "high"), [(FLASH_CRASH, 62.2, 39.37, 61.7), (OPEN_OF_2015, 75.9, 43.77, 72.1)]
)
def test_a_crash_that_the_day_bears_out_is_not_doubted(
    rows: Sequence[tuple[float, float, float, float] | None], before: float, low: float, high: float
) -> None:
    """2010-05-06 and 2015-08-24: lows of a third below in large names, which stand."""
    panel = _lay_out(rows, before)
    assert _find(panel, _know_day(low, high)) == []
    assert {doubt.rule for doubt in _find(panel)} == {Rule.PRICE_SPIKE}  # until the day is known


def test_a_crash_that_the_market_shares_is_known_as_such() -> None:
    starts, names = np.array([0, 1800, 3600]), np.array([5000, 5000, 300])
    crash = [Spike(symbol, 1800 + 300 * (symbol % 6), "down") for symbol in range(50)]
    others = [Spike(1, 1800, "up"), Spike(2, 0, "down"), *(Spike(symbol, 3600, "down") for symbol in range(4))]

    shared = find_shared_spikes([*crash, *others], starts, names)

    assert shared.tolist() == [True] * 50 + [False] * 6
    assert not find_shared_spikes(crash[:49], starts, names).any()
    assert find_shared_spikes([], starts, names).tolist() == []


def test_a_day_of_halts_and_swings_is_not_doubted() -> None:
    """2021-01-28: 265, 483 and 112 in three hours, with a dozen halts, and the day is not known yet."""
    levels = [265, 300, 340, 420, 480, 430, 360, 400, 330, 250, 200, 160, 120, 150, 210, 270, 240, 200, 230, 260]
    rows: list[tuple[float, float, float, float] | None] = []
    for start, end in pairwise(levels):
        top, bottom = max(start, end) * 1.04, min(start, end) * 0.96
        rows += [
            (start, top, bottom, end),
            None,
            (end, end * 1.05, end * 0.95, end),
            (end, end * 1.04, end * 0.97, end),
        ]
    assert _find(_lay_out(rows, 347.5)) == []


def test_busted_trades_are_doubted() -> None:
    """2024-06-03: 185 in a share of 620,000, then a halt; the day's low tells that these trades were cancelled."""
    rows = [*_repeat(622_000.0, 3), (622_000.0, 622_500.0, 185.1, 185.1), *[None] * 21, *_repeat(631_000.0, 53)]
    panel = _lay_out(rows, 627_400.0)
    for days in (DayFigures.create_unknown(2), _know_day(603_718.3, 648_000.0)):
        (doubt,) = _find(panel, days)
        assert (doubt.rule, doubt.figures["price"]) == (Rule.PRICE_SPIKE, 185.1)


@pytest.mark.parametrize("factor", [1.25, 0.8])
def test_an_open_that_is_the_close_before_is_doubted(factor: float) -> None:
    level = 100 * factor
    stale = (100.0, max(100.0, level), min(100.0, level), level)
    (doubt,) = _find(_lay_out([stale, *_repeat(level, 77)], 100.0))
    assert (doubt.rule, doubt.figures["direction"], doubt.figures["price"]) == (Rule.PRICE_SPIKE, "open", 100.0)
    assert _find(_lay_out([stale, *_repeat(level, 77)], 100.0), _know_day(min(100, level), max(100, level))) == []
    assert _find(_lay_out([*_repeat(100.0, 1), *_repeat(level, 77)], 100.0)) == []  # traded there
    assert _find(_lay_out([(100.3, max(100.3, level), min(100.3, level), level), *_repeat(level, 77)], 100.0)) == []


def test_a_known_split_between_two_sessions_hides_no_spike() -> None:
    panel = scale_prices(simulate_panel(KINDS["liquid"], np.random.default_rng(2), 1, 3)[0], 2, slice(None), 0.1)
    days = replace(DayFigures.create_unknown(3), split_ratio=np.array([1.0, 1.0, 10.0]))
    low = float(panel.low[1, 77])
    assert _find(panel, days) == []
    (doubt,) = _find(change_prices(panel, 1, 77, low=low * 0.6), days)
    assert doubt.first_stamp == panel.get_stamp(1, 77)
