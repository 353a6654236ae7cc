"""Draws the consolidated minutes (1m) of a session and the bars of a single venue (5m) made from them.

Windows without a trade come in as masks (``quiet_periods``); irregular rows are added in ``data_quirks``.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.sandbox.world.intraday_columns import IntradayColumns

MINUTE = 60
FIVE_MINUTES = 300


@dataclass(frozen=True)
class OfficialBar:
    """The official bar that the minutes of a session fit, at the prices of that day."""

    open: float
    high: float
    low: float
    close: float
    volume: int


def draw_regular_minutes(rng: np.random.Generator, official_bar: OfficialBar, timestamps: Int64) -> IntradayColumns:
    """Draw the minutes at ``timestamps`` (epoch seconds), within the day's range, with U-shaped volumes."""
    minutes = len(timestamps)
    points = _fit_to_range(_draw_bridge(rng, official_bar, minutes), official_bar)
    noise = rng.standard_normal((4, minutes))
    tick = official_bar.close * 0.00015
    opens = np.clip(_round_to_ticks(points[:-1] + 0.3 * tick * noise[0], noise[1]), official_bar.low, official_bar.high)
    closes = np.clip(_round_to_ticks(points[1:], noise[2]), official_bar.low, official_bar.high)
    reach = np.round(tick * np.abs(noise[2:4]), 2)
    highs = np.minimum(np.maximum(opens, closes) + reach[0], official_bar.high)
    lows = np.maximum(np.minimum(opens, closes) - reach[1], official_bar.low)
    highs[np.argmax(highs)] = official_bar.high
    lows[np.argmin(lows)] = official_bar.low
    return IntradayColumns(
        timestamps,
        np.round(np.stack([opens, highs, lows, closes]), 4),
        _distribute_volume(noise[3], official_bar.volume, minutes),
    )


def draw_extended_minutes(
    rng: np.random.Generator, start: int, minutes: int, prices: tuple[float, float], volume: int
) -> IntradayColumns:
    """Draw a full grid of minutes with little movement that leads from one price to the other.

    They have no more than ``volume`` shares, as the day's volume holds all of its minutes, but one each at least.
    """
    first, last = prices
    noise = rng.standard_normal((4, minutes))
    tick = 0.0002 * last
    points = np.linspace(first, last, minutes + 1) + tick * rng.standard_normal(minutes + 1)
    points[[0, -1]] = prices
    opens = _round_to_ticks(points[:-1], noise[0])
    closes = _round_to_ticks(points[1:], noise[1])
    reach = np.round(tick * np.abs(noise[2:4]), 2)
    highs, lows = np.maximum(opens, closes) + reach[0], np.minimum(opens, closes) - reach[1]
    weights = np.exp(noise[0])
    shares = np.maximum(volume * weights / weights.sum(), 1).astype(np.int64)
    timestamps = start + MINUTE * np.arange(minutes, dtype=np.int64)
    return IntradayColumns(timestamps, np.round(np.stack([opens, highs, lows, closes]), 4), shares)


def draw_venue_bars(
    rng: np.random.Generator, minutes: IntradayColumns, share: float, quiet_windows: Bools
) -> IntradayColumns:
    """Draw five-minute bars of one venue: near the consolidated prices, with a share of the volume.

    Windows in ``quiet_windows`` are left out. Prices are 32-bit floats cut to six decimals (docs/vendor.md §2.1).
    """
    whole = _fill_last_window(minutes)
    open_prices, high, low, close = whole.prices.reshape(4, -1, 5)
    noise = rng.random((5, len(quiet_windows)))
    top, bottom = high.max(axis=1), low.min(axis=1)
    opens = np.clip(open_prices[:, 0] + _pick_cent_offsets(noise[0], 0.3), bottom, top)
    closes = np.clip(close[:, -1] + _pick_cent_offsets(noise[1], 0.3), bottom, top)
    highs = np.maximum(np.maximum(opens, closes), top - np.where(noise[2] < 0.3, 0.01, 0.0))
    lows = np.minimum(np.minimum(opens, closes), bottom + np.where(noise[3] < 0.3, 0.01, 0.0))
    shares = whole.volumes.reshape(-1, 5).sum(axis=1) * share * (0.7 + 0.6 * noise[4])
    bars = IntradayColumns(
        minutes.timestamps[::5],
        truncate_to_float32(np.stack([opens, highs, lows, closes])),
        np.maximum(shares, 1).astype(np.int64),
    )
    return bars.select(~quiet_windows) if quiet_windows.any() else bars


def _fill_last_window(minutes: IntradayColumns) -> IntradayColumns:
    """Repeat the last minute, without its volume, up to the end of a five-minute window."""
    missing = -len(minutes) % 5
    if missing == 0:
        return minutes
    return IntradayColumns(
        minutes.timestamps,
        np.pad(minutes.prices, ((0, 0), (0, missing)), mode="edge"),
        np.pad(minutes.volumes, (0, missing)),
    )


def truncate_to_float32(prices: Floats) -> Floats:
    """Convert to 32-bit floats cut to six decimals: 306.31 becomes 306.309997."""
    truncated: Floats = np.floor(prices.astype(np.float32).astype(np.float64) * 1e6) / 1e6
    return truncated


def _draw_bridge(rng: np.random.Generator, official_bar: OfficialBar, minutes: int) -> Floats:
    steps = rng.standard_normal(minutes).cumsum()
    part = np.arange(minutes + 1) / minutes
    walk = np.concatenate([np.zeros(1), steps])
    swing = (official_bar.high - official_bar.low) / np.sqrt(minutes)
    points: Floats = (
        official_bar.open + (official_bar.close - official_bar.open) * part + swing * (walk - part * walk[-1])
    )
    return points


def _fit_to_range(points: Floats, official_bar: OfficialBar) -> Floats:
    """Scale what lies beyond open and close so that the extremes are the day's high and low."""
    top, bottom = max(official_bar.open, official_bar.close), min(official_bar.open, official_bar.close)
    above, below = np.maximum(points - top, 0), np.maximum(bottom - points, 0)
    up = (official_bar.high - top) / max(float(above.max()), 1e-9)
    down = (bottom - official_bar.low) / max(float(below.max()), 1e-9)
    fitted: Floats = np.clip(points, bottom, top) + above * min(up, 3.0) - below * min(down, 3.0)
    return fitted


def _round_to_ticks(prices: Floats, noise: Floats) -> Floats:
    """Round to cents, some prices to fractions of a cent."""
    fine = np.abs(noise) > 1.5
    ticks: Floats = np.round(prices, 2)
    ticks[fine] = np.round(prices[fine], 4)
    return ticks


def _pick_cent_offsets(noise: Floats, share: float) -> Floats:
    """Choose an offset of one cent up or down for ``share`` of the bars, 0 for the others."""
    offsets: Floats = np.where(noise < share / 2, -0.01, np.where(noise > 1 - share / 2, 0.01, 0.0))
    return offsets


def _distribute_volume(noise: Floats, total: int, minutes: int) -> Int64:
    minute = np.arange(minutes)
    u_shape = 0.5 + 1.8 * np.exp(-minute / 25.0) + 1.2 * np.exp(-(minutes - minute) / 20.0)
    weights = u_shape * np.exp(0.35 * noise)
    shares: Int64 = np.maximum(total * weights / weights.sum(), 1).astype(np.int64)
    return shares
