"""Build provisional bars from a session's live samples, as differences of the day's values so far.

Which quotes are samples is decided in ``samples``, which sample stands for which edge of a slot in
``sample_alignment``. A sample is taken as the state at its stamp; whether it covers the minute after it is unknown
(docs/vendor.md §6.6).
"""

from typing import TYPE_CHECKING

import numpy as np

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.live.sample_alignment import SampleTrack, align_to_edges, build_track

if TYPE_CHECKING:  # slow to load, and only what samples live quotes needs it
    import pandas as pd

EXACT_FIELDS = ("open", "high", "low", "close", "volume")
PROVISIONAL_COLUMNS = (
    *("symbol_id", "ordinal", "timestamp", "open", "high", "low", "close", "volume", "samples", "since", "until"),
    *(f"{name}_exact" for name in EXACT_FIELDS),
)


def build_provisional_bars(samples: "pd.DataFrame", grid: SlotGrid) -> "pd.DataFrame":
    """Build a bar for every slot whose two edges have a sample.

    An edge without a sample leaves the slots on both sides of it without a bar. Open and close are the last prices at
    the edges, the volume is the difference of the volumes there. What traded between an edge and its sample counts for
    the neighbouring slot, so the volumes of adjacent bars add up exactly. High and low are the day's if those moved
    between the edges, else the extremes of the samples' prices.

    Args:
        samples: a sample table (see ``samples``) of one session; stamps unique per symbol, after the open.
        grid: the slots of that one session.

    Returns:
        One row per slot, ordered by symbol_id and ordinal: ``symbol_id``, ``ordinal`` (of the grid), ``timestamp``
        (epoch seconds UTC of the slot's open), ``open high low close``, ``volume``, ``samples`` (how many it was
        built from), ``since`` and ``until`` (stamps of the samples whose volumes were subtracted) and ``open_exact`` …
        ``volume_exact`` (see ``_find_exact_fields``). A row with a volume of 0 means that nothing traded: it is not a
        bar.
    """
    import pandas as pd

    if samples.empty:
        return pd.DataFrame(columns=list(PROVISIONAL_COLUMNS))
    track = build_track(samples, int(grid.starts[0]))
    edges = align_to_edges(track, grid)
    symbol_index, ordinal = np.nonzero((edges.volume_row[:, :-1] >= 0) & (edges.volume_row[:, 1:] >= 0))
    first_row, last_row, price_row = (
        edges.volume_row[symbol_index, ordinal],
        edges.volume_row[symbol_index, ordinal + 1],
        edges.price_row[symbol_index, ordinal + 1],
    )
    highest, lowest = _find_extremes(track.close, first_row, price_row)
    bars = pd.DataFrame(
        {
            "symbol_id": track.symbol_ids[symbol_index],
            "ordinal": ordinal,
            "timestamp": grid.starts[ordinal],
            "open": track.close[first_row],
            "high": np.where(
                track.high[price_row] > track.high[first_row], np.fmax(track.high[price_row], highest), highest
            ),
            "low": np.where(track.low[price_row] < track.low[first_row], np.fmin(track.low[price_row], lowest), lowest),
            "close": track.close[price_row],
            "volume": (track.volume[last_row] - track.volume[first_row]).astype(np.int64),
            "samples": price_row - first_row + ~track.at_open[first_row],
            "since": track.stamp[first_row],
            "until": track.stamp[last_row],
        }
    )
    bars = bars.assign(**_find_exact_fields(bars, track, grid, symbol_index, track.at_open[first_row]))
    return bars.loc[bars["volume"] >= 0].reset_index(drop=True)  # the vendor corrected a volume downwards: no bar


def _find_extremes(close: Floats, first_row: Int64, last_row: Int64) -> tuple[Floats, Floats]:
    """The highest and lowest of the prices from each first row to each last row, both inclusive."""
    bounds = np.column_stack([first_row, last_row + 1]).ravel()
    padded = np.append(close, close[-1])
    return np.maximum.reduceat(padded, bounds)[::2], np.minimum.reduceat(padded, bounds)[::2]


def _find_exact_fields(
    bars: "pd.DataFrame", track: SampleTrack, grid: SlotGrid, symbol_index: Int64, starts_at_open: Bools
) -> dict[str, Bools]:
    """Which fields are exactly what the live series has for the slot, not an approximation.

    The open of the session's first slot is the day's. Close and volume are exact if the samples are stamped at the
    edges themselves. High and low are exact if the day's moved between two samples within the slot, and not after them.
    """
    ordinal = bars["ordinal"].to_numpy(np.int64)
    starts, ends = grid.starts[ordinal], grid.ends[ordinal]
    first_row = track.find_first_at_or_after(symbol_index, starts)
    # A sample stamped at the session's close belongs to the time after it.
    last_row = track.find_last_at_or_before(symbol_index, ends - (ends == grid.ends[-1]))
    next_row = np.minimum(last_row + 1, len(track.symbol_index) - 1)

    def is_extreme_inside(day_extreme: Floats, bar_extreme: Floats) -> Bools:
        unchanged_after = (track.stamp[last_row] == ends) | (
            track.has_next(last_row) & (day_extreme[next_row] == day_extreme[last_row])
        )
        is_inside: Bools = (
            (last_row > first_row)
            & (day_extreme[last_row] > day_extreme[np.minimum(first_row, last_row)])
            & unchanged_after
            & (bar_extreme == day_extreme[last_row])
        )
        return is_inside

    at_start, at_end = bars["since"].to_numpy() == starts, bars["until"].to_numpy() == ends
    return {
        "open_exact": starts_at_open,
        "high_exact": is_extreme_inside(track.high, bars["high"].to_numpy(float)),
        "low_exact": is_extreme_inside(-track.low, -bars["low"].to_numpy(float)),
        "close_exact": at_end,
        "volume_exact": at_start & at_end,
    }
