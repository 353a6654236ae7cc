"""Simulated 5m prices of symbols over many sessions, with fat tails, gaps, jumps, spreads and ticks. Seeded.

A row is made of five steps. Volatility has the shape of a smile over the session, and days of its own.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from bench.plausibility.volumes import ROWS

STEPS = 5  # of a row
TAILS = 3.0  # degrees of freedom of the steps: a move of ten deviations once in a few thousand
HALT_ROWS = 3  # so many rows without a trade in a row of a name that usually trades


@dataclass(frozen=True)
class PriceSort:
    """How the prices of one sort of name behave.

    Attributes:
        price: bounds of the first price, log-uniform.
        deviation: bounds of the daily deviation of the logarithm.
        spread: bounds of half the spread, relative to the price; at least half a tick.
        gap_share: share of the sessions with an overnight gap of news, such as earnings.
        gap: deviation of such a gap.
        reopening: deviation of the jump after a halt.
    """

    price: tuple[float, float]
    deviation: tuple[float, float]
    spread: tuple[float, float]
    gap_share: float
    gap: float
    reopening: float


PRICE_SORTS = {
    "liquid": PriceSort((15.0, 900.0), (0.008, 0.03), (0.00005, 0.0005), 0.02, 0.07, 0.02),
    "thin": PriceSort((2.0, 150.0), (0.01, 0.04), (0.0005, 0.01), 0.02, 0.07, 0.02),
    "cheap": PriceSort((0.15, 5.0), (0.03, 0.1), (0.001, 0.01), 0.04, 0.2, 0.1),
    "newly listed": PriceSort((4.0, 60.0), (0.03, 0.1), (0.0003, 0.003), 0.03, 0.1, 0.06),
    "halted": PriceSort((0.5, 40.0), (0.05, 0.15), (0.0005, 0.005), 0.1, 0.3, 0.12),
}


@dataclass(frozen=True, eq=False)
class PriceRows:
    """Prices of symbols and sessions, shape (symbols, sessions, rows), NaN without a trade.

    ``consolidated_high`` and ``consolidated_low`` hold the session's trades of all venues, shape (symbols, sessions).
    """

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    consolidated_high: Floats
    consolidated_low: Floats


def draw_prices(rng: np.random.Generator, sort: str, traded: Bools, sizes: Int64, is_known: Bools) -> PriceRows:
    """Draw the prices of the rows with a trade.

    Args:
        rng: draws everything.
        sort: the sort of names.
        traded: which rows have a trade, shape (symbols, sessions, rows).
        sizes: how many rows each session has, shape (sessions,).
        is_known: which days have settled figures, shape (symbols, sessions). Only on these a real flash move of a
            single name can be told from a wrong price.
    """
    kind, (symbols, sessions, _) = PRICE_SORTS[sort], traded.shape
    mid = np.exp(_draw_path(rng, kind, traded))
    half_spread = np.exp(rng.uniform(*np.log(kind.spread), (symbols, 1, 1, 1))) * mid
    sides = rng.choice((-1.0, 1.0), mid.shape)
    trades = mid + sides * np.maximum(half_spread, _get_tick(mid) / 2)
    reach = 0.3 * np.abs(rng.standard_normal((2, symbols, sessions, ROWS))) * half_spread[..., 0]
    high, low = trades.max(axis=3) + reach[0], trades.min(axis=3) - reach[1]
    high, low = _add_flashes(rng, traded & is_known[..., None], high, low)
    in_session = np.arange(ROWS) < sizes[:, None]
    values = [np.where(traded, _round(prices), np.nan) for prices in (trades[..., 0], high, low, trades[..., -1])]
    outside = 1 + 0.002 * rng.random((2, symbols, sessions))
    top = np.where(in_session, high, -np.inf).max(axis=2) * outside[0]
    bottom = np.where(in_session, low, np.inf).min(axis=2) / outside[1]
    return PriceRows(values[0], values[1], values[2], values[3], _ceil(top), _floor(bottom))


def _draw_path(rng: np.random.Generator, kind: PriceSort, traded: Bools) -> Floats:
    """Logarithms of the mid price, shape (symbols, sessions, rows, steps)."""
    symbols, sessions, _ = traded.shape
    row = np.arange(ROWS)
    smile = 0.7 + 1.6 * np.exp(-row / 5.0) + 0.6 * np.exp(-(ROWS - 1 - row) / 5.0)
    deviation = np.exp(rng.uniform(*np.log(kind.deviation), (symbols, 1)))
    is_news = rng.random((symbols, sessions)) < kind.gap_share
    of_day = deviation * np.exp(0.35 * rng.standard_normal((symbols, sessions))) * np.where(is_news, 2.0, 1.0)
    scale = of_day[..., None] * smile / np.sqrt(np.square(smile).sum() * STEPS * TAILS / (TAILS - 2))
    steps = scale[..., None] * rng.standard_t(TAILS, (symbols, sessions, ROWS, STEPS))
    steps += _draw_reopenings(rng, kind, traded)[..., None] * (np.arange(STEPS) == 0)
    gaps = deviation * 0.5 * rng.standard_normal((symbols, sessions))
    gaps += np.where(is_news, kind.gap * rng.standard_normal((symbols, sessions)), 0.0)
    steps[:, :, 0, 0] += gaps
    path = steps.reshape(symbols, -1).cumsum(axis=1)
    path = np.log(15.0) * np.tanh(path / np.log(15.0))  # within a fifteenth and fifteen times the first price
    first = np.log(np.array(kind.price))
    path += rng.uniform(first[0], first[1], (symbols, 1))
    return path.reshape(symbols, sessions, ROWS, STEPS)


def _draw_reopenings(rng: np.random.Generator, kind: PriceSort, traded: Bools) -> Floats:
    """Jumps of the first row after a halt."""
    silent = np.stack([np.roll(~traded, shift, axis=2) for shift in range(1, HALT_ROWS + 1)]).all(axis=0)
    silent[:, :, :HALT_ROWS] = False
    return np.where(silent & traded, kind.reopening * rng.standard_normal(traded.shape), 0.0)


def _add_flashes(rng: np.random.Generator, judged: Bools, high: Floats, low: Floats) -> tuple[Floats, Floats]:
    """Real flash moves that revert within the row: of a single name now and then, of many in a crash.

    The day's range has them as well.
    """
    symbols, sessions, _ = judged.shape
    alone = judged & (rng.random(judged.shape) < 2e-5)
    crash = np.zeros(judged.shape, bool)
    for session in np.flatnonzero(rng.random(sessions) < 0.02):
        crash[rng.random(symbols) < 0.2, session, rng.integers(ROWS)] = True
    factor = np.exp(rng.uniform(np.log(0.4), np.log(0.95), judged.shape))
    return np.where(alone & (rng.random(judged.shape) < 0.5), high / factor, high), np.where(
        alone | crash, low * factor, low
    )


def _get_tick(price: Floats) -> Floats:
    return np.where(price < 1.0, 0.0001, 0.01)


def _round(price: Floats) -> Floats:
    tick = _get_tick(price)
    return np.round(np.maximum(np.round(price / tick), 1) * tick, 4)


def _ceil(price: Floats) -> Floats:
    tick = _get_tick(price)
    return np.round(np.ceil(price / tick) * tick, 4)


def _floor(price: Floats) -> Floats:
    tick = _get_tick(price)
    return np.round(np.maximum(np.floor(price / tick), 1) * tick, 4)
