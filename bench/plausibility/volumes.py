"""Simulated 5m volumes of whole sessions, with bursts, index rebalances, blocks, news and halts. Seeded.

Arrays have the shape (sessions, 78); a volume of 0 is a row that the vendor would leave out.
"""

from collections.abc import Callable

import numpy as np

from backfill_assets.market.arrays import Bools, Floats

ROWS = 78
EVENT_SHARE = 0.3  # of the sessions with each of the events below
HALTED_SHARE = 0.03  # of the sessions of a liquid name


def draw_volumes(rng: np.random.Generator, sort: str, count: int) -> Floats:
    """Draw so many sessions of one sort of name."""
    volumes: Floats = np.floor(_DRAWS[sort](rng, count))
    return volumes


def _draw_base(
    rng: np.random.Generator, count: int, median: tuple[float, float], deviation: tuple[float, float]
) -> Floats:
    """U-shaped volumes around a median (log-uniform) with log-normal noise, heavy first and last row."""
    row = np.arange(ROWS)
    middle = np.exp(rng.uniform(*np.log(median), (count, 1)))
    opening, closing = rng.uniform(0.8, 2.2, (count, 1)), rng.uniform(0.6, 2.0, (count, 1))
    shape = 0.8 + opening * np.exp(-row / 5.0) + closing * np.exp(-(ROWS - 1 - row) / 4.0)
    shape[:, 0] *= rng.uniform(1.0, 3.5, count)
    shape[:, -1] *= rng.uniform(1.0, 3.0, count)
    noise = rng.standard_normal((count, ROWS)) * rng.uniform(*deviation, (count, 1))
    volumes: Floats = middle * shape * np.exp(noise)
    return volumes


def _is_affected(rng: np.random.Generator, count: int) -> Bools:
    affected: Bools = rng.random((count, 1)) < EVENT_SHARE
    return affected


def _burst_at_open(rng: np.random.Generator, volume: Floats) -> Floats:
    """Earnings days and opening bursts: more of everything, most of all in the first half hour."""
    row = np.arange(ROWS)
    size, length = rng.uniform(2, 15, (len(volume), 1)), rng.uniform(1, 8, (len(volume), 1))
    factor = rng.uniform(1, 6, (len(volume), 1)) * (1 + size * np.exp(-row / length))
    return np.where(_is_affected(rng, len(volume)), volume * factor, volume)


def _rebalance(rng: np.random.Generator, volume: Floats) -> Floats:
    """The last five minutes are up to ten times a usual day, the ten before several times a usual row."""
    is_affected = _is_affected(rng, len(volume))[:, 0]
    result = volume.copy()
    result[is_affected, -3:-1] *= rng.uniform(1, 6, (is_affected.sum(), 2))
    result[is_affected, -1] += volume[is_affected].sum(axis=1) * rng.uniform(0.1, 10, is_affected.sum())
    return result


def _break_news(rng: np.random.Generator, volume: Floats) -> Floats:
    """Volume jumps at one row within the session and decays."""
    since = np.arange(ROWS) - rng.integers(3, ROWS, (len(volume), 1))
    size, length = np.exp(rng.uniform(np.log(3), np.log(80), (len(volume), 1))), rng.uniform(1.5, 15, (len(volume), 1))
    factor = 1 + np.where(since >= 0, size * np.exp(-np.maximum(since, 0) / length), 0.0)
    return np.where(_is_affected(rng, len(volume)), volume * factor, volume)


def _halt(rng: np.random.Generator, volume: Floats, affected: Bools | None = None) -> Floats:
    """Nothing for 15 minutes to two hours, then a reopening of 5 to 100 usual rows that decays."""
    row = np.arange(ROWS)
    start = rng.integers(2, ROWS - 4, (len(volume), 1))
    end = start + rng.integers(3, 25, (len(volume), 1))
    size = np.exp(rng.uniform(np.log(5), np.log(100), (len(volume), 1)))
    reopened = volume * (1 + np.where(row >= end, size * np.exp(-np.maximum(row - end, 0) / 1.5), 0.0))
    halted = np.where((row >= start) & (row < end), 0.0, reopened)
    return np.where(_is_affected(rng, len(volume)) if affected is None else affected, halted, volume)


def _add_blocks(rng: np.random.Generator, volume: Floats, sizes: tuple[float, float], most: int) -> Floats:
    """Block trades of so many median rows, in up to ``most`` rows of a session."""
    median = np.median(volume, axis=1, keepdims=True)
    at = rng.random(volume.shape).argsort(axis=1).argsort(axis=1)
    is_block = (at < rng.integers(0, most + 1, (len(volume), 1))) & _is_affected(rng, len(volume))
    result: Floats = volume + np.where(is_block, median * np.exp(rng.uniform(*np.log(sizes), volume.shape)), 0.0)
    return result


def _draw_liquid(rng: np.random.Generator, count: int) -> Floats:
    volume = _draw_base(rng, count, (5e3, 5e5), (0.25, 0.5))
    volume = _rebalance(rng, _burst_at_open(rng, _add_blocks(rng, volume, (2, 10), 2)))
    lost = rng.random(volume.shape) < 0.002
    return np.where(lost, 0.0, _halt(rng, volume, rng.random((count, 1)) < HALTED_SHARE))


def _draw_cheap(rng: np.random.Generator, count: int) -> Floats:
    volume = _draw_base(rng, count, (3e3, 3e5), (0.4, 1.0))
    return _halt(rng, _break_news(rng, _rebalance(rng, _burst_at_open(rng, volume))))


def _draw_halted(rng: np.random.Generator, count: int) -> Floats:
    """News, then up to three halts; on one day in fifty nothing trades."""
    volume = _break_news(rng, _burst_at_open(rng, _draw_base(rng, count, (2e3, 2e5), (0.4, 0.9))))
    for share in (1.0, 0.5, 0.2):
        volume = _halt(rng, volume, rng.random((count, 1)) < share)
    return volume * (rng.random((count, 1)) >= 0.02)


def _draw_newly_listed(rng: np.random.Generator, count: int) -> Floats:
    """First days: trading may begin late, with a large first row, and decays over the day."""
    volume = _draw_base(rng, count, (2e3, 3e5), (0.4, 0.7))
    since = np.arange(ROWS) - rng.integers(0, 50, (count, 1)) * _is_affected(rng, count)
    volume *= 1 + rng.uniform(5, 60, (count, 1)) * np.exp(-np.maximum(since, 0) / rng.uniform(1, 20, (count, 1)))
    return np.where(since >= 0, _halt(rng, _break_news(rng, volume)), 0.0)


def _draw_thin(rng: np.random.Generator, count: int) -> Floats:
    """Uneven volumes, rows without trade, blocks; a third in round lots, some of which double by chance."""
    volume = _draw_base(rng, count, (60, 1.5e3), (0.6, 2.0))
    volume = _rebalance(rng, _break_news(rng, _add_blocks(rng, volume, (10, 400), 4)))
    lots = 100 * np.maximum(np.round(volume / 100), 1) * 2.0 ** rng.integers(0, 3, volume.shape)
    volume = np.where(rng.random((count, 1)) < 0.33, lots, volume)
    return volume * (rng.random(volume.shape) < rng.uniform(0.25, 1.0, (count, 1)))


_DRAWS: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "liquid": _draw_liquid,
    "thin": _draw_thin,
    "cheap": _draw_cheap,
    "newly listed": _draw_newly_listed,
    "halted": _draw_halted,
}
SORTS = tuple(_DRAWS)
