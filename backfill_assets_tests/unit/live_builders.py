"""Builds live samples for tests, also from the trades of a session."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from backfill_assets.market.live.samples import SAMPLE_COLUMNS
from backfill_assets_tests.unit.market_builders import parse_epoch

DAY = "2026-06-01"
Sample = tuple[float | None, ...]  # symbol_id, stamp, open, high, low, close, volume


def make_sample(at: str, close: float, volume: float, symbol_id: int = 0, **changed: float | None) -> Sample:
    """A sample stamped at a New York time of the day; open 10, high and low as far as ``close`` needs."""
    values = {"open": 10.0, "high": max(10.0, close), "low": min(10.0, close)} | changed
    return (symbol_id, parse_epoch(f"{DAY} {at}"), *values.values(), close, volume)


def make_sample_table(samples: Iterable[Sample]) -> pd.DataFrame:
    frame = pd.DataFrame(list(samples), columns=list(SAMPLE_COLUMNS))
    return frame.astype({"symbol_id": np.int64} | dict.fromkeys(SAMPLE_COLUMNS[1:], np.float64))


def convert_stamps(samples: pd.DataFrame) -> pd.DataFrame:
    return samples.astype({"stamp": np.int64})


@dataclass(frozen=True)
class Tape:
    """The trades of a session, oldest first.

    Attributes:
        opens_at: the open, in epoch seconds.
        seconds: seconds after the open, one per trade.
        prices: price of each trade.
        shares: number of shares of each trade.
    """

    opens_at: int
    seconds: np.ndarray
    prices: np.ndarray
    shares: np.ndarray

    @classmethod
    def draw(cls, seed: int, opens_at: int, length: int, trades: int) -> "Tape":
        rng = np.random.default_rng(seed)
        seconds = np.sort(rng.choice(length, size=min(trades, length), replace=False))
        prices = np.round(50 + np.cumsum(rng.normal(0, 0.05, len(seconds))), 2)
        return cls(opens_at, seconds, prices, rng.integers(1, 500, len(seconds)))

    def select_before(self, at: int) -> "Tape":
        """The trades before ``at`` (epoch seconds)."""
        n = int(np.searchsorted(self.seconds, at - self.opens_at))
        return Tape(self.opens_at, self.seconds[:n], self.prices[:n], self.shares[:n])

    def select_since(self, at: int) -> "Tape":
        n = int(np.searchsorted(self.seconds, at - self.opens_at))
        return Tape(self.opens_at, self.seconds[n:], self.prices[n:], self.shares[n:])

    def build_sample(self, at: int, symbol_id: int = 0) -> Sample | None:
        """A sample of the day so far at ``at``; None before the first trade."""
        so_far = self.select_before(at).prices
        if not len(so_far):
            return None
        volume = float(self.select_before(at).shares.sum())
        return (symbol_id, at, so_far[0], so_far.max(), so_far.min(), so_far[-1], volume)
