"""Trading outside the calendar's sessions, which shows that the calendar is wrong about a day."""

from collections import Counter
from datetime import date, datetime

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.columns import Columns
from backfill_assets.market.exchanges.profile import VolumeKind

REGULAR_HOURS_ONLY_SECONDS = 300  # 5m has regular hours only, 1m extended hours (docs/vendor.md §2.7)


def find_days_traded_outside(rows: Columns, grid: SlotGrid, source: Interval) -> dict[date, int]:
    """Days (of the exchange) with volume outside every session or in a break, and how many symbols show it.

    ``rows`` is a row table (see ``source_rows``). Empty for 1m, which has extended hours anyway, for a market that
    never closes, and where volumes mean nothing: rows of currencies go on over weekends and holidays.
    """
    market = grid.sessions[0].market
    has_rows_always = market.is_around_the_clock or market.volume_kind is VolumeKind.NONE
    if source.seconds < REGULAR_HOURS_ONLY_SECONDS or has_rows_always:
        return {}
    stamps = rows["timestamp"]
    session = np.searchsorted(grid.session_opens, stamps, side="right") - 1
    is_after_close = (session >= 0) & (stamps >= grid.session_closes[session] + market.closing_seconds)
    is_outside = is_after_close | _is_within_break(stamps, grid, source, market.closing_seconds)
    outside = rows.take(is_outside & (rows["volume"] > 0))
    pairs = {
        (datetime.fromtimestamp(stamp, market.zone).date(), symbol_id)  # in UTC, Sydney opens on the evening before
        for stamp, symbol_id in zip(outside["timestamp"].tolist(), outside["symbol_id"].tolist(), strict=True)
    }
    return dict(sorted(Counter(day for day, _ in pairs).items()))


def _is_within_break(stamps: Int64, grid: SlotGrid, source: Interval, closing_seconds: int) -> Bools:
    """Rows in a break, but for its first minutes: a part of a day may close with an auction, as the day does."""
    begins_inside = grid.is_paused(stamps - closing_seconds, source.seconds)
    return grid.is_paused(stamps, source.seconds) & begins_inside
