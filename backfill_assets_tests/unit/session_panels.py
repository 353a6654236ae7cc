"""Builds panels of stored bars, and figures of their days, for tests of the rules about whole sessions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np

from backfill_assets.market.arrays import Bools, Floats
from backfill_assets.market.calendar.intervals import parse_interval
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.session_panel import PANEL_VALUES, SessionPanel, build_panel


def build_session_grid(first: str, last: str, interval: str = "30m") -> SlotGrid:
    sessions = list_sessions(US, date.fromisoformat(first), date.fromisoformat(last))
    return build_slot_grid(sessions, parse_interval(interval))


def build_full_panel(grid: SlotGrid, symbols: int = 1, seed: int = 0, price: float = 100.0) -> SessionPanel:
    """Every bar of some symbols (ids from 1 on): random walks in cents, with steps of some 0.5 %."""
    random = np.random.default_rng(seed)
    count = symbols * grid.size
    walk = price * np.exp(np.cumsum(random.normal(0, 0.005, (symbols, grid.size + 1)), axis=1))
    opens, closes = walk[:, :-1].ravel(), walk[:, 1:].ravel()
    wick = price * 0.003 * random.random((2, count))
    values = {
        "open": opens,
        "high": np.maximum(opens, closes) + wick[0],
        "low": np.minimum(opens, closes) - wick[1],
        "close": closes,
    }
    rounded = {name: np.round(prices, 2) for name, prices in values.items()}
    volume = random.integers(1_000, 100_000, count).astype(float)
    symbol_id = np.repeat(np.arange(1, symbols + 1), grid.size)
    stamps = np.tile(grid.starts, symbols)
    panel, _, _ = build_panel(symbol_id, stamps, rounded | {"volume": volume}, grid, grid.interval.seconds)
    return panel


def change_panel(panel: SessionPanel, **values: Any) -> SessionPanel:
    return replace(panel, **values)


def copy_values(panel: SessionPanel) -> dict[str, Floats]:
    return {name: getattr(panel, name).copy() for name in PANEL_VALUES}


def build_days(panel: SessionPanel) -> DayFigures:
    """The figures that the panel's own bars give, without splits and dividends."""
    lines = np.arange(len(panel))
    last = panel.close.shape[1] - 1 - np.argmax(panel.is_present[:, ::-1], axis=1)
    close = panel.close[lines, last]
    return DayFigures(
        open=panel.open[lines, np.argmax(panel.is_present, axis=1)],
        high=np.nanmax(panel.high, axis=1),
        low=np.nanmin(panel.low, axis=1),
        close=close,
        adjusted_close=close.copy(),
        volume=np.nansum(panel.volume, axis=1) * 2,
        split_ratio=np.ones(len(panel)),
    )


def change_days(days: DayFigures, **figures: Sequence[float] | Floats) -> DayFigures:
    return replace(days, **{name: np.asarray(values, float) for name, values in figures.items()})


def judge_all(panel: SessionPanel) -> Bools:
    return np.ones(len(panel), bool)


def describe(figures: Mapping[str, float | str | None], *names: str) -> list[float | str | None]:
    return [figures[name] for name in names]
