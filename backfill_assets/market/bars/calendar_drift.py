"""Trading outside the calendar's sessions, which shows that the calendar is wrong about a day."""

from collections import Counter
from datetime import date

import numpy as np
import pandas as pd

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid

REGULAR_HOURS_ONLY_SECONDS = 300  # 5m has regular hours only, 1m extended hours (docs/vendor.md §2.7)


def find_days_traded_outside(rows: pd.DataFrame, grid: SlotGrid, source: Interval) -> dict[date, int]:
    """Days (of the exchange) with volume outside every session or in a break, and how many symbols show it.

    ``rows`` is a row table (see ``source_rows``). Empty for 1m, which has extended hours anyway.
    """
    if source.seconds < REGULAR_HOURS_ONLY_SECONDS:
        return {}
    stamps = rows["timestamp"].to_numpy(np.int64)
    market = grid.sessions[0].market
    session = np.searchsorted(grid.session_opens, stamps, side="right") - 1
    is_after_close = (session >= 0) & (stamps >= grid.session_closes[session] + market.closing_seconds)
    is_outside = is_after_close | grid.is_paused(stamps, source.seconds)
    outside = rows.loc[is_outside & (rows["volume"].to_numpy(float) > 0), ["timestamp", "symbol_id"]]
    if outside.empty:
        return {}
    # Not the date in UTC: Sydney opens on the evening before
    clock = pd.DatetimeIndex(pd.to_datetime(outside["timestamp"], unit="s", utc=True)).tz_convert(market.zone)
    pairs = set(zip(clock.date.tolist(), outside["symbol_id"].tolist(), strict=True))
    return dict(sorted(Counter(day for day, _ in pairs).items()))
