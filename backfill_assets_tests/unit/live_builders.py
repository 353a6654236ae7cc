"""Live series for tests: minutes of trading, and what the vendor would give for the day so far at a stamp."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from backfill_assets.market.live.samples import SAMPLE_COLUMNS
from backfill_assets_tests.unit.market_builders import stamp

DAY = "2026-06-01"
Sample = tuple[float | None, ...]  # symbol_id, stamp, open, high, low, close, volume


def sample(at: str, close: float, volume: float, symbol_id: int = 0, **changed: float | None) -> Sample:
    """A sample stamped at a New York time of the day; open 10, high and low as far as ``close`` needs."""
    values = {"open": 10.0, "high": max(10.0, close), "low": min(10.0, close)} | changed
    return (symbol_id, stamp(f"{DAY} {at}"), *values.values(), close, volume)


def sample_table(samples: Iterable[Sample]) -> pd.DataFrame:
    frame = pd.DataFrame(list(samples), columns=list(SAMPLE_COLUMNS))
    return frame.astype({"symbol_id": np.int64} | dict.fromkeys(SAMPLE_COLUMNS[1:], np.float64))


def whole_stamps(samples: pd.DataFrame) -> pd.DataFrame:
    return samples.astype({"stamp": np.int64})


@dataclass(frozen=True)
class Tape:
    """A session's trades: at each of the seconds after the open one price and so many shares, ascending."""

    opens_at: int
    seconds: np.ndarray
    prices: np.ndarray
    shares: np.ndarray

    @classmethod
    def drawn(cls, seed: int, opens_at: int, length: int, trades: int) -> "Tape":
        rng = np.random.default_rng(seed)
        seconds = np.sort(rng.choice(length, size=min(trades, length), replace=False))
        prices = np.round(50 + np.cumsum(rng.normal(0, 0.05, len(seconds))), 2)
        return cls(opens_at, seconds, prices, rng.integers(1, 500, len(seconds)))

    def until(self, at: int) -> "Tape":
        """What traded before ``at`` (epoch seconds)."""
        n = int(np.searchsorted(self.seconds, at - self.opens_at))
        return Tape(self.opens_at, self.seconds[:n], self.prices[:n], self.shares[:n])

    def since(self, at: int) -> "Tape":
        n = int(np.searchsorted(self.seconds, at - self.opens_at))
        return Tape(self.opens_at, self.seconds[n:], self.prices[n:], self.shares[n:])

    def sample(self, at: int, symbol_id: int = 0) -> Sample | None:
        """The day so far at ``at``; None while nothing traded."""
        so_far = self.until(at).prices
        if not len(so_far):
            return None
        volume = float(self.until(at).shares.sum())
        return (symbol_id, at, so_far[0], so_far.max(), so_far.min(), so_far[-1], volume)
