"""Which live sample stands for which edge of a slot.

Used by ``provisional``; a sample is taken for the state at its stamp.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.bars.source_rows import PRICE_DECIMALS, PRICES
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.live.sampling_schedule import EDGE_TOLERANCE_DIVISOR


@dataclass(frozen=True, eq=False)
class SampleTrack:
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

    symbol_ids: Int64
    symbol_index: Int64
    stamp: Int64
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    at_open: Bools
    key: Int64
    key_step: int

    def find_first_at_or_after(self, symbol_index: Int64, moment: Int64) -> Int64:
        """The first row of each owner that is stamped at or after ``moment``; the next one's if there is none."""
        return np.searchsorted(self.key, symbol_index * self.key_step + moment, side="left").astype(np.int64)

    def find_last_at_or_before(self, symbol_index: Int64, moment: Int64) -> Int64:
        """The last row of each owner that is stamped at or before ``moment``."""
        return np.searchsorted(self.key, symbol_index * self.key_step + moment, side="right").astype(np.int64) - 1

    def has_next(self, row: Int64) -> Bools:
        """Whether the row after each is the same ticker's."""
        next_row = np.minimum(row + 1, len(self.symbol_index) - 1)
        is_same_symbol: Bools = (next_row > row) & (self.symbol_index[next_row] == self.symbol_index[row])
        return is_same_symbol


def build_track(samples: pd.DataFrame, opens_at: int) -> SampleTrack:
    """Lay out a session's sample table (see ``samples``), of at least one sample; ``opens_at`` epoch seconds."""
    rounded = samples.assign(**{name: samples[name].round(PRICE_DECIMALS) for name in PRICES})
    newest_samples = rounded.sort_values(["symbol_id", "stamp"]).drop_duplicates("symbol_id", keep="last")
    open_states = newest_samples.assign(
        stamp=opens_at, high=-np.inf, low=np.inf, close=newest_samples["open"], volume=0.0
    )
    table = pd.concat([open_states, rounded], ignore_index=True).sort_values(["symbol_id", "stamp"])
    symbol_ids, symbol_index = np.unique(table["symbol_id"].to_numpy(np.int64), return_inverse=True)
    stamp = table["stamp"].to_numpy(np.int64)
    key_step = 2 * int(stamp.max()) + 1  # more than any moment asked about
    high, low, close, volume = (table[name].to_numpy(float) for name in ("high", "low", "close", "volume"))
    at_open = np.diff(symbol_index, prepend=-1) != 0
    return SampleTrack(
        symbol_ids, symbol_index, stamp, high, low, close, volume, at_open, symbol_index * key_step + stamp, key_step
    )


@dataclass(frozen=True, eq=False)
class EdgeRows:
    """The row of a track that stands for each edge, −1 for unknown; shape (tickers, slots + 1).

    At the close, ``price`` may be a later row than ``volume``.
    """

    volume_row: Int64
    price_row: Int64


def align_to_edges(track: SampleTrack, grid: SlotGrid) -> EdgeRows:
    """The rows for the edges of the one session of ``grid``.

    An edge's row is the last sample before or at it, at most half a tolerance away. Where there is none, and the
    vendor is past the edge, it is the first one after it, else the last one before it, at most a tolerance
    away. For the close it is always one *before* it: the closing auction may be in a sample stamped at the close,
    and is in all later ones. Prices may come from a sample stamped exactly at the close all the same: the auction
    prints there, at nearly the last price.
    """
    tolerance = grid.interval.seconds // EDGE_TOLERANCE_DIVISOR
    edge = np.append(grid.starts, grid.ends[-1])
    is_close = edge == edge[-1]
    row_before = track.find_last_at_or_before(np.arange(len(track.symbol_ids))[:, None], edge - is_close)
    row_after = np.minimum(row_before + 1, len(track.symbol_index) - 1)
    has_later_sample = track.has_next(row_before)
    seconds_before, seconds_after = edge - track.stamp[row_before], track.stamp[row_after] - edge
    choices = [
        (seconds_before <= tolerance / 2, row_before),
        (has_later_sample & (seconds_after <= tolerance) & ~is_close, row_after),
        (has_later_sample & (seconds_before <= tolerance), row_before),
    ]
    volume_row = np.select([fits for fits, _ in choices], [row for _, row in choices], -1)
    price_row = np.where((volume_row >= 0) & has_later_sample & is_close & (seconds_after == 0), row_after, volume_row)
    return EdgeRows(volume_row, price_row)
