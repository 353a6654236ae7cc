"""Provisional bars from a session's live samples: differences of what the vendor gives for the day so far.

Which readings are samples is decided in ``samples``, which of them stands for which edge in ``edges``.
A sample is taken for the state at its stamp; whether the minute that begins there is in it is [U].
"""

import numpy as np
import pandas as pd

from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.live.sample_alignment import Bools, Floats, Int64, Track, edges_of, track_of

EXACT = ("open", "high", "low", "close", "volume")
COLUMNS = (
    *("ticker", "ordinal", "timestamp", "open", "high", "low", "close", "volume", "samples", "since", "until"),
    *(f"{name}_exact" for name in EXACT),
)


def provisional_bars(samples: pd.DataFrame, grid: SlotGrid) -> pd.DataFrame:
    """What a session's samples say of its slots.

    A slot is known if a sample stands for each of its edges; a missed one leaves both slots at its edge
    unknown. Open and close are the last prices at the edges, the volume is the difference between them, and
    what was traded between an edge and its sample counts to the neighbouring slot, so that the volumes of
    adjacent bars add up exactly. High and low are the day's where those moved between the edges, else the
    extremes of the samples' prices.

    Args:
        samples: a sample table (see ``samples``) of one session; stamps unique per ticker, after the open.
        grid: the slots of that one session.

    Returns:
        One row a known slot, by ticker and slot: ``ticker``, ``ordinal`` (of the grid), ``timestamp`` (epoch
        seconds UTC of the slot's open), ``open high low close``, ``volume``, ``samples`` (how many made
        it), ``since`` and ``until`` (stamps of the samples that its volume lies between) and ``open_exact`` …
        ``volume_exact`` (see ``_exact``). With a volume of 0 nothing traded, and the row is no bar.
    """
    if samples.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    track = track_of(samples, int(grid.starts[0]))
    edges = edges_of(track, grid)
    owner, ordinal = np.nonzero((edges.volume[:, :-1] >= 0) & (edges.volume[:, 1:] >= 0))
    first, last, price = edges.volume[owner, ordinal], edges.volume[owner, ordinal + 1], edges.price[owner, ordinal + 1]
    highest, lowest = _extremes(track.close, first, price)
    bars = pd.DataFrame(
        {
            "ticker": track.tickers[owner],
            "ordinal": ordinal,
            "timestamp": grid.starts[ordinal],
            "open": track.close[first],
            "high": np.where(track.high[price] > track.high[first], np.fmax(track.high[price], highest), highest),
            "low": np.where(track.low[price] < track.low[first], np.fmin(track.low[price], lowest), lowest),
            "close": track.close[price],
            "volume": (track.volume[last] - track.volume[first]).astype(np.int64),
            "samples": price - first + ~track.at_open[first],
            "since": track.stamp[first],
            "until": track.stamp[last],
        }
    )
    bars = bars.assign(**_exact(bars, track, grid, owner, track.at_open[first]))
    return bars.loc[bars["volume"] >= 0].reset_index(drop=True)  # a total that fell was corrected: no bar from it


def _extremes(close: Floats, first: Int64, last: Int64) -> tuple[Floats, Floats]:
    """The highest and lowest of the prices from each first row to its last."""
    bounds = np.column_stack([first, last + 1]).ravel()
    padded = np.append(close, close[-1])
    return np.maximum.reduceat(padded, bounds)[::2], np.minimum.reduceat(padded, bounds)[::2]


def _exact(bars: pd.DataFrame, track: Track, grid: SlotGrid, owner: Int64, from_open: Bools) -> dict[str, Bools]:
    """Which fields are the live series' own for exactly this slot.

    The open of the session's first slot is the day's; close and volume are exact where the samples are stamped
    at the very edges; high and low where the day's moved between two samples within the slot and not after them.
    """
    ordinal = bars["ordinal"].to_numpy(np.int64)
    starts, ends = grid.starts[ordinal], grid.ends[ordinal]
    first = track.first_from(owner, starts)
    last = track.last_until(owner, ends - (ends == grid.ends[-1]))  # what is stamped at the close is after it
    after = np.minimum(last + 1, len(track.owner) - 1)

    def moved_inside(days: Floats, value: Floats) -> Bools:
        quiet_since = (track.stamp[last] == ends) | (track.follows(last) & (days[after] == days[last]))
        inside: Bools = (
            (last > first) & (days[last] > days[np.minimum(first, last)]) & quiet_since & (value == days[last])
        )
        return inside

    at_start, at_end = bars["since"].to_numpy() == starts, bars["until"].to_numpy() == ends
    return {
        "open_exact": from_open,
        "high_exact": moved_inside(track.high, bars["high"].to_numpy(float)),
        "low_exact": moved_inside(-track.low, -bars["low"].to_numpy(float)),
        "close_exact": at_end,
        "volume_exact": at_start & at_end,
    }
