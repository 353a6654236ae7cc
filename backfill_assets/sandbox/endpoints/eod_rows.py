"""Daily rows: ``/eod/{T}`` and the bulk file of the whole market, which agree (EODHD.md §5)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import msgspec
import numpy as np

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.wire.encoding import Number
from backfill_assets.sandbox.world.random_draws import Bools, Float64, Int64, key, unit, units
from backfill_assets.sandbox.world.simulation import World

_MAIN_SECONDS = 20 * 60  # after the close; funds and OTC come later
_LATE_SECONDS = 3 * 3600
_ABSENT_SHARE = 0.5  # of idle days: no row; the others have a row with volume 0


class EodRow(msgspec.Struct):
    """A row of ``/eod``; volume is split-adjusted, prices are not, except for spin-offs."""

    date: str
    open: Number
    high: Number
    low: Number
    close: Number
    adjusted_close: Number
    volume: int


@dataclass(frozen=True)
class _Columns:
    """Values of pairs of ticker and day."""

    raw: tuple[Float64, Float64, Float64, Float64]
    adjusted: Float64
    volumes: Int64
    nulls: Bools


class EndOfDay:
    """Daily rows of one world."""

    def __init__(self, config: SandboxConfig, world: World) -> None:
        self._config, self._world = config, world

    def history(self, symbol: str, first: date, last: date, now: datetime) -> list[EodRow]:
        """Published rows of ``symbol`` from ``first`` to ``last``, oldest first."""
        lives, timetable = self._world.lives, self._world.timetable
        born, died = lives.first(symbol), lives.last(symbol)
        chosen = timetable.days(max(first, born), min(last, died or last))
        sessions, ordinals = timetable.sessions[chosen], timetable.ordinals[chosen]
        visible = timetable.closes[chosen] + self._delay(symbol) <= now.timestamp()
        count = int(visible.sum())
        values = self._columns(symbol, ordinals[:count])
        return [
            row
            for at, session in enumerate(sessions[:count])
            if (row := self._row(symbol, session, values, at, now)) is not None
        ]

    def row(self, symbol: str, session: Session, now: datetime) -> EodRow | None:
        """The row of one day, if there is one by ``now``."""
        found = self.history(symbol, session.day, session.day, now)
        return found[0] if found else None

    def market(self, symbols: Iterable[str], session: Session, now: datetime) -> list[tuple[str, EodRow]]:
        """The rows of many tickers on one day, as the bulk file has them."""
        since = now.timestamp() - session.close.timestamp()
        traded = [
            symbol
            for symbol in symbols
            if self._world.lives.traded_on(symbol, session.day) and since >= self._delay(symbol)
        ]
        special = [symbol for symbol in traded if self._world.lives.is_adjusted(symbol)]
        found = {symbol: self.row(symbol, session, now) for symbol in special}
        plain = [symbol for symbol in traded if symbol not in found]
        bars = self._world.daily_of(plain, session)
        raw = (bars.open, bars.high, bars.low, bars.close)
        ordinal = np.array([session.day.toordinal()], np.int64)
        values = _Columns(raw, bars.close, bars.volume, self._nulls(plain, ordinal))
        found |= {s: self._row(s, session, values, at, now) for at, s in enumerate(plain)}
        return [(symbol, row) for symbol in traded if (row := found[symbol]) is not None]

    def is_published(self, session: Session, now: datetime) -> bool:
        """Whether the bulk file of ``session`` exists."""
        return now.timestamp() >= session.close.timestamp() + _MAIN_SECONDS

    def _columns(self, symbol: str, ordinals: Int64) -> _Columns:
        bars, lives = self._world.daily(symbol, ordinals), self._world.lives
        factors, divisors = lives.split_factors(symbol, ordinals), lives.spinoff_divisors(symbol, ordinals)
        opened, high, low, close = (
            np.round(np.round(price * factors, 2) / divisors, 4)
            for price in (bars.open, bars.high, bars.low, bars.close)
        )
        adjusted = np.round(bars.close / divisors, 4)
        return _Columns((opened, high, low, close), adjusted, bars.volume, self._nulls([symbol], ordinals))

    def _nulls(self, symbols: list[str], ordinals: Int64) -> Bools:
        """Which rows of many days or of many tickers have null prices."""
        if not self._config.traits.eod_nulls:
            return np.zeros(max(len(symbols), len(ordinals)), bool)
        roots = (self._world.lives.root(symbol) for symbol in symbols)
        keys = np.array([key(self._config.seed, "eod nulls", root) for root in roots], np.uint64)
        nulls: Bools = units(keys, ordinals, 1)[0] < self._config.traits.eod_nulls
        return nulls

    def _row(self, symbol: str, session: Session, values: _Columns, at: int, now: datetime) -> EodRow | None:
        volume = int(values.volumes[at])
        root = self._world.lives.root(symbol)
        day = session.day.toordinal()
        if volume == 0 and unit(self._config.seed, "idle row", root, day) < _ABSENT_SHARE:
            return None
        if values.nulls[at]:
            prices: list[Number] = [None, None, None, float(values.raw[3][at])]
        else:
            prices = [float(price[at]) for price in values.raw]
        shares = int(volume * self._first_share(root, session, now))
        return EodRow(
            session.day.isoformat(), prices[0], prices[1], prices[2], prices[3], float(values.adjusted[at]), shares
        )

    def _first_share(self, root: str, session: Session, now: datetime) -> float:
        """The part of the volume that the first version of a row has, until noon UTC of the next day."""
        rate = self._config.traits.daily_revisions
        final = datetime.combine(session.day + timedelta(days=1), time(12), UTC)
        if not rate or now >= final:
            return 1.0
        drawn = unit(self._config.seed, "daily revision", root, session.day.toordinal())
        return 1.0 - 0.065 * drawn / rate if drawn < rate else 1.0

    def _delay(self, symbol: str) -> float:
        late = self._config.traits.daily_late
        root = self._world.lives.root(symbol)
        if late and unit(self._config.seed, "daily late", root) < late:
            return _MAIN_SECONDS + _LATE_SECONDS
        return _MAIN_SECONDS
