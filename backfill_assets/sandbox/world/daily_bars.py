"""Official daily bars, drawn for any number of tickers and sessions at once.

The daily bar is drawn first and the minutes are fitted to it (``minute_paths``), so the history of a ticker or
the day of a market costs microseconds per row. No day depends on the day before. Prices here are continuous;
``simulation`` applies corporate actions.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.sandbox.world.random_draws import UInt64, draw_units

_WAVE_PERIODS = np.array([11.0, 37.0, 131.0, 700.0])[:, None]  # days
_WAVE_AMPLITUDES = np.array([0.012, 0.03, 0.06, 0.16])[:, None]
_ZERO_ORDINAL = np.zeros(1, np.int64)
_THIN_VOLUMES, _OTHER_VOLUMES, _FAMILIAR_VOLUMES = (3e3, 3e4), (1e5, 4e6), (3e6, 6e7)  # shares a day
IDLE_SESSION_SHARE = 0.04  # sessions in which a thin ticker does not trade at all


@dataclass(frozen=True)
class DailyBars:
    """Official bars, shape (pairs of ticker and session,); prices in whole cents.

    ``volume`` is consolidated; 0 means no trade.
    """

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Int64


def draw_daily_bars(keys: UInt64, ordinals: Int64, typical_volumes: Floats, thin: Bools) -> DailyBars:
    """Draw the bars for pairs of ticker key and session ordinal (arrays that broadcast).

    ``typical_volumes`` are shares per day; ``thin`` marks tickers that have sessions without a trade.
    """
    ticker_draws = draw_units(keys, _ZERO_ORDINAL, 5)
    session_draws = draw_units(keys, ordinals, 8)
    log_price = _compute_log_price(ticker_draws, ordinals) + 0.006 * _approximate_normal(session_draws[0:3])
    close = np.exp(log_price)
    spread = 0.006 + 0.012 * ticker_draws[4]
    open_price = close * np.exp(-spread * _approximate_normal(session_draws[2:5]))
    high = np.maximum(open_price, close) * np.exp(spread * 0.7 * session_draws[5] + 0.0004)
    low = np.minimum(open_price, close) * np.exp(-spread * 0.7 * session_draws[6] - 0.0004)
    volume = typical_volumes * np.exp(0.35 * _approximate_normal(session_draws[5:8]))
    idle = thin & (session_draws[7] < IDLE_SESSION_SHARE)
    shape = np.broadcast_shapes(keys.shape, ordinals.shape)
    prices = [np.round(np.broadcast_to(price, shape), 2) for price in (open_price, high, low, close)]
    return DailyBars(prices[0], prices[1], prices[2], prices[3], np.where(idle, 0, volume).astype(np.int64))


def compute_typical_volume(unit: float, *, is_thin: bool, is_familiar: bool) -> float:
    """Compute the typical number of shares a day for a number drawn in [0, 1)."""
    low, high = _THIN_VOLUMES if is_thin else _FAMILIAR_VOLUMES if is_familiar else _OTHER_VOLUMES
    return float(low * (high / low) ** unit)


def scale_prices(bars: DailyBars, factors: Floats) -> DailyBars:
    """Multiply prices by ``factors``, one for all pairs or one for each; they stay in whole cents."""
    prices = [np.round(price * factors, 2) for price in (bars.open, bars.high, bars.low, bars.close)]
    return DailyBars(prices[0], prices[1], prices[2], prices[3], bars.volume)


def _compute_log_price(ticker_draws: Floats, ordinals: Int64) -> Floats:
    waves = _WAVE_AMPLITUDES * np.sin(2 * np.pi * (ordinals[None, :] / _WAVE_PERIODS + ticker_draws[0:4]))
    log_price: Floats = np.log(15.0) + np.log(25.0) * ticker_draws[3] + waves.sum(axis=0)
    return log_price


def _approximate_normal(uniforms: Floats) -> Floats:
    normals: Floats = 2.0 * (uniforms.sum(axis=0) - 0.5 * len(uniforms))
    return normals
