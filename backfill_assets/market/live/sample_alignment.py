"""Which live sample stands for which edge of a slot.

Used by ``provisional``; a sample is taken for the state at its stamp.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backfill_assets.market.bars.source_rows import DECIMALS, PRICES
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.live.sampling_schedule import EDGE_SHARE

Int64 = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Track:
    """All tickers' samples one after the other, each ticker's after its state at the open.

    Attributes:
        tickers: the tickers, ascending.
        owner: index into ``tickers`` of each row.
        stamp: epoch seconds.
        high: of the day so far; −inf at the open.
        low: of the day so far; +inf at the open.
        close: last price; at the open the day's first.
        volume: shares of the day so far.
        at_open: whether the row is the state at the open, which no sample is needed for.
        key: one ascending number for owner and stamp.
        span: a ticker's step in ``key``.
    """

    tickers: Int64
    owner: Int64
    stamp: Int64
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    at_open: Bools
    key: Int64
    span: int

    def first_from(self, owner: Int64, moment: Int64) -> Int64:
        """The first row of each owner that is stamped at or after ``moment``; the next one's if there is none."""
        return np.searchsorted(self.key, owner * self.span + moment, side="left").astype(np.int64)

    def last_until(self, owner: Int64, moment: Int64) -> Int64:
        """The last row of each owner that is stamped at or before ``moment``."""
        return np.searchsorted(self.key, owner * self.span + moment, side="right").astype(np.int64) - 1

    def follows(self, row: Int64) -> Bools:
        """Whether the row after each is the same ticker's."""
        after = np.minimum(row + 1, len(self.owner) - 1)
        same: Bools = (after > row) & (self.owner[after] == self.owner[row])
        return same


def track_of(samples: pd.DataFrame, opens_at: int) -> Track:
    """Lay out a session's sample table (see ``samples``), of at least one sample; ``opens_at`` epoch seconds."""
    rounded = samples.assign(**{name: samples[name].round(DECIMALS) for name in PRICES})
    newest = rounded.sort_values(["ticker", "stamp"]).drop_duplicates("ticker", keep="last")
    opening = newest.assign(stamp=opens_at, high=-np.inf, low=np.inf, close=newest["open"], volume=0.0)
    table = pd.concat([opening, rounded], ignore_index=True).sort_values(["ticker", "stamp"])
    tickers, owner = np.unique(table["ticker"].to_numpy(np.int64), return_inverse=True)
    stamp = table["stamp"].to_numpy(np.int64)
    span = 2 * int(stamp.max()) + 1  # more than any moment asked about
    high, low, close, volume = (table[name].to_numpy(float) for name in ("high", "low", "close", "volume"))
    at_open = np.diff(owner, prepend=-1) != 0
    return Track(tickers, owner, stamp, high, low, close, volume, at_open, owner * span + stamp, span)


@dataclass(frozen=True, eq=False)
class Edges:
    """The row of a track that stands for each edge, −1 for unknown; shape (tickers, slots + 1).

    At the close, ``price`` may be a later row than ``volume``.
    """

    volume: Int64
    price: Int64


def edges_of(track: Track, grid: SlotGrid) -> Edges:
    """The rows for the edges of the one session of ``grid``.

    An edge's row is the last sample before or at it, at most half a tolerance away. Where there is none, and the
    vendor is past the edge, it is the first one after it, else the last one before it, at most a tolerance
    away. For the close it is always one *before* it: the closing auction may be in a sample stamped at the close,
    and is in all later ones. Prices may come from a sample stamped exactly at the close all the same: the auction
    prints there, at nearly the last price.
    """
    tolerance = grid.interval.seconds // EDGE_SHARE
    at = np.append(grid.starts, grid.ends[-1])
    is_close = at == at[-1]
    before = track.last_until(np.arange(len(track.tickers))[:, None], at - is_close)
    after = np.minimum(before + 1, len(track.owner) - 1)
    passed = track.follows(before)
    earlier, later = at - track.stamp[before], track.stamp[after] - at
    choices = [
        (earlier <= tolerance / 2, before),
        (passed & (later <= tolerance) & ~is_close, after),
        (passed & (earlier <= tolerance), before),
    ]
    volume = np.select([fits for fits, _ in choices], [row for _, row in choices], -1)
    price = np.where((volume >= 0) & passed & is_close & (later == 0), after, volume)
    return Edges(volume, price)
