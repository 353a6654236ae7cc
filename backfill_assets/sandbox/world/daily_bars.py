"""Official daily bars: drawn for any number of tickers and sessions at once.

The day comes first, and the minutes are made to fit it (``paths``): so a ticker's whole history, or
the whole market's day, costs microseconds a row. Prices here are continuous: splits are applied by
``world``. Nothing depends on the day before, so no chain has to be walked.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.sandbox.world.random_draws import Bools, Float64, Int64, UInt64, units

_PERIODS = np.array([11.0, 37.0, 131.0, 700.0])[:, None]  # days
_SWINGS = np.array([0.012, 0.03, 0.06, 0.16])[:, None]
_ONCE = np.zeros(1, np.int64)
IDLE_SHARE = 0.04  # sessions in which a thin ticker does not trade at all


@dataclass(frozen=True)
class DailyBars:
    """Official bars, one per pair of ticker and session; prices in whole cents.

    ``volume`` is consolidated and 0 where nobody traded.
    """

    open: Float64
    high: Float64
    low: Float64
    close: Float64
    volume: Int64


def daily_bars(keys: UInt64, ordinals: Int64, sizes: Float64, thin: Bools) -> DailyBars:
    """Draw the bars of pairs of ticker key and session ordinal (arrays that broadcast).

    ``sizes`` are the tickers' typical volumes, ``thin`` those that sometimes do not trade at all.
    """
    profile = units(keys, _ONCE, 5)
    drawn = units(keys, ordinals, 8)
    level = _level(profile, ordinals) + 0.006 * _bell(drawn[0:3])
    close = np.exp(level)
    spread = 0.006 + 0.012 * profile[4]
    opened = close * np.exp(-spread * _bell(drawn[2:5]))
    high = np.maximum(opened, close) * np.exp(spread * 0.7 * drawn[5] + 0.0004)
    low = np.minimum(opened, close) * np.exp(-spread * 0.7 * drawn[6] - 0.0004)
    volume = sizes * np.exp(0.35 * _bell(drawn[5:8]))
    idle = thin & (drawn[7] < IDLE_SHARE)
    shape = np.broadcast_shapes(keys.shape, ordinals.shape)
    cents = [np.round(np.broadcast_to(price, shape), 2) for price in (opened, high, low, close)]
    return DailyBars(cents[0], cents[1], cents[2], cents[3], np.where(idle, 0, volume).astype(np.int64))


def _level(profile: Float64, ordinals: Int64) -> Float64:
    waves = _SWINGS * np.sin(2 * np.pi * (ordinals[None, :] / _PERIODS + profile[0:4]))
    level: Float64 = np.log(15.0) + np.log(25.0) * profile[3] + waves.sum(axis=0)
    return level


def _bell(drawn: Float64) -> Float64:
    shaped: Float64 = 2.0 * (drawn.sum(axis=0) - 0.5 * len(drawn))
    return shaped
