"""Volumes that are the session's running total instead of a row's own.

AAPL had 6 to 12 such 5m rows a session in May 2026, 25 M against a median of 0.3 M, with right prices
(EODHD.md §2, "Corrupt 5m volume").
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backfill_assets.market.slots import SlotGrid

Bools = NDArray[np.bool_]
SETTLING_SECONDS = 1800  # the opening is too uneven to tell a total from a burst
STEADY = 3.0  # 75 % quantile over median; above it a session is too erratic to judge
LARGE = 12.0  # medians
TOTAL = (0.9, 1.3)  # a running total over what the rows before it add up to
AT_LEAST = 2  # such rows in one session; a lone one is more likely a block trade


def cumulative_volumes(table: pd.DataFrame, good: Bools, grid: SlotGrid) -> Bools:
    """Which of the good rows carry a running total, by ticker and session (see ``rows.SortedRows``).

    A thin ticker's block trade must not be taken for one: only steady sessions are judged, and only
    where several rows look so.
    """
    groups = [table["ticker"].to_numpy(), table["session"].to_numpy()]
    volume = pd.Series(np.where(good, table["volume"].to_numpy(float), np.nan))
    grouped = volume.groupby(groups, sort=False)
    median = grouped.transform("median").to_numpy()
    candidate = good & (volume.to_numpy() > LARGE * median) & (median > 0) & _is_settled(table, grid)
    if not candidate.any():
        return candidate
    steady = grouped.transform(lambda v: v.quantile(0.75)).to_numpy() <= STEADY * median
    usual = pd.Series(np.where(candidate, median, np.where(good, volume, 0.0)))
    before = usual.groupby(groups, sort=False).cumsum().to_numpy() - usual.to_numpy()
    alike = candidate & steady & (volume >= TOTAL[0] * before).to_numpy() & (volume <= TOTAL[1] * before).to_numpy()
    several: Bools = pd.Series(alike).groupby(groups, sort=False).transform("sum").to_numpy() >= AT_LEAST
    return alike & several


def _is_settled(table: pd.DataFrame, grid: SlotGrid) -> Bools:
    session = table["session"].to_numpy(np.int64)
    opens = grid.starts[grid.first_of[:-1]]
    settled: Bools = (session >= 0) & (table["timestamp"].to_numpy(np.int64) >= opens[session] + SETTLING_SECONDS)
    return settled
