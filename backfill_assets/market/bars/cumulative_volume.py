"""Find rows whose volume is the session's running total instead of the row's own.

In May 2026 AAPL had 6 to 12 such 5m rows a session: 25 M shares against a median of 0.3 M, with correct prices
(docs/vendor.md §2.14).
"""

import numpy as np
import pandas as pd

from backfill_assets.market.arrays import Bools, Floats
from backfill_assets.market.calendar.slots import SlotGrid

OPENING_SECONDS = 1800  # in the opening, volumes are too uneven to tell a running total from a burst
MAX_QUARTILE_OVER_MEDIAN = 3.0  # 75 % quantile over median; above it the volumes of a session vary too much
LARGE_VOLUME_MEDIANS = 12.0  # in medians; a session without such a row is skipped
# A running total exceeds the sum of the rows before it by its own volume, so by a few medians.
TOTAL_TOLERANCE, TOTAL_SLACK_MEDIANS = 1.02, 8.0
MIN_RUNNING_TOTALS = 2  # such rows after the opening; a single one is more likely a block trade


def find_cumulative_volumes(table: pd.DataFrame, usable: Bools, grid: SlotGrid) -> Bools:
    """Which of the usable rows carry a running total, shape (rows,).

    ``table`` and ``usable`` are those of ``source_rows.ValidatedRows``. A block trade of a thin symbol must not be
    taken for a running total: only sessions with steady volumes are examined, and several rows must look so.
    """
    rows = np.flatnonzero(usable)
    volume = table["volume"].to_numpy(float)[rows]
    groups = [table["symbol_id"].to_numpy()[rows], table["session"].to_numpy()[rows]]
    grouped = pd.Series(volume).groupby(groups, sort=False)
    median = grouped.transform("median").to_numpy()
    after_opening = _is_after_opening(table, grid)[rows]
    is_candidate_session = (
        pd.Series((volume > LARGE_VOLUME_MEDIANS * median) & (median > 0) & after_opening)
        .groupby(groups, sort=False)
        .transform("any")
    )
    result = np.zeros(len(table), bool)
    candidates = np.flatnonzero(is_candidate_session.to_numpy())
    if not len(candidates):
        return result
    symbol_id, session_index = (group[candidates] for group in groups)
    changes = (symbol_id[1:] != symbol_id[:-1]) | (session_index[1:] != session_index[:-1])
    starts = np.flatnonzero(np.r_[True, changes]).tolist()
    for start, end in zip(starts, [*starts[1:], len(candidates)], strict=True):
        session = candidates[start:end]
        result[rows[session]] = _find_running_totals(volume[session], after_opening[session])
    return result


def _find_running_totals(volume: Floats, after_opening: Bools) -> Bools:
    """Follow one session's running total; ``volume`` in order of time."""
    is_running_total = np.zeros(len(volume), bool)
    median = float(np.median(volume))
    if np.quantile(volume, 0.75) > MAX_QUARTILE_OVER_MEDIAN * median:
        return is_running_total
    running_total = volume[0]
    for position in range(1, len(volume)):
        is_large = (
            not after_opening[position]
            or 6 * median < volume[position] <= TOTAL_TOLERANCE * running_total + TOTAL_SLACK_MEDIANS * median
        )
        is_running_total[position] = volume[position] >= running_total and is_large
        running_total = volume[position] if is_running_total[position] else running_total + volume[position]
    return (
        is_running_total
        if (is_running_total & after_opening).sum() >= MIN_RUNNING_TOTALS
        else np.zeros(len(volume), bool)
    )


def _is_after_opening(table: pd.DataFrame, grid: SlotGrid) -> Bools:
    session = table["session"].to_numpy(np.int64)
    opens = grid.session_opens
    after_opening: Bools = (session >= 0) & (table["timestamp"].to_numpy(np.int64) >= opens[session] + OPENING_SECONDS)
    return after_opening
