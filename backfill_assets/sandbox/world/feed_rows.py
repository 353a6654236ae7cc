"""Rows that an exchange's feed has beside the regular ones: those without a volume, and the closing auction's.

Whether there are any is in ``sandbox.exchange_feed``.
"""

import numpy as np

from backfill_assets.market.arrays import Bools
from backfill_assets.sandbox.exchange_feed import AuctionRows, BreakRows, ExchangeFeed, NullVolumeRows
from backfill_assets.sandbox.world.data_quirks import DrawContext
from backfill_assets.sandbox.world.intraday_columns import NULL_VOLUME, IntradayColumns, make_flat_row
from backfill_assets.sandbox.world.minute_paths import FIVE_MINUTES, MINUTE, truncate_to_float32
from backfill_assets.sandbox.world.session_minutes import list_break_stamps

_BREAK_VOLUME = 100  # shares


def hide_volumes(context: DrawContext, feed: ExchangeFeed, rows: IntradayColumns) -> IntradayColumns:
    """The 5m rows of a session as they are published: some without a volume."""
    if feed.null_volume is NullVolumeRows.NONE or len(rows) == 0:
        return rows
    volumes = np.where(_draw_hidden(context, feed, rows), NULL_VOLUME, rows.volumes)
    return IntradayColumns(rows.timestamps, rows.prices, volumes)


def keep_traded(context: DrawContext, feed: ExchangeFeed, rows: IntradayColumns) -> IntradayColumns:
    """The 5m rows of a session that bars are made of: quotes are none of them, and a trade's hidden volume counts 0."""
    if feed.null_volume is NullVolumeRows.NONE or len(rows) == 0:
        return rows
    hidden = _draw_hidden(context, feed, rows)
    if feed.null_volume is NullVolumeRows.QUOTES:
        return rows.select(~hidden)
    return IntradayColumns(rows.timestamps, rows.prices, np.where(hidden, 0, rows.volumes))


def make_auction_row(
    context: DrawContext, feed: ExchangeFeed, official_close: float, volume: int
) -> IntradayColumns | None:
    """The flat row of the closing auction; None where the feed has none."""
    if feed.auction is AuctionRows.NONE:
        return None
    timestamp = int(context.session.close.timestamp()) + MINUTE * feed.auction_minutes
    price = float(truncate_to_float32(np.array([official_close]))[0])
    return make_flat_row(timestamp, price, volume if feed.auction is AuctionRows.WITH_VOLUME else NULL_VOLUME)


def make_break_rows(
    context: DrawContext, feed: ExchangeFeed, rows: IntradayColumns, interval: str
) -> list[IntradayColumns]:
    """The flat rows of the session's breaks, each at the last price before it; none where the feed has none."""
    if feed.break_rows is BreakRows.NONE:
        return []
    volume = _BREAK_VOLUME if feed.break_rows is BreakRows.WITH_VOLUME else NULL_VOLUME
    seconds = MINUTE if interval == "1m" else FIVE_MINUTES
    priced = rows.select(~np.isnan(rows.prices[3]))
    stamps = list_break_stamps(context.session, seconds)
    before = np.searchsorted(priced.timestamps, stamps) - 1
    return [
        make_flat_row(stamp, float(priced.prices[3, at]), volume)
        for stamp, at in zip(stamps.tolist(), before.tolist(), strict=True)
        if at >= 0
    ]


def _draw_hidden(context: DrawContext, feed: ExchangeFeed, rows: IntradayColumns) -> Bools:
    """Draw by the stamp of a row, so that a missing row changes no other."""
    slots = (rows.timestamps - int(context.session.open.timestamp())) // (5 * MINUTE)
    drawn = context.make_generator("null volumes").random(int(slots.max()) + 1)
    hidden: Bools = drawn[slots] < feed.null_volume_share
    return hidden
