"""Panels of simulated sessions of several kinds of names, for the rules about prices.

Returns have fat tails, the opening and the close are livelier than the middle, and nights bring gaps. ``KINDS`` says
what each kind of name adds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.market.plausibility.session_panel import PANEL_VALUES, SessionPanel

PRICES = ("open", "high", "low", "close")
ROWS_OF_DAY = {300: 78, 60: 390}
FIRST_OPEN = 1_780_320_600  # 2026-06-01 09:30 in New York; sessions follow day by day
DAY = 86_400


@dataclass(frozen=True)
class Kind:
    """A kind of name.

    Attributes:
        price: lowest and highest price, dollars.
        daily_move: usual movement within a session, as a share.
        gap: usual movement overnight.
        quiet: share of rows without a trade.
        spread: between bid and ask, as a share; each row's prices bounce by it.
        halts: whether each session has a halt and reopens up to 15 % away.
        earnings: whether every other night brings a gap of 5 to 20 %, and a lively opening.
        is_new: whether the symbol's first session is its listing's: three times as lively, no session before it.
    """

    price: tuple[float, float]
    daily_move: float
    gap: float = 0.008
    quiet: float = 0.0
    spread: float = 0.0
    halts: bool = False
    earnings: bool = False
    is_new: bool = False


KINDS = {
    "liquid": Kind((20, 900), 0.015),
    "volatile": Kind((2, 60), 0.06, gap=0.03),
    "thin": Kind((5, 60), 0.015, quiet=0.7, spread=0.01),
    "cheap": Kind((0.08, 2), 0.05, gap=0.03, quiet=0.3),
    "newly listed": Kind((10, 80), 0.04, gap=0.04, is_new=True),
    "halted": Kind((3, 90), 0.04, halts=True),
    "earnings": Kind((10, 400), 0.025, earnings=True),
}


def simulate_panel(
    kind: Kind, rng: np.random.Generator, symbols: int, sessions: int = 3, seconds: int = 300
) -> tuple[SessionPanel, DayFigures]:
    """Sessions in succession of each symbol, and the days' true figures. Rows are in cents, 1/100 cents below $ 1."""
    rows = ROWS_OF_DAY[seconds]
    lines = symbols * sessions
    since_open = np.arange(rows) * seconds
    pace = 0.6 + 2.2 * np.exp(-since_open / 900) + 0.8 * np.exp(-(rows * seconds - since_open) / 900)
    scale = kind.daily_move * np.exp(0.5 * rng.standard_normal((lines, 1))) / np.sqrt(rows) * pace
    if kind.is_new:
        scale[::sessions] *= 3
    gaps = kind.gap * rng.standard_t(3, lines) / np.sqrt(3)
    if kind.earnings:
        gaps[1::2] = rng.choice([-1, 1], len(gaps[1::2])) * rng.uniform(0.05, 0.2, len(gaps[1::2]))
        scale[1::2, :3] *= 2
    steps = scale * rng.standard_t(6, (lines, rows)) / np.sqrt(1.5)
    quiet = rng.random((lines, rows)) < kind.quiet
    if kind.halts:
        _halt(steps, quiet, rng, seconds)
    quiet[np.arange(lines), rng.integers(0, rows, lines)] = False
    path = _join_nights(steps, gaps, symbols, kind, rng)
    panel, days = _make_rows(path, scale, quiet, kind, rng, sessions, seconds)
    return panel, days


def aggregate_bars(panel: SessionPanel, seconds: int = 1800) -> SessionPanel:
    """The same sessions as bars of ``seconds``."""
    each = seconds // panel.seconds
    opened, high, low, close, volume = (getattr(panel, name).reshape(len(panel), -1, each) for name in PANEL_VALUES)
    present = ~np.isnan(close)
    first = np.argmax(present, axis=2)[..., None]
    last = each - 1 - np.argmax(present[..., ::-1], axis=2)[..., None]
    has = present.any(axis=2)
    return replace(
        panel,
        sizes=panel.sizes // each,
        seconds=seconds,
        open=np.take_along_axis(opened, first, 2)[..., 0],
        high=np.fmax.reduce(high, axis=2),
        low=np.fmin.reduce(low, axis=2),
        close=np.take_along_axis(close, last, 2)[..., 0],
        volume=np.where(has, np.nansum(volume, axis=2), np.nan),
    )


def change_prices(panel: SessionPanel, line: int, column: int, **prices: float) -> SessionPanel:
    """The panel with other prices of one row, which stays in order."""
    changed = {name: getattr(panel, name).copy() for name in PRICES}
    for name, price in prices.items():
        changed[name][line, column] = price
    row = [changed[name][line, column] for name in PRICES]
    changed["high"][line, column], changed["low"][line, column] = max(row), min(row)
    return _replace_prices(panel, changed)


def scale_prices(panel: SessionPanel, lines: Int64 | int, columns: slice, factor: float) -> SessionPanel:
    """The panel with all prices of some rows multiplied."""
    changed = {name: getattr(panel, name).copy() for name in PRICES}
    for values in changed.values():
        values[lines, columns] *= factor
    return _replace_prices(panel, changed)


def _replace_prices(panel: SessionPanel, prices: Mapping[str, Floats]) -> SessionPanel:
    return replace(panel, open=prices["open"], high=prices["high"], low=prices["low"], close=prices["close"])


def _halt(steps: Floats, quiet: Bools, rng: np.random.Generator, seconds: int) -> None:
    lines, rows = steps.shape
    length = rng.integers(1, 1 + 3600 // seconds, lines)
    start = (rng.random(lines) * (rows - length - 1)).astype(int)
    columns = np.arange(rows)
    quiet |= (columns >= start[:, None]) & (columns < (start + length)[:, None])
    steps[np.arange(lines), start + length] += rng.choice([-1, 1], lines) * rng.uniform(0.02, 0.15, lines)


def _join_nights(steps: Floats, gaps: Floats, symbols: int, kind: Kind, rng: np.random.Generator) -> Floats:
    """Log prices at the end of each row, shape (lines, rows + 1); the first is the session's open."""
    within = np.concatenate([np.zeros((len(steps), 1)), np.cumsum(steps, axis=1)], axis=1)
    nights = (gaps + np.r_[0.0, within[:-1, -1]]).reshape(symbols, -1)
    nights[:, 0] = np.log(kind.price[0]) + rng.random(symbols) * np.log(kind.price[1] / kind.price[0])
    path: Floats = within + np.cumsum(nights, axis=1).reshape(-1, 1)
    return path


def _make_rows(
    path: Floats,
    scale: Floats,
    quiet: Bools,
    kind: Kind,
    rng: np.random.Generator,
    sessions: int,
    seconds: int,
) -> tuple[SessionPanel, DayFigures]:
    lines, rows = quiet.shape
    bounce = kind.spread / 2 * rng.choice([-1, 1], (2, lines, rows))
    opened, close = path[:, :-1] + bounce[0], path[:, 1:] + bounce[1]
    reach = np.abs(rng.standard_t(6, (2, lines, rows))) * 0.4 * scale
    high, low = np.maximum(opened, close) + reach[0], np.minimum(opened, close) - reach[1]
    prices = []
    for values in (opened, high, low, close):
        price = np.exp(values)
        rounded = np.where(price >= 1, np.round(price, 2), np.round(price, 4))
        prices.append(np.where(quiet, np.nan, np.maximum(rounded, 0.01)))
    volume = np.where(quiet, np.nan, np.ceil(rng.lognormal(8, 1, (lines, rows))))
    number = np.arange(lines, dtype=np.int64)
    panel = SessionPanel(
        symbol_id=number // sessions + 1,
        session=number % sessions,
        opens=FIRST_OPEN + number % sessions * DAY,
        sizes=np.full(lines, rows, np.int64),
        seconds=seconds,
        open=prices[0],
        high=prices[1],
        low=prices[2],
        close=prices[3],
        volume=volume,
    )
    return panel, _summarize_days(panel)


def _summarize_days(panel: SessionPanel) -> DayFigures:
    lines, columns = np.arange(len(panel)), panel.close.shape[1]
    first = np.argmax(panel.is_present, axis=1)
    last = columns - 1 - np.argmax(panel.is_present[:, ::-1], axis=1)
    close = panel.close[lines, last]
    return DayFigures(
        open=panel.open[lines, first],
        high=np.fmax.reduce(panel.high, axis=1),
        low=np.fmin.reduce(panel.low, axis=1),
        close=close,
        adjusted_close=close,
        volume=np.nansum(panel.volume, axis=1),
        split_ratio=np.ones(len(panel)),
    )
