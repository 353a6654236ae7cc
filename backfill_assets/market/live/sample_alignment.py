"""Which live sample stands for which edge of a slot. ``provisional_bars`` builds bars from them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.bars.source_rows import PRICES
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.live.sampling_schedule import EDGE_TOLERANCE_DIVISOR
from backfill_assets.market.price_digits import PRICE_DECIMALS

if TYPE_CHECKING:  # slow to load, and only what samples live quotes needs it
    import pandas as pd


@dataclass(frozen=True, eq=False)
class SampleTrack:
    """The samples of all symbols, one symbol after the other; each symbol's begin with its state at the open.

    Arrays have the shape (rows,), but for ``symbol_ids``.

    Attributes:
        symbol_ids: the symbols, ascending, shape (symbols,).
        symbol_index: each row's position in ``symbol_ids``.
        stamp: epoch seconds.
        high: of the day so far; −∞ at the open.
        low: of the day so far; ∞ at the open.
        close: last price; at the open the day's first.
        volume: shares of the day so far.
        at_open: whether the row is the state at the open, which needs no sample.
        key: symbol_index × key_step + stamp, ascending.
        key_step: more than any stamp or moment looked up.
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
        """The first row of each symbol stamped at or after ``moment`` (epoch seconds).

        Without one, the first row of the next symbol.
        """
        return np.searchsorted(self.key, symbol_index * self.key_step + moment, side="left").astype(np.int64)

    def find_last_at_or_before(self, symbol_index: Int64, moment: Int64) -> Int64:
        """The last row of each symbol stamped at or before ``moment`` (epoch seconds)."""
        return np.searchsorted(self.key, symbol_index * self.key_step + moment, side="right").astype(np.int64) - 1

    def has_next(self, row: Int64) -> Bools:
        """Whether the row after each belongs to the same symbol."""
        next_row = np.minimum(row + 1, len(self.symbol_index) - 1)
        is_same_symbol: Bools = (next_row > row) & (self.symbol_index[next_row] == self.symbol_index[row])
        return is_same_symbol


def build_track(samples: "pd.DataFrame", opens_at: int) -> SampleTrack:
    """Arrange a session's sample table with at least one sample; ``opens_at`` is the open in epoch seconds."""
    import pandas as pd

    rounded = samples.assign(**{name: samples[name].round(PRICE_DECIMALS) for name in PRICES})
    newest_samples = rounded.sort_values(["symbol_id", "stamp"]).drop_duplicates("symbol_id", keep="last")
    open_states = newest_samples.assign(
        stamp=opens_at, high=-np.inf, low=np.inf, close=newest_samples["open"], volume=0.0
    )
    table = pd.concat([open_states, rounded], ignore_index=True).sort_values(["symbol_id", "stamp"])
    symbol_ids, symbol_index = np.unique(table["symbol_id"].to_numpy(np.int64), return_inverse=True)
    stamp = table["stamp"].to_numpy(np.int64)
    key_step = 2 * int(stamp.max()) + 1
    high, low, close, volume = (table[name].to_numpy(float) for name in ("high", "low", "close", "volume"))
    at_open = np.diff(symbol_index, prepend=-1) != 0
    return SampleTrack(
        symbol_ids, symbol_index, stamp, high, low, close, volume, at_open, symbol_index * key_step + stamp, key_step
    )


@dataclass(frozen=True, eq=False)
class EdgeRows:
    """The row of a ``SampleTrack`` that stands for each edge, −1 for none; shape (symbols, slots + 1).

    At the close, ``price_row`` may be a later row than ``volume_row``.
    """

    volume_row: Int64
    price_row: Int64


def align_to_edges(track: SampleTrack, grid: SlotGrid) -> EdgeRows:
    """Choose the rows for the edges of the one session of ``grid``.

    The tolerance is a sixth of a slot. The first choice is the last sample at or before the edge, if at most half a
    tolerance away. Otherwise, if a later sample exists, it is the first sample after the edge, else the last one before
    it, if at most a tolerance away. For the close it is always a sample *before* it: one stamped at the close may
    contain the closing auction, and later ones do. Prices may still come from a sample stamped exactly at the close,
    because the auction prints there at nearly the last price.
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
