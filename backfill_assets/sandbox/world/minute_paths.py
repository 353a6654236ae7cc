"""Minutes of the consolidated tape (1m), and what a single venue (5m) saw of them.

Pure drawing: which windows are quiet comes in as masks, awkward rows are laid over in ``oddities``.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.sandbox.wire.rows import Rows
from backfill_assets.sandbox.world.random_draws import Bools, Float64, Int64

MINUTE = 60
FIVE_MINUTES = 300


@dataclass(frozen=True)
class Day:
    """The official bar that a session's minutes must fit, at the prices of that day."""

    open: float
    high: float
    low: float
    close: float
    volume: int


def regular_minutes(rng: np.random.Generator, day: Day, opened: int, minutes: int) -> Rows:
    """A full grid of minutes from ``opened`` (epoch s), within the day's range, volumes U-shaped."""
    points = _folded(_bridge(rng, day, minutes), day)
    noise = rng.standard_normal((4, minutes))
    tick = day.close * 0.00015
    o = np.clip(_ticks(points[:-1] + 0.3 * tick * noise[0], noise[1]), day.low, day.high)
    c = np.clip(_ticks(points[1:], noise[2]), day.low, day.high)
    reach = np.round(tick * np.abs(noise[2:4]), 2)
    h = np.minimum(np.maximum(o, c) + reach[0], day.high)
    low = np.maximum(np.minimum(o, c) - reach[1], day.low)
    h[np.argmax(h)] = day.high
    low[np.argmin(low)] = day.low
    stamps = opened + MINUTE * np.arange(minutes, dtype=np.int64)
    return Rows(stamps, np.round(np.stack([o, h, low, c]), 4), _volumes(noise[3], day.volume, minutes))


def extended_minutes(
    rng: np.random.Generator, start: int, minutes: int, prices: tuple[float, float], volume: int
) -> Rows:
    """A full grid of quiet minutes that leads from one price to the other."""
    first, last = prices
    noise = rng.standard_normal((4, minutes))
    tick = 0.0002 * last
    points = np.linspace(first, last, minutes + 1) + tick * rng.standard_normal(minutes + 1)
    points[[0, -1]] = prices
    o = _ticks(points[:-1], noise[0])
    c = _ticks(points[1:], noise[1])
    reach = np.round(tick * np.abs(noise[2:4]), 2)
    h, low = np.maximum(o, c) + reach[0], np.minimum(o, c) - reach[1]
    shares = np.maximum(volume / minutes * np.exp(noise[0]), 1).astype(np.int64)
    stamps = start + MINUTE * np.arange(minutes, dtype=np.int64)
    return Rows(stamps, np.round(np.stack([o, h, low, c]), 4), shares)


def venue_bars(rng: np.random.Generator, minutes: Rows, share: float, quiet: Bools) -> Rows:
    """Five-minute bars of one venue: near the tape's prices, a share of its volume; without quiet ones.

    Prices carry the noise of 32-bit floats, cut to six decimals (EODHD.md §2).
    """
    opened, high, low, close = minutes.prices.reshape(4, -1, 5)
    noise = rng.random((5, len(quiet)))
    top, bottom = high.max(axis=1), low.min(axis=1)
    o = np.clip(opened[:, 0] + _off(noise[0], 0.3), bottom, top)
    c = np.clip(close[:, -1] + _off(noise[1], 0.3), bottom, top)
    h = np.maximum(np.maximum(o, c), top - np.where(noise[2] < 0.3, 0.01, 0.0))
    lowest = np.minimum(np.minimum(o, c), bottom + np.where(noise[3] < 0.3, 0.01, 0.0))
    shares = minutes.volumes.reshape(-1, 5).sum(axis=1) * share * (0.7 + 0.6 * noise[4])
    bars = Rows(
        minutes.stamps[::5],
        single_precision(np.stack([o, h, lowest, c])),
        np.maximum(shares, 1).astype(np.int64),
    )
    return bars.where(~quiet) if quiet.any() else bars


def single_precision(prices: Float64) -> Float64:
    """``prices`` as 32-bit floats show them with six decimals: 306.31 becomes 306.309997."""
    cut: Float64 = np.floor(prices.astype(np.float32).astype(np.float64) * 1e6) / 1e6
    return cut


def _bridge(rng: np.random.Generator, day: Day, minutes: int) -> Float64:
    steps = rng.standard_normal(minutes).cumsum()
    part = np.arange(minutes + 1) / minutes
    walk = np.concatenate([np.zeros(1), steps])
    swing = (day.high - day.low) / np.sqrt(minutes)
    points: Float64 = day.open + (day.close - day.open) * part + swing * (walk - part * walk[-1])
    return points


def _folded(points: Float64, day: Day) -> Float64:
    """Squeeze what lies beyond open and close so that the extremes are the day's."""
    top, bottom = max(day.open, day.close), min(day.open, day.close)
    above, below = np.maximum(points - top, 0), np.maximum(bottom - points, 0)
    up = (day.high - top) / max(float(above.max()), 1e-9)
    down = (bottom - day.low) / max(float(below.max()), 1e-9)
    folded: Float64 = np.clip(points, bottom, top) + above * min(up, 3.0) - below * min(down, 3.0)
    return folded


def _ticks(prices: Float64, noise: Float64) -> Float64:
    """Round to cents, some to fractions of a cent."""
    fine = np.abs(noise) > 1.5
    ticks: Float64 = np.round(prices, 2)
    ticks[fine] = np.round(prices[fine], 4)
    return ticks


def _off(noise: Float64, share: float) -> Float64:
    """A cent up or down for ``share`` of the bars."""
    moved: Float64 = np.where(noise < share / 2, -0.01, np.where(noise > 1 - share / 2, 0.01, 0.0))
    return moved


def _volumes(noise: Float64, total: int, minutes: int) -> Int64:
    at = np.arange(minutes)
    smile = 0.5 + 1.8 * np.exp(-at / 25.0) + 1.2 * np.exp(-(minutes - at) / 20.0)
    weights = smile * np.exp(0.35 * noise)
    shares: Int64 = np.maximum(total * weights / weights.sum(), 1).astype(np.int64)
    return shares
