"""Provisional bars from a session's live samples: differences of what the vendor gives for the day so far.

Which readings are samples is decided in ``samples``, which of them stands for which edge in ``edges``.
A sample is taken for the state at its stamp; whether the minute that begins there is in it is [U].
"""

import numpy as np
import pandas as pd

from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.live.sample_alignment import SampleTrack, align_to_edges, build_track

EXACT_FIELDS = ("open", "high", "low", "close", "volume")
PROVISIONAL_COLUMNS = (
    *("symbol_id", "ordinal", "timestamp", "open", "high", "low", "close", "volume", "samples", "since", "until"),
    *(f"{name}_exact" for name in EXACT_FIELDS),
)


def build_provisional_bars(samples: pd.DataFrame, grid: SlotGrid) -> pd.DataFrame:
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
    return bars.loc[bars["volume"] >= 0].reset_index(drop=True)  # a total that fell was corrected: no bar from it


def _find_extremes(close: Floats, first_row: Int64, last_row: Int64) -> tuple[Floats, Floats]:
    """The highest and lowest of the prices from each first row to its last."""
    bounds = np.column_stack([first_row, last_row + 1]).ravel()
    padded = np.append(close, close[-1])
    return np.maximum.reduceat(padded, bounds)[::2], np.minimum.reduceat(padded, bounds)[::2]


def _find_exact_fields(
    bars: pd.DataFrame, track: SampleTrack, grid: SlotGrid, symbol_index: Int64, starts_at_open: Bools
) -> dict[str, Bools]:
    """Which fields are the live series' own for exactly this slot.

    The open of the session's first slot is the day's; close and volume are exact where the samples are stamped
    at the very edges; high and low where the day's moved between two samples within the slot and not after them.
    """
    ordinal = bars["ordinal"].to_numpy(np.int64)
    starts, ends = grid.starts[ordinal], grid.ends[ordinal]
    first_row = track.find_first_at_or_after(symbol_index, starts)
    last_row = track.find_last_at_or_before(
        symbol_index, ends - (ends == grid.ends[-1])
    )  # what is stamped at the close is after it
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
