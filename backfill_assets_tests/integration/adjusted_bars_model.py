"""A model of adjusted bars in plain Python, for tests.

It shares nothing with the functions of the schema: it goes through the versions of each action one by one, for each bar
anew, and reckons in fractions.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from math import prod

from backfill_assets.market.actions.adjustment import Adjustment
from backfill_assets_tests.integration.stored_actions import NEW_YORK

SYMBOLS = 3  # with the keys 1, 2 and 3


@dataclass(frozen=True)
class Version:
    """What an action was from ``known_from`` on, up to ``known_until`` (None: now)."""

    known_from: datetime
    known_until: datetime | None
    new: Fraction = Fraction(1)
    old: Fraction = Fraction(1)
    amount: Fraction = Fraction(0)
    currency: str | None = None
    contradiction: str | None = None


@dataclass(frozen=True)
class Action:
    """An action of one ticker with all its versions, oldest first; spin-offs have their factor as new : old."""

    kind: str
    symbol: int
    ex_date: date
    period: str
    versions: tuple[Version, ...]


@dataclass(frozen=True)
class Life:
    """A listing: an instrument's name from ``first`` to ``last``."""

    instrument: int
    symbol: int
    first: date
    last: date


@dataclass
class World:
    """What is stored: daily rows as (symbol, day) → (close, when read)."""

    lives: list[Life]
    actions: list[Action]
    daily: dict[tuple[int, date], tuple[float, datetime | None]]
    bars: list[tuple[int, datetime, float, int]]
    known_after: dict[int, date | None] = field(default_factory=dict)


def to_day(moment: datetime) -> date:
    return moment.astimezone(NEW_YORK).date()


def find_instrument(world: World, symbol: int, day: date) -> int | None:
    """The instrument that a ticker names on a day; one of its own without listings, None outside them."""
    lives = [life for life in world.lives if life.symbol == symbol]
    if not lives:
        return -symbol
    return next((life.instrument for life in lives if life.first <= day <= life.last), None)


def find_affected(world: World, action: Action) -> int | None:
    """The instrument whose bars an action affects: of the ex-date, or of the ticker's next listing."""
    instrument = find_instrument(world, action.symbol, action.ex_date)
    later = [life for life in world.lives if life.symbol == action.symbol and life.first > action.ex_date]
    return min(later, key=lambda life: life.first).instrument if instrument is None and later else instrument


def find_version(action: Action, moment: datetime | None, today: date) -> Version | None:
    if action.ex_date > today:
        return None
    versions = [v for v in action.versions if v.known_until is None or v.known_until > v.known_from]
    if moment is None:
        return next((v for v in versions if v.known_until is None), None)
    for version in versions:
        if version.known_from <= moment and (version.known_until is None or moment < version.known_until):
            return version
    if versions and moment < versions[0].known_from and to_day(versions[0].known_from) > action.ex_date:
        return versions[0]
    return None


def list_counted(world: World, instrument: int, moment: datetime | None, today: date) -> list[tuple[Action, Version]]:
    chosen: dict[tuple[str, date, str], tuple[tuple[bool, int], Action, Version]] = {}
    for action in world.actions:
        version = find_version(action, moment, today)
        if version is None or find_affected(world, action) != instrument:
            continue
        is_listed = find_instrument(world, action.symbol, action.ex_date) == instrument
        key, rank = (action.kind, action.ex_date, action.period), (not is_listed, action.symbol)
        if key not in chosen or rank < chosen[key][0]:
            chosen[key] = rank, action, version
    found = [(action, version) for _, action, version in chosen.values()]
    return [
        (action, version)
        for action, version in found
        if action.kind != "dividend" or action.period or not any(
            other.kind == "dividend" and other.period and other.ex_date == action.ex_date
            and (value.amount, value.currency) == (version.amount, version.currency)
            for other, value in found
        )
    ]  # fmt: skip


def find_known_after(world: World, instrument: int) -> date:
    """The day after which all actions are known: those of the newest ticker, before it of the one before."""
    lives = [life for life in world.lives if life.instrument == instrument]
    tickers = [life.symbol for life in sorted(lives, key=lambda life: life.first, reverse=True)] or [-instrument]
    ends = [date.max, *sorted((life.last for life in lives), reverse=True)[1:]]
    known_after = date.max
    for ticker, end in zip(tickers, ends, strict=True):
        if known_after <= end:
            known_after = min(known_after, world.known_after[ticker] or date.max)
    return known_after


def find_close(world: World, action: Action, instrument: int) -> float | None:
    """The official close of the day before, None without one or if it is not known what it was adjusted for."""
    cum_day = action.ex_date - timedelta(days=1)
    holders = [s for s in range(1, SYMBOLS + 1) if find_instrument(world, s, cum_day) == instrument]
    own = [action.symbol] if find_instrument(world, action.symbol, cum_day) is None else []
    for symbol in [s for s in holders if s != action.symbol] + [s for s in holders if s == action.symbol] + own:
        if (symbol, cum_day) not in world.daily:
            continue
        close, read_at = world.daily[symbol, cum_day]
        for other, present in list_counted(world, instrument, None, date.max):
            if other.kind != "spin-off" or other.ex_date <= cum_day:
                continue
            if read_at is None or to_day(read_at) == other.ex_date:
                return None
            if to_day(read_at) > other.ex_date:
                close /= float(present.new)
        return close
    return None


def adjust(
    world: World, bar: tuple[int, datetime, float, int], adjustment: Adjustment, moment: datetime | None
) -> tuple[float, float, float] | None:
    """Price by splits, price by all, and volume; None if a factor is missing."""
    symbol, start, close, volume = bar
    now = datetime.now(UTC)
    day, today = to_day(start), to_day(min(moment or now, now))
    instrument = find_instrument(world, symbol, day)
    if adjustment is Adjustment.NONE or instrument is None:
        return close, close, float(volume)
    if day < min(find_known_after(world, instrument), today):
        return None
    split, cash = Fraction(1), 1.0
    paid: dict[tuple[date, float], Fraction] = {}  # by ex-date and close: the price falls by the sum
    for action, version in list_counted(world, instrument, moment, today):
        if action.ex_date <= day or (adjustment is Adjustment.SPLITS and action.kind != "split"):
            continue
        if version.contradiction:
            return None
        if action.kind == "split":
            split *= version.new / version.old
        elif action.kind == "spin-off":
            cash *= float(version.new)
        else:
            official = find_close(world, action, instrument)
            if version.currency not in {None, "USD"} or official is None:
                return None
            paid[action.ex_date, official] = paid.get((action.ex_date, official), Fraction(0)) + version.amount
    if any(amount >= official for (_, official), amount in paid.items()):
        return None
    cash *= prod(1 - float(amount) / official for (_, official), amount in paid.items())
    price = close * split.denominator / split.numerator
    return price, price * cash, volume * split.numerator / split.denominator
