"""A market of 300 tickers over two years with 60 corporate actions of all kinds, and what adjusted bars must be.

The factors are computed here from the actions of the sandbox's configuration alone, with the arithmetic of the
documents, not with the code of the store or of the sandbox's daily data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from math import nan, prod
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from backfill_assets.market.arrays import Floats, Int64
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.exchanges.registry import US
from backfill_assets.sandbox.actions import Action, CashDividend, Record, SpinOff, Split
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.world.simulation import World
from backfill_assets.sandbox.world.universe import build_universe

SYMBOLS = 300
FIRST, LAST = date(2024, 6, 3), date(2026, 6, 2)
NEW_YORK = ZoneInfo("America/New_York")
INTERVAL = INTERVALS["30m"]


READINGS = tuple(  # the morning of the third of each month
    datetime(2024 + month // 12, month % 12 + 1, 3, 13, tzinfo=UTC) for month in range(6, 30)
)
CORRECTED = WITHDRAWN = (
    30  # days after the ex-date, so that one reading finds the wrong value and the next the right one
)
ANNOUNCED = -45


def _split(new: int | str, old: int = 1, **record: Any) -> Split:
    return Split(FIRST, Decimal(new), old, Record(**record))


def _dividend(amount: str, period: str = "Quarterly", **record: Any) -> CashDividend:
    return CashDividend(FIRST, Decimal(amount), period=period, record=Record(**record))


def _mistake(new: int) -> Split:
    return Split(FIRST, new, record=Record(withdrawn_after_days=WITHDRAWN), is_mistake=True)


def _wrong(value: str) -> dict[str, Any]:
    return {"wrong_value": Decimal(value), "corrected_after_days": CORRECTED}


# Each tuple has the actions of one ticker; their dates are given in ``build_actions``.
KINDS: dict[str, tuple[tuple[Action, ...], ...]] = {
    "split": (
        (_split(10),), (_split(4),), (_split(2), _split(3)), (_split(3, 2),), (_split(3),), (_split(20),),
        (_split(5, 4),),
    ),
    "reverse split": ((_split(1, 15),), (_split(1, 10),), (_split(1, 4),), (_split(2, 5),), (_split(1, 8), _split(4))),
    "ADR ratio": ((_split(5, 2),), (_split(1, 2),)),
    "stock dividend": ((_split(105, 100),), (_split("1.05"),), (_split(21, 20),)),
    "listed twice": (
        (_split(2, copies=2),), (_split(1, 5, copies=2),), (_dividend("0.61", copies=2),), (_split(7, copies=3),),
    ),
    "announced": ((_split(6, listed_after_days=ANNOUNCED),), (_dividend("1.42", listed_after_days=ANNOUNCED),)),
    "listed late": (
        (_split(4, listed_after_days=3),),
        (_split(1, 20, listed_after_days=9),),
        (_dividend("1.15", listed_after_days=6),),
        (_split(105, 100, listed_after_days=12),),
    ),
    "corrected": (
        (_split(3, **_wrong("2")),),
        (_split(1, 12, **_wrong("0.1")),),
        (_dividend("0.85", **_wrong("0.58")),),
        (_dividend("2.40", "Special", **_wrong("0.24")), _split(2)),
    ),
    "withdrawn": ((_mistake(2),), (_mistake(10),), (_mistake(5), _split(5))),
    "dividend": (
        (_dividend("0.24"), _dividend("0.25"), _dividend("0.26"), _dividend("0.26")),
        (_dividend("0.55"), _split(2), _dividend("0.30"), _dividend("0.31")),
        (_dividend("1.05"), _dividend("1.05"), _dividend("1.10")),
    ),
    "special dividend": (
        (_dividend("3.10", "Special"),), (_dividend("1.75", "Special"),), (_dividend("4", "Special"),),
    ),
    "spin-off": ((SpinOff(FIRST, 1.239),), (SpinOff(FIRST, 2.39),), (SpinOff(FIRST, 1.318), _split(2))),
    "other currency": (
        (CashDividend(FIRST, Decimal("0.95"), "EUR", exchange_rate=Decimal("1.08")),),
        (CashDividend(FIRST, Decimal("0.40"), "CAD", exchange_rate=Decimal("0.73")),),
    ),
    "told apart by prices": ((_split(4, wrong_value=Decimal(5)),),),
    "contradiction": ((_dividend("0.92", wrong_value=Decimal("0.29")),),),
}  # fmt: skip


@dataclass(frozen=True)
class ActionMarket:
    """The market and its actions.

    Attributes:
        config: of the sandbox.
        world: its bars.
        kinds: the kind of each ticker with actions, by symbol.
        sessions: of the two years.
        starts: opens of all bars, epoch seconds UTC, ascending, shape (bars,).
        session_of_bar: position in ``sessions`` of each bar.
    """

    config: SandboxConfig
    world: World
    kinds: dict[str, str]
    sessions: tuple[Session, ...]
    starts: Int64
    session_of_bar: Int64

    @property
    def ordinals(self) -> Int64:
        """The days of the sessions."""
        return np.array([session.day.toordinal() for session in self.sessions], np.int64)

    def build_continuous_bars(self, symbol: str) -> pd.DataFrame:
        """Build the bars of a ticker without steps, unrounded: a straight line from the open to the close of each day.

        Columns: timestamp, open, high, low, close, volume.
        """
        daily = self.world.draw_daily_history(symbol, self.ordinals)
        at = self.session_of_bar
        first = np.searchsorted(at, at)  # the session's first bar
        last = np.searchsorted(at, at, side="right")
        rank, count = np.arange(len(at)) - first, last - first
        rise = daily.close[at] - daily.open[at]
        open_price, close = daily.open[at] + rise * rank / count, daily.open[at] + rise * (rank + 1) / count
        close = np.where(rank == count - 1, daily.close[at], close)
        high, low = np.maximum(open_price, close), np.minimum(open_price, close)
        volume = daily.volume[at] // count
        return pd.DataFrame(
            {"timestamp": self.starts, "open": open_price, "high": high, "low": low, "close": close, "volume": volume}
        )

    def build_raw_bars(self, symbol: str) -> pd.DataFrame:
        """Build the bars as the vendor has them, but unrounded."""
        bars, factors = self.build_continuous_bars(symbol), self.world.action_factors.get_true(symbol)
        prices = factors.prices.get_products(self.ordinals)[self.session_of_bar]
        shares = factors.shares.get_products(self.ordinals)[self.session_of_bar]
        raw = {name: bars[name] * prices for name in ("open", "high", "low", "close")}
        return bars.assign(**raw, volume=(bars["volume"] / shares).astype(np.int64))

    def list_actions(self, symbol: str) -> tuple[Action, ...]:
        """List the actions of a ticker."""
        return self.config.actions.get(symbol, ())


def build_market() -> ActionMarket:
    """Build it: the same in each run."""
    sessions = tuple(list_sessions(US, FIRST, LAST))
    actions, kinds = build_actions(sessions)
    config = SandboxConfig(
        symbols=SYMBOLS,
        now=datetime(2024, 6, 1, tzinfo=UTC),
        clock_rate=0.0,
        per_minute=1_000_000,
        daily=10_000_000,
        splits={},
        actions=actions,
    )
    grid = build_slot_grid(sessions, INTERVAL)
    opens = np.array([int(session.open.timestamp()) for session in sessions], np.int64)
    session_of_bar = np.searchsorted(opens, grid.starts, side="right") - 1
    return ActionMarket(config, World(config), kinds, sessions, grid.starts, session_of_bar.astype(np.int64))


def build_actions(sessions: Sequence[Session]) -> tuple[dict[str, tuple[Action, ...]], dict[str, str]]:
    """Give each set of actions a ticker, and each action a date: 3 to 15 sessions before one of the readings.

    Corrections and withdrawals are found in different readings.
    """
    rng = np.random.default_rng(16)
    symbols = iter(str(symbol) for symbol in rng.permutation(build_universe(SYMBOLS)))
    actions: dict[str, tuple[Action, ...]] = {}
    kinds: dict[str, str] = {}
    for kind, sets in KINDS.items():
        for number, of_ticker in enumerate(sets):
            readings = _choose_readings(rng, kind, number, len(of_ticker))
            dates = [_draw_ex_date(rng, sessions, reading) for reading in readings]
            symbol = next(symbols)
            actions[symbol] = tuple(replace(action, ex_date=day) for action, day in zip(of_ticker, dates, strict=True))
            kinds[symbol] = kind
    return actions, kinds


def _choose_readings(rng: np.random.Generator, kind: str, number: int, count: int) -> list[datetime]:
    """Choose different readings, all but the first three and the last two, in the order of time."""
    if kind in ("corrected", "withdrawn"):
        first = 4 + 2 * number + (kind == "withdrawn")
        return [READINGS[first + 6 * place] for place in range(count)]
    return [READINGS[place] for place in sorted(rng.choice(np.arange(3, len(READINGS) - 2), count, replace=False))]


def _draw_ex_date(rng: np.random.Generator, sessions: Sequence[Session], reading: datetime) -> date:
    before = [session.day for session in sessions if session.day < reading.date()]
    return before[-int(rng.integers(3, 16))]


@dataclass(frozen=True)
class Version:
    """A value of an action as the store knew it from a reading on, up to another one."""

    value: Decimal
    known_from: datetime
    known_until: datetime | None


def list_versions(action: Split | CashDividend, readings: Sequence[datetime]) -> list[Version]:
    """List what the readings (UTC, ascending) made of an action."""
    versions: list[Version] = []
    for moment in readings:
        value = _find_listed_value(action, moment.date())
        is_open = bool(versions) and versions[-1].known_until is None
        if is_open and versions[-1].value != value:
            versions[-1] = replace(versions[-1], known_until=moment)
            is_open = False
        if value is not None and not is_open:
            versions.append(Version(value, moment, None))
    return versions


def find_value(action: Split | CashDividend, readings: Sequence[datetime], moment: datetime) -> Decimal | None:
    """Find the value that counts at ``moment``, None if the action does not count."""
    versions = list_versions(action, readings)
    if not versions or action.ex_date > moment.astimezone(NEW_YORK).date():
        return None
    first = versions[0]
    if moment < first.known_from:
        return first.value if first.known_from.astimezone(NEW_YORK).date() > action.ex_date else None
    known = [v for v in versions if v.known_from <= moment and (v.known_until is None or moment < v.known_until)]
    return known[0].value if known else None


def _find_listed_value(action: Split | CashDividend, today: date) -> Decimal | None:
    record, age = action.record, (today - action.ex_date).days
    withdrawn = record.withdrawn_after_days
    if age < record.listed_after_days or (withdrawn is not None and age >= withdrawn):
        return None
    corrected = record.corrected_after_days
    return record.wrong_value if corrected is not None and age < corrected else action.value


@dataclass(frozen=True)
class Expected:
    """What a ticker's raw bars are adjusted by, shape (bars,) each; NaN where a factor is missing.

    Attributes:
        new_shares: by the splits to come, in the smallest whole numbers …
        old_shares: … for so many old ones.
        factor: the product of the factors of the dividends and spin-offs to come.
    """

    new_shares: Floats
    old_shares: Floats
    factor: Floats

    def adjust_prices(self, raw: Floats, adjustment: str) -> Floats:
        """Adjust raw prices."""
        prices: Floats = raw * self.old_shares / self.new_shares
        return prices if adjustment == "splits" else prices * self.factor

    def adjust_volumes(self, raw: Int64) -> Floats:
        """Adjust raw volumes."""
        volumes: Floats = raw * self.new_shares / self.old_shares
        return volumes


def compute_expected(market: ActionMarket, symbol: str, readings: Sequence[datetime], moment: datetime) -> Expected:
    """Compute it for a point in time, from the configuration."""
    effects = [_find_effect(market, symbol, action, readings, moment) for action in market.list_actions(symbol)]
    counted = [effect for effect in effects if effect is not None]
    rows = []
    for session in market.sessions:
        later = [effect for effect in counted if session.day < effect.ex_date]
        ratio = prod((effect.ratio for effect in later), start=Fraction(1))
        rows.append([ratio.numerator, ratio.denominator, _multiply_factors(later)])
    per_bar = np.array(rows, np.float64)[market.session_of_bar].T
    return Expected(per_bar[0], per_bar[1], per_bar[2])


@dataclass(frozen=True)
class _Effect:
    """What an action does to earlier bars.

    Attributes:
        ex_date: it affects the bars before it.
        ratio: of a split.
        factor: of a spin-off.
        share: dividend ÷ close before the ex-date, NaN if it has no factor.
    """

    ex_date: date
    ratio: Fraction = Fraction(1)
    factor: float = 1.0
    share: float = 0.0


def _multiply_factors(effects: Sequence[_Effect]) -> float:
    """The product of the factors of spin-offs and of the days' dividends: the price falls by the sum of a day's."""
    spinoffs = prod(effect.factor for effect in effects)
    days = {effect.ex_date for effect in effects}
    return spinoffs * prod(1.0 - sum(e.share for e in effects if e.ex_date == day) for day in days)


def _find_effect(
    market: ActionMarket, symbol: str, action: Action, readings: Sequence[datetime], moment: datetime
) -> _Effect | None:
    """Find what an action does; None if it does not count."""
    if isinstance(action, SpinOff):
        has_happened = action.ex_date <= moment.astimezone(NEW_YORK).date()
        return _Effect(action.ex_date, factor=1 / action.divisor) if has_happened else None
    value = find_value(action, readings, moment)
    if value is None:
        return None
    if isinstance(action, Split):
        ratio = Fraction(action.new_shares) / Fraction(action.old_shares) if value == action.value else Fraction(value)
        return _Effect(action.ex_date, ratio)
    is_contradicted = action.record.wrong_value is not None and action.record.corrected_after_days is None
    if is_contradicted or action.currency != "USD":
        return _Effect(action.ex_date, share=nan)
    cum_session = max((s for s in market.sessions if s.day < action.ex_date), key=lambda session: session.day)
    close = market.world.get_official_bar(symbol, cum_session).close
    return _Effect(action.ex_date, share=float(value) / close)
