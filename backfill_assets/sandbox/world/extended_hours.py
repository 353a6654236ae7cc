"""1m rows outside regular hours: premarket, after hours and the closing auction.

The auction's volume is in the 16:00 row, sometimes in the 16:03 or 16:04 row (docs/vendor.md §2.9).
"""

import numpy as np

from backfill_assets.market.arrays import Bools
from backfill_assets.sandbox.world.data_quirks import DrawContext
from backfill_assets.sandbox.world.intraday_columns import (
    NULL_VOLUME,
    IntradayColumns,
    concatenate_rows,
    make_flat_row,
    sort_by_timestamp,
)
from backfill_assets.sandbox.world.minute_paths import MINUTE, OfficialBar, draw_extended_minutes
from backfill_assets.sandbox.world.random_draws import draw_between
from backfill_assets.sandbox.world.session_index import AFTER_HOURS_SECONDS, PREMARKET_SECONDS

REGULAR_VOLUME_SHARE = 0.97  # of the official volume, auction included
_PREMARKET_VOLUME_SHARE, _AFTER_HOURS_VOLUME_SHARE = 0.015, 0.01
_AUCTION_VOLUME_SHARES = (0.08, 0.35)


def draw_auction_volume(context: DrawContext, official_bar: OfficialBar) -> int:
    """Draw the number of shares traded in the closing auction; none after a halt that lasts until the close."""
    if context.is_halted_at_close:
        return 0
    return int(
        official_bar.volume
        * draw_between(_AUCTION_VOLUME_SHARES, context.seed, "auction", context.root, context.day_ordinal)
    )


def build_premarket(context: DrawContext, official_bar: OfficialBar) -> IntradayColumns:
    """Build the rows from 04:00 to 09:29, with gaps, and null-volume quote rows in some of the gaps."""
    rng = context.make_generator("premarket")
    start = int(context.session.open.timestamp()) - PREMARKET_SECONDS
    first = round(official_bar.open * (1 + 0.002 * rng.standard_normal()), 2)
    volume = int(official_bar.volume * _PREMARKET_VOLUME_SHARE)
    rows = draw_extended_minutes(rng, start, PREMARKET_SECONDS // MINUTE, (first, official_bar.open), volume)
    if not context.quirks.extended_hours_gaps:
        return rows
    traded = _draw_traded_minutes(rng, official_bar, len(rows))
    quoted = ~traded & (rng.random(len(rows)) < context.quirks.premarket_quote_rows)
    rows.volumes[quoted] = NULL_VOLUME
    return rows.select(traded | quoted)


def build_after_hours(context: DrawContext, official_bar: OfficialBar) -> IntradayColumns:
    """Build the rows of four hours from the close; the auction is in the first minutes."""
    rng = context.make_generator("after hours")
    start = int(context.session.close.timestamp())
    last = round(official_bar.close * (1 + 0.001 * rng.standard_normal()), 2)
    volume = int(official_bar.volume * _AFTER_HOURS_VOLUME_SHARE)
    rows = draw_extended_minutes(rng, start, AFTER_HOURS_SECONDS // MINUTE, (official_bar.close, last), volume)
    auction_index = int(rng.integers(3, 5)) if context.is_affected("late auction", context.quirks.late_auction) else 0
    rows.prices[:, auction_index] = _include_auction_price(rows, auction_index, official_bar.close)
    rows.volumes[auction_index] += draw_auction_volume(context, official_bar)
    if context.quirks.extended_hours_gaps:
        traded = _draw_traded_minutes(rng, official_bar, len(rows))
        traded[auction_index] = True
        rows = rows.select(traded)
    return _add_trailing_row(context, rows, start + AFTER_HOURS_SECONDS - MINUTE)


def _include_auction_price(rows: IntradayColumns, index: int, price: float) -> list[float]:
    _, high, low, _ = rows.prices[:, index]
    return [price, max(float(high), price), min(float(low), price), price]


def _draw_traded_minutes(rng: np.random.Generator, official_bar: OfficialBar, minutes: int) -> Bools:
    share = min(0.98, max(0.03, (np.log10(official_bar.volume + 1.0) - 4.0) / 3.6))
    traded: Bools = rng.random(minutes) < share
    return traded


def _add_trailing_row(context: DrawContext, rows: IntradayColumns, timestamp: int) -> IntradayColumns:
    if not context.is_affected("trailing", context.quirks.trailing_row):
        return rows
    other_rows = rows.select(rows.timestamps != timestamp)
    return sort_by_timestamp(concatenate_rows(other_rows, make_flat_row(timestamp, float(other_rows.prices[3, -1]))))
