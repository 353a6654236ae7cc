"""Delayed quotes at a given time: a series of its own, neither 1m nor 5m (docs/vendor.md §3, §4).

A quote covers the session so far and is about 15 minutes old. It stops changing half an hour after the close.
Until the next session is 15 minutes old, the quote of the previous session is served as if it were current.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.timestamps import to_epoch_seconds
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.world.intraday_columns import IntradayColumns
from backfill_assets.sandbox.world.minute_paths import MINUTE
from backfill_assets.sandbox.world.random_draws import draw_between, draw_unit
from backfill_assets.sandbox.world.simulation import World

_DELAY_MINUTES = (15, 17)  # minutes
_FREEZE_MINUTES = (28, 30)  # minutes after the close
_SEEN_VOLUME_SHARES = (0.93, 0.995)  # of the consolidated volume
_MAX_SESSIONS_BACK = 5  # a ticker without trades keeps its last quote for so long


@dataclass(frozen=True)
class DelayedQuote:
    """A quote of one session.

    Attributes:
        session: the session.
        timestamp: epoch seconds of the end of the last minute in the quote.
        open: first price.
        high: highest price so far, regular session only.
        low: lowest price so far, regular session only.
        close: last price; after the close the official one.
        volume: shares so far, regular session and closing auction.
        previous_close: official close of the previous session; None on the first trading day.
    """

    session: Session
    timestamp: int
    open: float
    high: float
    low: float
    close: float
    volume: int
    previous_close: float | None


class QuoteGenerator:
    """Makes the quotes of one world."""

    def __init__(self, config: SandboxConfig, world: World) -> None:
        self._seed = config.seed
        self._world = world

    def find_quote(self, symbol: str, now: float) -> DelayedQuote | None:
        """Find the quote served at ``now`` (epoch seconds); None without a trade in the last sessions."""
        listings, session_index = self._world.listings, self._world.session_index
        root = listings.get_root(symbol)
        data_until = now - MINUTE * int(draw_between(_DELAY_MINUTES, self._seed, "delay", root))
        newest = session_index.find_last_opened(data_until - MINUTE)
        for index in range(newest, max(newest - _MAX_SESSIONS_BACK, 0), -1):
            session = session_index.sessions[index]
            if listings.is_listed_on(symbol, session.day):
                freeze = to_epoch_seconds(session.close) + MINUTE * int(
                    draw_between(_FREEZE_MINUTES, self._seed, "freeze", root)
                )
                quote = self._build_quote(symbol, root, index, min(int(data_until) // MINUTE * MINUTE, freeze))
                if quote is not None:
                    return quote
        return None

    def find_final_quote(self, symbol: str) -> DelayedQuote | None:
        """Find the final quote of a delisted ticker's last day; None if the ticker is listed."""
        last_day = self._world.listings.get_last_day(symbol)
        if last_day is None:
            return None
        index = self._world.session_index.slice_days(last_day, last_day).stop - 1
        close = to_epoch_seconds(self._world.session_index.sessions[index].close)
        return self._build_quote(
            symbol, self._world.listings.get_root(symbol), index, close + MINUTE * _FREEZE_MINUTES[0]
        )

    def get_extended_price(self, symbol: str, quote: DelayedQuote) -> tuple[float, int]:
        """Get the last price outside regular hours at the time of the quote, and its epoch second.

        Before the close it belongs to the previous session.
        """
        index = self._world.session_index.find_last_opened(quote.session.open.timestamp())
        timestamp = quote.timestamp
        if timestamp <= to_epoch_seconds(quote.session.close):
            index, timestamp = max(index - 1, 0), to_epoch_seconds(quote.session.open)
        _, after_hours = self._world.build_extended_hours(symbol, self._world.session_index.sessions[index])
        position = max(int(np.searchsorted(after_hours.timestamps, timestamp, side="right")) - 1, 0)
        return float(after_hours.prices[3, position]), int(after_hours.timestamps[position])

    def _build_quote(self, symbol: str, root: str, index: int, timestamp: int) -> DelayedQuote | None:
        session = self._world.session_index.sessions[index]
        official_bar, minutes = self._world.get_traded_minutes(symbol, session)
        minutes_so_far = minutes.select(minutes.timestamps < timestamp)
        if len(minutes_so_far) == 0:
            return None
        is_closed = timestamp >= to_epoch_seconds(session.close)
        shares = int(minutes_so_far.volumes.sum()) + (
            self._world.get_auction_volume(symbol, session) if is_closed else 0
        )
        volume_share = draw_between(_SEEN_VOLUME_SHARES, self._seed, "seen", root)
        return DelayedQuote(
            session,
            timestamp,
            self._draw_open_price(root, session, minutes_so_far),
            official_bar.high if is_closed else float(minutes_so_far.prices[1].max()),
            official_bar.low if is_closed else float(minutes_so_far.prices[2].min()),
            official_bar.close if is_closed else float(minutes_so_far.prices[3, -1]),
            max(int(shares * volume_share), 1),
            self._compute_previous_close(symbol, index),
        )

    def _draw_open_price(self, root: str, session: Session, minutes_so_far: IntradayColumns) -> float:
        """Draw the open: the first consolidated price, or one cent above or below it."""
        cent_offset = 0.01 * round(2 * draw_unit(self._seed, "first price", root, session.day.toordinal()) - 1)
        open_price = float(minutes_so_far.prices[0, 0]) + cent_offset
        return round(
            min(max(open_price, float(minutes_so_far.prices[2].min())), float(minutes_so_far.prices[1].max())), 4
        )

    def _compute_previous_close(self, symbol: str, index: int) -> float | None:
        previous_session = self._world.session_index.sessions[index - 1] if index else None
        if previous_session is None or not self._world.listings.is_listed_on(symbol, previous_session.day):
            return None
        days = [self._world.session_index.sessions[index].day, previous_session.day]
        factors = self._world.action_factors.get_true(symbol).shares.get_products(
            np.array([day.toordinal() for day in days], np.int64)
        )
        close = self._world.get_official_bar(symbol, previous_session).close
        return round(float(close * factors[0] / factors[1]), 4)
