"""Trading outside the calendar's sessions, which shows that the calendar is wrong about a day."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd

from backfill_assets.market.bars.source_rows import CLOSING_SECONDS
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid

REGULAR_HOURS_ONLY_SECONDS = 300  # 5m has regular hours only, 1m extended hours (docs/vendor.md §2.7)


def find_days_traded_outside(rows: pd.DataFrame, grid: SlotGrid, source: Interval) -> dict[date, int]:
    """Days (UTC) with volume outside every session, and how many symbols show it.

    ``rows`` is a row table (see ``source_rows``). Empty for 1m, which has extended hours anyway.
    """
    if source.seconds < REGULAR_HOURS_ONLY_SECONDS:
        return {}
    stamps = rows["timestamp"].to_numpy(np.int64)
    opens = grid.session_opens
    closes = grid.session_closes
    session = np.searchsorted(opens, stamps, side="right") - 1
    outside_sessions = (
        (session >= 0) & (stamps >= closes[session] + CLOSING_SECONDS) & (rows["volume"].to_numpy(float) > 0)
    )
    pairs = np.unique(
        np.column_stack([stamps[outside_sessions] // 86_400, rows["symbol_id"].to_numpy(np.int64)[outside_sessions]]),
        axis=0,
    )
    days, counts = np.unique(pairs[:, 0], return_counts=True)
    dates = [datetime.fromtimestamp(day * 86_400, UTC).date() for day in days.tolist()]
    return dict(zip(dates, counts.tolist(), strict=True))
