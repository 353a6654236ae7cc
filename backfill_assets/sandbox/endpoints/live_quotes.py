"""Delayed quotes of the market at a moment: a third series, neither 1m nor 5m (EODHD.md §3, §4).

Day-cumulative, a quarter of an hour old, frozen half an hour after the close; until the next session
is a quarter of an hour old the last one is served as if it were current.
"""

from dataclasses import dataclass

import numpy as np

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.wire.rows import Rows
from backfill_assets.sandbox.world.minute_paths import MINUTE
from backfill_assets.sandbox.world.random_draws import between, unit
from backfill_assets.sandbox.world.session_index import epoch
from backfill_assets.sandbox.world.simulation import World

_DELAYS = (15, 17)  # minutes
_FREEZES = (28, 30)  # minutes after the close
_SEEN_SHARES = (0.93, 0.995)  # of the consolidated volume
_SESSIONS_BACK = 5  # how long a ticker without trades keeps its last quote


@dataclass(frozen=True)
class Quote:
    """What is known of a session so far.

    Attributes:
        session: which one.
        stamp: epoch seconds of the last minute that counts.
        open: first price.
        high: highest so far, regular session only.
        low: lowest so far, regular session only.
        close: last price, the official close once there is one.
        volume: shares so far, regular session and auction.
        previous_close: official close of the session before; None at the start of its life.
    """

    session: Session
    stamp: int
    open: float
    high: float
    low: float
    close: float
    volume: int
    previous_close: float | None


class Quotes:
    """Quotes of one world."""

    def __init__(self, config: SandboxConfig, world: World) -> None:
        self._seed = config.seed
        self._world = world

    def at(self, symbol: str, now: float) -> Quote | None:
        """The quote served at ``now`` (epoch s); None if nothing traded lately."""
        lives, timetable = self._world.lives, self._world.timetable
        root = lives.root(symbol)
        seen = now - MINUTE * int(between(_DELAYS, self._seed, "delay", root))
        newest = timetable.opened(seen - MINUTE)
        for index in range(newest, max(newest - _SESSIONS_BACK, 0), -1):
            session = timetable.sessions[index]
            if lives.traded_on(symbol, session.day):
                freeze = epoch(session.close) + MINUTE * int(between(_FREEZES, self._seed, "freeze", root))
                quote = self._of_session(symbol, root, index, min(int(seen) // MINUTE * MINUTE, freeze))
                if quote is not None:
                    return quote
        return None

    def last_of(self, symbol: str) -> Quote | None:
        """The frozen quote of a dead ticker's last day."""
        last = self._world.lives.last(symbol)
        if last is None:
            return None
        index = self._world.timetable.days(last, last).stop - 1
        close = epoch(self._world.timetable.sessions[index].close)
        return self._of_session(symbol, self._world.lives.root(symbol), index, close + MINUTE * _FREEZES[0])

    def extended(self, symbol: str, quote: Quote) -> tuple[float, int]:
        """The last price outside regular hours at the quote's time, and its epoch second.

        Before the close it is still the previous session's.
        """
        index = self._world.timetable.opened(quote.session.open.timestamp())
        stamp = quote.stamp
        if stamp <= epoch(quote.session.close):
            index, stamp = max(index - 1, 0), epoch(quote.session.open)
        _, after = self._world.extended(symbol, self._world.timetable.sessions[index])
        at = max(int(np.searchsorted(after.stamps, stamp, side="right")) - 1, 0)
        return float(after.prices[3, at]), int(after.stamps[at])

    def _of_session(self, symbol: str, root: str, index: int, stamp: int) -> Quote | None:
        session = self._world.timetable.sessions[index]
        day, minutes = self._world.traded_minutes(symbol, session)
        seen = minutes.where(minutes.stamps < stamp)
        if len(seen) == 0:
            return None
        closed = stamp >= epoch(session.close)
        shares = int(seen.volumes.sum()) + (self._world.auction(symbol, session) if closed else 0)
        part = between(_SEEN_SHARES, self._seed, "seen", root)
        return Quote(
            session,
            stamp,
            self._first_price(root, session, seen),
            day.high if closed else float(seen.prices[1].max()),
            day.low if closed else float(seen.prices[2].min()),
            day.close if closed else float(seen.prices[3, -1]),
            max(int(shares * part), 1),
            self._previous_close(symbol, index),
        )

    def _first_price(self, root: str, session: Session, seen: Rows) -> float:
        """The tape's first price, or a cent beside it."""
        off = 0.01 * round(2 * unit(self._seed, "first price", root, session.day.toordinal()) - 1)
        opened = float(seen.prices[0, 0]) + off
        return round(min(max(opened, float(seen.prices[2].min())), float(seen.prices[1].max())), 4)

    def _previous_close(self, symbol: str, index: int) -> float | None:
        before = self._world.timetable.sessions[index - 1] if index else None
        if before is None or not self._world.lives.traded_on(symbol, before.day):
            return None
        factor = self._world.lives.split_factor(symbol, self._world.timetable.sessions[index].day)
        own = self._world.lives.split_factor(symbol, before.day)
        return round(self._world.day(symbol, before).close * factor / own, 4)
