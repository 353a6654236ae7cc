"""The sandbox's market: deterministic in seed, ticker and session, and without a clock.

What the vendor writes of it at a given moment is asked with that moment's ``Stage``; what it would
answer over HTTP is not known here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache

import numpy as np
import pandas as pd

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.wire.rows import NO_ROWS, Rows, grouped, in_order, joined
from backfill_assets.sandbox.world import data_quirks, extended_hours, minute_paths, quiet_periods
from backfill_assets.sandbox.world.daily_bars import DailyBars, daily_bars
from backfill_assets.sandbox.world.data_quirks import Scene
from backfill_assets.sandbox.world.listings import Lives
from backfill_assets.sandbox.world.publication import FINAL, Press, Release, Stage
from backfill_assets.sandbox.world.random_draws import Int64, between, key, stream, unit
from backfill_assets.sandbox.world.session_index import epoch, timetable
from backfill_assets.sandbox.world.universe import FAMILIAR, universe

FLOORS = {"1m": date(2004, 1, 1), "5m": date(2020, 10, 12), "1h": date(2020, 10, 12)}
_DELISTED_1M = date(2022, 1, 1)  # no 1m of tickers that died before (EODHD.md §2)
_THIN, _OTHERS, _FAMILIAR = (3e3, 3e4), (1e5, 4e6), (3e6, 6e7)  # shares a day
_BLOCK = 32  # days drawn together
_VENUE_SHARES = (0.15, 0.7)


@dataclass(frozen=True)
class _Drawn:
    """One session of one ticker before anything is written down."""

    day: minute_paths.Day
    minutes: Rows
    quiet: quiet_periods.Quiet


class World:
    """Every bar there ever is.

    Attributes:
        tickers: all symbols, old and new names included.
        lives: who is listed when.
        timetable: the market's sessions.
        press: when what is published.
    """

    def __init__(self, config: SandboxConfig, symbols: Iterable[str] | None = None) -> None:
        self._seed, self._traits, self._thin = config.seed, config.traits, config.thin
        self.lives = Lives(config, universe(config.symbols) if symbols is None else symbols)
        self.tickers = self.lives.symbols
        self.timetable = timetable(min(config.history_from, *config.listed.values(), date(2018, 1, 2)))
        self.press = Press(config, self.timetable)
        self._keys = {symbol: key(config.seed, self.lives.root(symbol)) for symbol in self.tickers}
        self._sizes = {symbol: self._size(symbol) for symbol in self.tickers}
        self._drawn = lru_cache(maxsize=2048)(self._draw)
        self._daily_block = lru_cache(maxsize=16384)(self._draw_daily_block)
        self.release = lru_cache(maxsize=65536)(self._release)

    def true_bars(
        self, symbol: str, session: Session, interval: Interval, source: str, *, at: datetime | None = None
    ) -> pd.DataFrame:
        """The bars a correct client ends up with for one session: the truth.

        Regular session only; windows in which nobody traded are absent, and so is everything that is
        never published. ``at`` asks for the values as they stood then: before its revision a session
        has slightly others. Columns: timestamp (epoch s), open, high, low, close, volume.
        """
        release = self.release(symbol, session, source)
        rows = NO_ROWS
        if self.lives.traded_on(symbol, session.day) and release.first != np.inf:
            rows = self._clean(symbol, session, source, at is None or at.timestamp() >= release.revised)
        starts = np.arange(epoch(session.open), epoch(session.close), interval.seconds, dtype=np.int64)
        bars = grouped(rows, starts)
        columns = dict(zip(("open", "high", "low", "close"), bars.prices, strict=True))
        return pd.DataFrame({"timestamp": bars.stamps, **columns, "volume": bars.volumes})

    def rows(self, symbol: str, session: Session, interval: str, stage: Stage = FINAL) -> Rows:
        """What ``/intraday`` holds of one session at ``stage``, as it is written there."""
        if not self.lives.traded_on(symbol, session.day) or session.day < FLOORS[interval]:
            return NO_ROWS
        last = self.lives.last(symbol)
        if interval == "1m" and last is not None and last < _DELISTED_1M:
            return NO_ROWS
        scene = self._scene(symbol, session)
        rows = self._written(scene, symbol, interval, stage)
        if stage.share < 1.0:
            length = epoch(session.close) - epoch(session.open)
            rows = rows.where(rows.stamps < epoch(session.open) + stage.share * length)
        return data_quirks.shuffled(scene, rows) if scene.struck("unordered", self._traits.unordered) else rows

    def day(self, symbol: str, session: Session) -> minute_paths.Day:
        """The official bar of one session at the prices of its time."""
        number, at = divmod(session.day.toordinal(), _BLOCK)
        bars = self._daily_block(symbol, number)
        factor = self.lives.split_factor(symbol, session.day)
        opened, high, low, close = (
            round(float(price[at]) * factor, 2) for price in (bars.open, bars.high, bars.low, bars.close)
        )
        return minute_paths.Day(opened, high, low, close, int(bars.volume[at] / factor))

    def daily(self, symbol: str, ordinals: Int64) -> DailyBars:
        """Official bars of many days (ordinals) at today's prices: before splits are undone."""
        keys, size = np.array([self._keys[symbol]], np.uint64), np.array([self._sizes[symbol]])
        return daily_bars(keys, ordinals, size, np.array([symbol in self._thin]))

    def daily_of(self, symbols: Iterable[str], session: Session) -> DailyBars:
        """Official bars of many tickers on one day, at today's prices."""
        chosen = tuple(symbols)
        keys = np.array([self._keys[symbol] for symbol in chosen], np.uint64)
        sizes = np.array([self._sizes[symbol] for symbol in chosen], np.float64)
        thin = np.array([symbol in self._thin for symbol in chosen], bool)
        return daily_bars(keys, np.array([session.day.toordinal()], np.int64), sizes, thin)

    def minute_path(self, symbol: str, session: Session) -> tuple[minute_paths.Day, Rows]:
        """The official bar and the consolidated regular minutes on a full grid, quiet ones included."""
        drawn = self._drawn(symbol, session)
        return drawn.day, drawn.minutes

    def extended(self, symbol: str, session: Session) -> tuple[Rows, Rows]:
        """The consolidated minutes before the open, and from the close on with the auction."""
        scene, day = self._scene(symbol, session), self.minute_path(symbol, session)[0]
        return extended_hours.premarket(scene, day), extended_hours.after_hours(scene, day)

    def traded_minutes(self, symbol: str, session: Session) -> tuple[minute_paths.Day, Rows]:
        """The official bar, and the regular minutes in which somebody traded."""
        drawn = self._drawn(symbol, session)
        return drawn.day, drawn.minutes.where(~drawn.quiet.minutes)

    def auction(self, symbol: str, session: Session) -> int:
        """Shares in the closing auction."""
        return extended_hours.auction_volume(self._scene(symbol, session), self._drawn(symbol, session).day)

    def _written(self, scene: Scene, symbol: str, interval: str, stage: Stage) -> Rows:
        session = scene.session
        if interval == "5m":
            clean = self._clean(symbol, session, "5m", stage.revised)
            stamps = np.arange(epoch(session.open), epoch(session.close), 300, dtype=np.int64)
            drawn = self._drawn(symbol, session)
            return data_quirks.five_minute_rows(scene, clean, stamps, drawn.quiet, drawn.day.close, stage.repaired)
        clean = self._clean(symbol, session, "1m", stage.revised)
        if interval == "1h":
            hours = np.arange(epoch(session.open), epoch(session.close), 3600, dtype=np.int64)
            return grouped(clean, hours)
        if len(clean) == 0:
            return NO_ROWS
        before, after = self.extended(symbol, session)
        return in_order(joined(before, clean, after))

    def _clean(self, symbol: str, session: Session, source: str, revised: bool) -> Rows:
        """The rows of ``source`` in which somebody traded, and nothing else."""
        drawn = self._drawn(symbol, session)
        if source == "5m":
            root = self.lives.root(symbol)
            rng = stream(self._seed, "venue", root, session.day.toordinal())
            share = between(_VENUE_SHARES, self._seed, "venue share", root)
            rows = minute_paths.venue_bars(rng, drawn.minutes, share, drawn.quiet.windows)
        else:
            rows = drawn.minutes.where(~drawn.quiet.minutes)
        return rows if revised else data_quirks.preliminary(self._scene(symbol, session), rows, source)

    def _draw(self, symbol: str, session: Session) -> _Drawn:
        day, scene = self.day(symbol, session), self._scene(symbol, session)
        rng = stream(self._seed, "path", scene.root, scene.day)
        count = (epoch(session.close) - epoch(session.open)) // 60
        volume = max(int(day.volume * extended_hours.REGULAR_SHARE) - extended_hours.auction_volume(scene, day), 0)
        fitted = minute_paths.Day(day.open, day.high, day.low, day.close, volume)
        minutes = minute_paths.regular_minutes(rng, fitted, epoch(session.open), count)
        return _Drawn(day, minutes, self._quiet(symbol, scene, day, count))

    def _quiet(self, symbol: str, scene: Scene, day: minute_paths.Day, minutes: int) -> quiet_periods.Quiet:
        if day.volume == 0:
            return quiet_periods.quiet_session(minutes)
        if symbol in self._thin:
            return quiet_periods.thin_session(minutes, self._seed, scene.root, scene.day)
        return quiet_periods.liquid_session(minutes, self._traits, self._seed, scene.root, scene.day)

    def _draw_daily_block(self, symbol: str, number: int) -> DailyBars:
        return self.daily(symbol, np.arange(number * _BLOCK, (number + 1) * _BLOCK, dtype=np.int64))

    def _size(self, symbol: str) -> float:
        """Typical shares a day."""
        root = self.lives.root(symbol)
        low, high = _THIN if symbol in self._thin else _FAMILIAR if root in FAMILIAR else _OTHERS
        return float(low * (high / low) ** unit(self._seed, "size", root))

    def _scene(self, symbol: str, session: Session) -> Scene:
        return Scene(self._seed, self.lives.root(symbol), session, self._traits)

    def _release(self, symbol: str, session: Session, interval: str) -> Release:
        return self.press.release(symbol, self.lives.root(symbol), session, interval)
