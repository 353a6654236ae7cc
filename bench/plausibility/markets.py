"""Simulated markets: 5m rows of symbols over sessions, and the daily figures that go with them. All are right.

Volumes are drawn in ``volumes``, prices in ``prices``; what is made wrong in ``injections``.
"""

from dataclasses import dataclass
from datetime import date
from functools import cache

import numpy as np

from backfill_assets.market.arrays import Bools, Floats
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.session_panel import PANEL_VALUES, SessionPanel
from bench.plausibility.prices import PriceRows, draw_prices
from bench.plausibility.volumes import ROWS, draw_volumes

FIRST_DAY, LAST_DAY = date(2025, 11, 3), date(2026, 5, 29)  # has early closes and a change of the clocks
ROWS_OF_BAR = 6
SPLIT_SHARE = 0.04  # of the symbols with a split that all data show
SPLIT_RATIOS = (2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 1.5, 0.1, 0.05, 0.25)
UNKNOWN_DAY_SHARE = 0.01  # of the days without a settled daily row
DIVIDEND_SHARE = 0.01  # of the sessions
# The share of the one venue of 5m in the day's volume: its usual bounds, and the deviation of its logarithm by day.
VENUE_SHARES = (0.15, 0.7)
VENUE_DEVIATIONS = {"liquid": 0.1, "thin": 0.5, "cheap": 0.2, "newly listed": 0.2, "halted": 0.25}
SESSIONS = {"newly listed": 15}
USUAL_SESSIONS = 60


@dataclass(frozen=True, eq=False)
class Market:
    """Symbols of one sort; lines are those of the panel, ordered by symbol and session.

    Attributes:
        sort: the sort of names.
        sessions: how many sessions each symbol has.
        rows: the vendor's 5m rows.
        days: the settled daily figures of the lines.
    """

    sort: str
    sessions: int
    rows: SessionPanel
    days: DayFigures


@cache
def get_grid() -> SlotGrid:
    """Get the 30m grid of the simulated sessions."""
    return build_slot_grid(list_sessions(US, FIRST_DAY, LAST_DAY), INTERVALS["30m"])


def draw_market(rng: np.random.Generator, sort: str, lines: int, split_share: float = SPLIT_SHARE) -> Market:
    """Draw at least one symbol, with about so many lines in all; ``split_share`` of the symbols have a split."""
    sessions = SESSIONS.get(sort, USUAL_SESSIONS)
    symbols = max(1, lines // sessions)
    grid = get_grid()
    first = int(rng.integers(0, len(grid.session_opens) - sessions))
    of_line = np.tile(np.arange(first, first + sessions), symbols)
    sizes = (grid.session_closes - grid.session_opens)[first : first + sessions] // 300
    volume = draw_volumes(rng, sort, symbols * sessions).reshape(symbols, sessions, ROWS)
    volume[np.broadcast_to(np.arange(ROWS) >= sizes[:, None], volume.shape)] = 0.0
    is_known = rng.random((symbols, sessions)) >= UNKNOWN_DAY_SHARE
    prices = draw_prices(rng, sort, volume > 0, sizes, is_known)
    ratio, factor = _draw_splits(rng, symbols, sessions, split_share)
    rows = SessionPanel(
        symbol_id=np.repeat(np.arange(symbols), sessions),
        session=of_line,
        opens=grid.session_opens[of_line],
        sizes=np.tile(sizes, symbols),
        seconds=300,
        volume=np.where(volume > 0, np.ceil(volume / factor[..., None]), np.nan).reshape(-1, ROWS),
        **{
            name: np.round(getattr(prices, name) * factor[..., None], 4).reshape(-1, ROWS)
            for name in ("open", "high", "low", "close")
        },
    )
    return Market(sort, sessions, rows, _draw_days(rng, sort, rows, prices, ratio, factor, is_known))


def aggregate_panel(rows: SessionPanel, columns: int = ROWS_OF_BAR) -> SessionPanel:
    """Build the panel of bars that the rows make; a session has whole bars."""
    shape = (len(rows), -1, columns)
    opens, highs, lows, closes, volumes = (getattr(rows, name).reshape(shape) for name in PANEL_VALUES)
    present = ~np.isnan(closes)
    first = present.argmax(axis=2)[..., None]
    last = columns - 1 - present[..., ::-1].argmax(axis=2)[..., None]
    has_row = present.any(axis=2)
    return SessionPanel(
        symbol_id=rows.symbol_id,
        session=rows.session,
        opens=rows.opens,
        sizes=-(-rows.sizes // columns),
        seconds=rows.seconds * columns,
        open=np.take_along_axis(opens, first, axis=2)[..., 0],
        high=np.fmax.reduce(highs, axis=2),
        low=np.fmin.reduce(lows, axis=2),
        close=np.take_along_axis(closes, last, axis=2)[..., 0],
        volume=np.where(has_row, np.nansum(volumes, axis=2), np.nan),
    )


def _draw_splits(rng: np.random.Generator, symbols: int, sessions: int, share: float) -> tuple[Floats, Floats]:
    """The ratio of a split on each day, 1 without, and the factor of its prices to those after; (symbols, sessions)."""
    ratio = np.ones((symbols, sessions))
    has_split = np.flatnonzero(rng.random(symbols) < share)
    ratio[has_split, rng.integers(1, sessions, len(has_split))] = rng.choice(SPLIT_RATIOS, len(has_split))
    after = np.cumprod(ratio, axis=1)
    return ratio, after[:, -1:] / after


def _draw_days(
    rng: np.random.Generator,
    sort: str,
    rows: SessionPanel,
    prices: PriceRows,
    ratio: Floats,
    factor: Floats,
    is_known: Bools,
) -> DayFigures:
    """The daily figures: the range holds all rows, the volume is that of all venues."""
    symbols, sessions = ratio.shape
    lines = symbols * sessions
    has_rows = rows.is_present.any(axis=1)
    first, last = rows.is_present.argmax(axis=1), ROWS - 1 - rows.is_present[:, ::-1].argmax(axis=1)
    high, low = (values.ravel() * factor.ravel() for values in (prices.consolidated_high, prices.consolidated_low))
    at = np.arange(lines)
    tick = np.where(low < 1.0, 0.0001, 0.01)
    opened = np.clip(rows.open[at, first] + tick * rng.integers(-2, 3, lines), low, high)
    closed = np.clip(rows.close[at, last] + tick * rng.integers(-2, 3, lines), low, high)
    usual = rng.uniform(*VENUE_SHARES, (symbols, 1)) * np.exp(
        VENUE_DEVIATIONS[sort] * rng.standard_normal((symbols, sessions))
    )
    volume = np.ceil(np.nansum(rows.volume, axis=1) / np.minimum(usual.ravel(), 1.0))
    dividend = np.where(rng.random((symbols, sessions)) < DIVIDEND_SHARE, rng.uniform(0.001, 0.02, (symbols, 1)), 0.0)
    later = np.cumprod((1 - dividend)[:, ::-1], axis=1)[:, ::-1] / (1 - dividend)
    adjusted = closed / factor.ravel() * later.ravel()
    figures = (opened, high, low, closed, adjusted, volume)
    known = [np.where(has_rows & is_known.ravel(), np.round(values, 4), np.nan) for values in figures]
    return DayFigures(*known, split_ratio=ratio.ravel())
