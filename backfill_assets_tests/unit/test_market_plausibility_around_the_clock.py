"""The rules of plausibility on currencies and coins: sessions of 24 hours, volumes that mean nothing, small prices."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from backfill_assets.market.arrays import Floats, Int64
from backfill_assets.market.bars.calendar_drift import find_days_traded_outside
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.windows import build_date_window
from backfill_assets.market.columns import Columns
from backfill_assets.market.exchanges.registry import get_profile
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.day_ranges import find_prices_outside_day
from backfill_assets.market.plausibility.doubts import Doubt
from backfill_assets.market.plausibility.judgement import Form, JudgedPanel, find_doubts, select_judgements
from backfill_assets.market.plausibility.listing import ListingLives
from backfill_assets.market.plausibility.row_rules import find_row_doubts
from backfill_assets.market.plausibility.rules import Rule
from backfill_assets.market.plausibility.session_panel import SessionPanel, build_panel
from backfill_assets_tests.frames import build_bars

FIRST, LAST = date(2025, 11, 3), date(2025, 12, 3)
SLOTS = INTERVALS["30m"]


def build_grid(exchange: str, first: date = FIRST, last: date = LAST) -> SlotGrid:
    window = build_date_window(get_profile(exchange), first, last, datetime(2026, 1, 1, tzinfo=UTC))
    return build_slot_grid(window.sessions, SLOTS)


def list_stamps(grid: SlotGrid, seconds: int) -> Int64:
    hours = zip(grid.session_opens, grid.session_closes, strict=True)
    return np.concatenate([np.arange(opens, closes, seconds) for opens, closes in hours])


def walk(stamps: Int64, *, price: float, tick: float, move: float, quiet: float, seed: int = 1) -> dict[str, Floats]:
    """Rows of a random walk in ticks that is lively in the afternoon (UTC), and at ``quiet`` of that in the night."""
    hour = stamps % 86_400 / 3600
    lively = quiet + (1 - quiet) * np.exp(-(((hour - 14) / 4) ** 2))
    steps = np.random.default_rng(seed).standard_normal((len(stamps), 10)) * move * lively[:, None]
    path = price * np.exp(np.cumsum(steps.ravel()).reshape(steps.shape))
    rows = np.round(np.rint(np.c_[np.r_[price, path[:-1, -1]], path] / tick) * tick, 9)
    return {
        "open": rows[:, 0],
        "high": rows.max(axis=1),
        "low": rows.min(axis=1),
        "close": rows[:, -1],
        "volume": np.full(len(stamps), np.nan),
    }


def lay_out(grid: SlotGrid, rows: dict[str, Floats], seconds: int) -> SessionPanel:
    stamps = list_stamps(grid, seconds)
    return build_panel(np.ones(len(stamps), np.int64), stamps, rows, grid, seconds)[0]


def doubt_rows(grid: SlotGrid, rows: dict[str, Floats], seconds: int) -> list[Doubt]:
    panel = lay_out(grid, rows, seconds)
    return find_row_doubts(panel, DayFigures.create_unknown(len(panel)))


def doubt_bars(panel: SessionPanel, days: DayFigures | None = None) -> list[Doubt]:
    lives, judged = ListingLives.create_unknown(len(panel)), np.ones(len(panel), bool)
    given = JudgedPanel(panel, days or DayFigures.create_unknown(len(panel)), lives, judged)
    return find_doubts(given, select_judgements(Form.STORED))


EURO = {"price": 1.1, "tick": 1e-5, "move": 2e-5, "quiet": 0.1}
PEGGED = {"price": 7.8, "tick": 1e-4, "move": 3e-6, "quiet": 0.1}
COIN = {"price": 1.2e-5, "tick": 1e-8, "move": 1e-3, "quiet": 0.2}


@pytest.mark.parametrize(
    ("exchange", "seconds", "kind"),
    [("FOREX", 60, EURO), ("FOREX", 60, PEGGED), ("CC", 300, COIN)],
    ids=["euro", "pegged", "coin"],
)
def test_calm_nights_are_not_doubted(exchange: str, seconds: int, kind: dict[str, float]) -> None:
    grid = build_grid(exchange)
    assert doubt_rows(grid, walk(list_stamps(grid, seconds), **kind), seconds) == []
    assert doubt_bars(lay_out(grid, walk(list_stamps(grid, 1800), **kind), 1800)) == []


def test_a_low_near_0_is_a_spike_and_rows_of_zeros_and_nulls_feed_no_bar() -> None:
    grid = build_grid("FOREX", date(2025, 11, 6), date(2025, 11, 10))  # Thursday to Monday
    stamps = list_stamps(grid, 60)
    rows = walk(stamps, **EURO)
    rows["low"][1500] = 0.0001
    for name in ("open", "high", "low", "close"):
        rows[name][600] = 0.0
        rows[name][700] = np.nan
    weekend = stamps[2 * 1440 - 1] + np.arange(60, 86_400, 60)  # rows go on after Friday's close
    outside = {name: np.full(len(weekend), 1.1) for name in rows} | {"volume": np.full(len(weekend), 7.0)}
    table = pd.DataFrame(
        {
            "symbol_id": 1,
            "timestamp": np.r_[stamps, weekend],
            **{name: np.r_[rows[name], outside[name]] for name in rows},
        }
    )
    built = build_bars(table, grid, INTERVALS["1m"])
    (doubt,) = built.doubts
    assert (doubt.rule, doubt.first_stamp, doubt.figures["low"]) == (Rule.PRICE_SPIKE, stamps[1500], 0.0001)
    assert built.rejects[["timestamp", "reason"]].to_numpy().tolist() == [[stamps[600], "price_not_positive"]]
    assert (built.ignored_rows["null"], built.ignored_rows["extended_hours"]) == (1, len(weekend))
    assert len(built.bars) == grid.size == 3 * 48


def test_prices_of_another_scale_are_found_without_volumes() -> None:
    grid = build_grid("FOREX", date(2025, 11, 3), date(2025, 11, 7))
    rows = walk(list_stamps(grid, 60), **EURO)
    for name in ("open", "high", "low", "close"):
        rows[name][2000:2100] *= 100
    assert {doubt.rule for doubt in doubt_rows(grid, rows, 60)} == {Rule.SCALE_BREAK}


def test_a_session_that_repeats_another_is_found_without_volumes() -> None:
    for exchange, seconds, kind in (("FOREX", 60, EURO), ("CC", 300, COIN)):
        grid = build_grid(exchange, date(2025, 11, 3), date(2025, 11, 14))
        rows, size = walk(list_stamps(grid, seconds), **kind), 86_400 // seconds
        for name in ("open", "high", "low", "close"):
            rows[name][5 * size : 6 * size] = rows[name][2 * size : 3 * size]
        found = doubt_rows(grid, rows, seconds)
        assert {(doubt.rule, doubt.session) for doubt in found} >= {(Rule.SESSION_REPEATED, 5)}, exchange
        assert {doubt.session for doubt in found if doubt.rule is Rule.SESSION_REPEATED} == {5}


def test_a_pair_that_always_moves_does_not_stand_still_for_a_day_and_a_night() -> None:
    grid = build_grid("FOREX", FIRST, date(2025, 12, 2))
    stamps = list_stamps(grid, 1800)
    rows = walk(stamps, price=1.1, tick=1e-5, move=1e-4, quiet=0.3)
    for name in ("open", "high", "low", "close"):
        rows[name][20 * 48 : 21 * 48] = 1.1
    found = [doubt for doubt in doubt_bars(lay_out(grid, rows, 1800)) if doubt.rule is Rule.FROZEN]
    assert [doubt.session for doubt in found] == [20]
    fixed = {name: np.full(len(stamps), 3.75) for name in rows} | {"volume": rows["volume"]}
    assert doubt_bars(lay_out(grid, fixed, 1800)) == []  # a fixed rate


def test_only_volumes_of_shares_are_judged() -> None:
    rules = {}
    for exchange in ("US", "CC", "FOREX"):
        grid = build_grid(exchange, date(2025, 11, 3), date(2025, 11, 7))
        stamps = list_stamps(grid, 300)
        rows = walk(stamps, price=100.0, tick=0.01, move=1e-4, quiet=1.0)
        own = 50_000 + 1000.0 * np.random.default_rng(2).integers(0, 10, len(stamps))
        rows["volume"] = own.copy()
        for at in (20, 30, 40, 50):
            rows["volume"][at] = own[: at + 1].sum()  # the session's total so far
        rules[exchange] = {doubt.rule for doubt in doubt_rows(grid, rows, 300)}
    assert rules == {"US": {Rule.VOLUME_RUNNING_TOTAL}, "CC": set(), "FOREX": set()}


def test_prices_of_small_coins_are_judged_as_those_of_others() -> None:
    grid = build_grid("CC", date(2025, 11, 3), date(2025, 11, 7))
    rows = walk(list_stamps(grid, 300), price=1.2e-5, tick=1e-9, move=1e-4, quiet=1.0)
    usual = float(rows["high"][400])
    rows["high"][400] = 1.6 * usual
    (doubt,) = doubt_rows(grid, rows, 300)
    assert (doubt.rule, doubt.figures["high"]) == (Rule.PRICE_SPIKE, 1.6 * usual)
    assert doubt.figures["high_before"] == pytest.approx(usual, rel=0.05)  # and not 1.2e-05 or 0


def test_a_candle_of_the_day_judges_prices_of_small_coins_by_their_share() -> None:
    grid = build_grid("CC", date(2025, 11, 3), date(2025, 11, 9))
    panel = lay_out(grid, walk(list_stamps(grid, 1800), price=1.2e-5, tick=1e-9, move=1e-4, quiet=1.0), 1800)
    high, low = panel.high.max(axis=1), panel.low.min(axis=1)
    unknown = np.full(len(panel), np.nan)
    figures = (panel.open[:, 0], high, low, panel.close[:, -1], panel.close[:, -1], unknown, unknown)
    days = DayFigures(*figures, price_step=get_profile("CC").price_step)
    assert doubt_bars(panel, days) == []
    panel.high[3, 7] = 1.02 * high[3]
    panel.close[:6] *= 2  # the first sessions, all by one factor: there are no spin-offs that explain it
    panel.high[:6] *= 2
    doubts, factors = find_prices_outside_day(panel, days, np.ones(len(panel), bool))
    assert factors == []
    assert {doubt.session for doubt in doubts} == set(range(6))


def test_weekends_of_currencies_and_rows_of_the_next_day_are_no_drift() -> None:
    for exchange in ("FOREX", "CC"):
        grid = build_grid(exchange, date(2025, 11, 3), date(2025, 11, 7))
        after = int(grid.session_closes[-1]) + np.arange(0, 86_400, 300)
        rows = pd.DataFrame({"symbol_id": 1, "timestamp": after, "volume": 1000.0})
        assert find_days_traded_outside(Columns(rows), grid, INTERVALS["5m"]) == {}
    grid = build_grid("US", date(2025, 11, 3), date(2025, 11, 7))
    saturday = int(grid.session_closes[-1]) + 86_400
    rows = pd.DataFrame({"symbol_id": 1, "timestamp": [saturday], "volume": 1000.0})
    assert list(find_days_traded_outside(Columns(rows), grid, INTERVALS["5m"])) == [
        date(2025, 11, 7) + timedelta(days=1)
    ]
