"""Market time: seconds while an exchange is open. From Friday's close to Monday's open none pass.

Pure. Whether a bar should be there by now is decided in ``market.gaps``.
"""

from datetime import datetime, timedelta

import numpy as np

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import list_overlapping_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.timestamps import to_epoch_seconds
from backfill_assets.market.exchanges.profile import MarketProfile

LONGEST = timedelta(days=366)  # beyond this a longer silence says nothing more, and calendars of many years are slow


def count_market_seconds(market: MarketProfile, interval: Interval, after: datetime, until: datetime) -> int:
    """Seconds of market time between two moments; 0 if ``until`` is not later. Only the last 366 days are counted.

    Breaks do not count, nor does a session's time after an early close.

    Raises:
        SessionsUnknown: the sessions between the moments cannot be told.
    """
    after = max(after, until - LONGEST)
    if until <= after:
        return 0
    grid = build_slot_grid(list_overlapping_sessions(market, after, until), interval)
    begins = np.maximum(grid.starts, to_epoch_seconds(after))
    ends = np.minimum(grid.ends, to_epoch_seconds(until))
    return int(np.maximum(0, ends - begins).sum())
