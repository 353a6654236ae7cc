"""Volumes that are the session's running total instead of a row's own.

AAPL had 6 to 12 such 5m rows a session in May 2026, 25 M against a median of 0.3 M, with right prices
(EODHD.md §2, "Corrupt 5m volume").
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backfill_assets.market.calendar.slots import SlotGrid

Bools = NDArray[np.bool_]
SETTLING_SECONDS = 1800  # the opening is too uneven to tell a total from a burst by itself
STEADY = 3.0  # 75 % quantile over median; above it a session is too erratic to judge
LARGE = 12.0  # medians; a session without such a row is not looked at
TOTAL, SLACK = 1.02, 8.0  # a running total exceeds what came before by its own volume, some medians
AT_LEAST = 2  # such rows after the opening; a lone one is more likely a block trade


def cumulative_volumes(table: pd.DataFrame, good: Bools, grid: SlotGrid) -> Bools:
    """Which of the good rows carry a running total, by ticker and session (see ``rows.SortedRows``).

    A thin ticker's block trade must not be taken for one: only steady sessions are judged, and only
    where several rows look so.
    """
    rows = np.flatnonzero(good)
    volume = table["volume"].to_numpy(float)[rows]
    groups = [table["ticker"].to_numpy()[rows], table["session"].to_numpy()[rows]]
    grouped = pd.Series(volume).groupby(groups, sort=False)
    median = grouped.transform("median").to_numpy()
    settled = _is_settled(table, grid)[rows]
    judged = pd.Series((volume > LARGE * median) & (median > 0) & settled).groupby(groups, sort=False).transform("any")
    result = np.zeros(len(table), bool)
    chosen = np.flatnonzero(judged.to_numpy())
    if not len(chosen):
        return result
    ticker, session_of = (group[chosen] for group in groups)
    changes = (ticker[1:] != ticker[:-1]) | (session_of[1:] != session_of[:-1])
    starts = np.flatnonzero(np.r_[True, changes]).tolist()
    for start, end in zip(starts, [*starts[1:], len(chosen)], strict=True):
        session = chosen[start:end]
        result[rows[session]] = _totals(volume[session], settled[session])
    return result


def _totals(volume: NDArray[np.float64], settled: Bools) -> Bools:
    """Follow one session's running total; rows in order of time."""
    hits = np.zeros(len(volume), bool)
    median = float(np.median(volume))
    if np.quantile(volume, 0.75) > STEADY * median:
        return hits
    total = volume[0]
    for at in range(1, len(volume)):
        large = not settled[at] or 6 * median < volume[at] <= TOTAL * total + SLACK * median
        hits[at] = volume[at] >= total and large
        total = volume[at] if hits[at] else total + volume[at]
    return hits if (hits & settled).sum() >= AT_LEAST else np.zeros(len(volume), bool)


def _is_settled(table: pd.DataFrame, grid: SlotGrid) -> Bools:
    session = table["session"].to_numpy(np.int64)
    opens = grid.starts[grid.first_of[:-1]]
    settled: Bools = (session >= 0) & (table["timestamp"].to_numpy(np.int64) >= opens[session] + SETTLING_SECONDS)
    return settled
