"""Adjusted bars against a model in plain Python, over random actions, revisions, listings and points in time."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from backfill_assets.market.actions.adjustment import Adjustment
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol, Ticker
from backfill_assets.store.bars.adjusted_bars import AdjustedBars, MissingFactor
from backfill_assets.store.bars.bar_factors import read_bar_factors
from backfill_assets.store.bars.bar_table import BarTable, read_bar_table
from backfill_assets.store.postgres.connection import Database
from backfill_assets_tests.integration.adjusted_bars_model import SYMBOLS, Action, Life, Version, World, adjust, to_day
from backfill_assets_tests.integration.stored_actions import Store

FIRST = date(2023, 12, 22)  # with holidays, weekends, winter and the change to summer time
DAYS = 90
EXAMPLES = 40
IN_THE_FUTURE = 10**9  # minutes, 1900 years
_COPY_BARS = """
COPY market_data (symbol_id, timestamp, open_price, high_price, low_price, close_price, volume) FROM STDIN
"""


def draw_world(rng: random.Random) -> World:
    def draw_day() -> date:
        return FIRST + timedelta(days=rng.randrange(DAYS))

    def draw_moment(day: date, spread: int = 20) -> datetime:
        minutes = rng.randrange(-spread * 1440, spread * 1440)
        return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=minutes)

    def draw_values(kind: str) -> dict[str, Fraction | str | None]:
        contradiction = "two" if kind != "spin-off" and rng.random() < 0.03 else None
        if kind == "split":
            new, old = rng.choice([("2", "1"), ("10", "1"), ("1", "15"), ("3", "2"), ("1.05", "1"), ("1", "0.9713")])
            return {"new": Fraction(new), "old": Fraction(old), "contradiction": contradiction}
        if kind == "spin-off":
            return {"new": Fraction(rng.choice([0.5, 0.418, 0.9371]))}
        amount = rng.choice(["0.25", "1", "0.33", "7.5"] * 6 + ["500"])
        currency = rng.choice(["USD"] * 16 + [None] * 3 + ["EUR"])
        return {"amount": Fraction(amount), "currency": currency, "contradiction": contradiction}

    def draw_versions(kind: str, day: date) -> tuple[Version, ...]:
        times = sorted(draw_moment(day) for _ in range(rng.choice([1, 1, 1, 2, 3, 4])))
        versions = [
            Version(known_from, known_until, **draw_values(kind))  # type: ignore[arg-type]
            for known_from, known_until in pairwise(times)
            if rng.random() < 0.8  # else it was not listed for a time
        ]
        end = None if rng.random() < 0.85 else times[-1] + timedelta(days=rng.randrange(20))
        return (*versions, Version(times[-1], end, **draw_values(kind)))  # type: ignore[arg-type]

    actions = {}
    for _ in range(rng.randrange(14)):
        kind = rng.choice(["split", "split", "dividend", "dividend", "dividend", "spin-off"])
        period = rng.choice(["", "quarterly", "special"]) if kind == "dividend" else ""
        day = date(2098, 1, 2) if rng.random() < 0.03 else draw_day()
        symbol = rng.randint(1, SYMBOLS)
        drawn = draw_day() if day.year == 2098 else day
        actions[kind, symbol, day, period] = Action(kind, symbol, day, period, draw_versions(kind, drawn))
    for action in [a for a in actions.values() if rng.random() < 0.3]:  # the same of another ticker
        other = rng.randint(1, SYMBOLS)
        period = rng.choice([action.period, action.period, ""])
        day = min(action.ex_date, FIRST + timedelta(days=DAYS))
        versions = action.versions if rng.random() < 0.5 else draw_versions(action.kind, day)
        actions[action.kind, other, action.ex_date, period] = Action(
            action.kind, other, action.ex_date, period, versions
        )
    daily = {
        (symbol, FIRST + timedelta(days=offset)): (
            rng.choice([100.0, 87.31, 12.0]),
            None if rng.random() < 0.05 else draw_moment(FIRST + timedelta(days=offset + rng.choice([1, 60])), 3),
        )
        for symbol in range(1, SYMBOLS + 1)
        for offset in range(-1, DAYS)
        if rng.random() < 0.97
    }
    bars = [
        (symbol, draw_bar_time(rng, draw_day()), round(rng.uniform(0.01, 3000), 4), rng.randrange(10**7))
        for symbol in range(1, SYMBOLS + 1)
        for _ in range(12)
    ]
    bars = [(*key, *values) for key, values in {(s, at): values for s, at, *values in bars}.items()]
    known = {symbol: rng.choice([date(1900, 1, 1)] * 12 + [None, draw_day()]) for symbol in range(1, SYMBOLS + 1)}
    return World(draw_lives(rng, draw_day), list(actions.values()), daily, bars, known)


def draw_bar_time(rng: random.Random, day: date) -> datetime:
    """A half hour of a day, half of them about midnight in New York or UTC."""
    hour = rng.choice([0, 1, 3, 4, 5, 23]) if rng.random() < 0.5 else rng.randrange(24)
    return datetime(day.year, day.month, day.day, hour, rng.choice([0, 30]), tzinfo=UTC)


def draw_lives(rng: random.Random, draw_day: Callable[[], date]) -> list[Life]:
    form = rng.choice(["none", "rename", "rename", "recycled", "chain", "swap", "back"])
    begin, end = date.min, date.max
    first, second = sorted({draw_day(), draw_day() + timedelta(days=5), FIRST + timedelta(days=200)})[:2]
    day = timedelta(days=1)
    old, new, newest = rng.sample(range(1, SYMBOLS + 1), SYMBOLS)
    if form == "none":
        return []
    if form == "rename":
        return [Life(1, old, begin, first - day), Life(1, new, first, end)]
    if form == "recycled":  # the fund of the name ended before
        return [Life(1, old, begin, second - day), Life(1, new, second, end), Life(2, new, begin, first - day)]
    if form == "swap":
        of_one = [Life(1, old, begin, first - day), Life(1, new, first, end)]
        return [*of_one, Life(2, new, begin, first - day), Life(2, old, first, end)]
    if form == "back":
        return [Life(1, old, begin, first - day), Life(1, new, first, second - day), Life(1, old, second, end)]
    return [
        *(Life(1, old, begin, first - day), Life(1, new, first, second - day), Life(1, newest, second, end)),
        Life(2, old, second + 3 * day, end),
    ]


# --- the comparison --------------------------------------------------------------------------------------------------


def store_world(store: Store, world: World) -> None:
    for symbol in range(1, SYMBOLS + 1):
        assert store.add_symbol(f"S{symbol}", known_after=world.known_after[symbol]) == symbol
    by_instrument: dict[int, list[Life]] = {}
    for life in world.lives:
        by_instrument.setdefault(life.instrument, []).append(life)
    for lives in by_instrument.values():
        store.add_listings(
            *(
                (
                    life.symbol,
                    life.first if life.first > date.min else None,
                    life.last if life.last < date.max else None,
                )
                for life in lives
            )
        )
    for action in world.actions:
        store_action(store, action)
    cursor = store.connection.cursor()
    with cursor.copy("COPY backfill.daily_prices (symbol_id, day, close_price, volume, read_at) FROM STDIN") as copy:
        for (symbol, day), (close, read_at) in world.daily.items():
            copy.write_row((symbol, day, close, 1, read_at))
    with cursor.copy(_COPY_BARS) as copy:
        for symbol, start, close, volume in world.bars:
            copy.write_row((symbol, start, close, close, close, close, volume))


def store_action(store: Store, action: Action) -> None:
    table = {"split": "split", "dividend": "dividend", "spin-off": "spinoff"}[action.kind]
    key = {"symbol_id": action.symbol, "ex_date": action.ex_date, "source": "test"}
    if table == "dividend":
        key |= {"period": action.period, "cum_day": action.ex_date - timedelta(days=1)}
    for position, version in enumerate(action.versions):
        values = get_columns(table, version)
        if position == len(action.versions) - 1:
            times = {"first_seen": action.versions[0].known_from, "withdrawn_at": version.known_until}
            times |= {"revised_at": version.known_from} if position else {}
            details = {"sessions": 9} if table == "spinoff" else {}
            store.insert(f"backfill.{table}s", **key, **values, **times, **details)
        else:
            times = {"known_from": version.known_from, "known_until": version.known_until}
            store.insert(f"backfill.{table}_revisions", **key, **values, **times)


def get_columns(table: str, version: Version) -> dict[str, float | str | None]:
    if table == "spinoff":
        return {"factor": float(version.new)}
    if table == "dividend":
        amount = {"amount": float(version.amount), "currency": version.currency}
        return {**amount, "contradiction": version.contradiction}
    shares = {"new_shares": float(version.new), "old_shares": float(version.old)}
    return {"ratio": float(version.new / version.old), **shares, "contradiction": version.contradiction}


@pytest.fixture(scope="module")
def store(create_database: Callable[[], str]) -> Iterator[Store]:
    database = Database(create_database())
    with database.transaction() as connection:
        yield Store(connection)
    database.close()


@seed(16)
@settings(max_examples=EXAMPLES, database=None)
@given(
    number=st.integers(0, 2**32),
    moment_at=st.one_of(st.sampled_from([None, IN_THE_FUTURE]), st.integers(-10 * 1440, (DAYS + 20) * 1440)),
)
def test_adjusted_bars_are_those_of_the_model(store: Store, number: int, moment_at: int | None) -> None:
    world = draw_world(random.Random(number))
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    moment = None if moment_at is None else start + timedelta(minutes=moment_at)
    with store.connection.transaction(force_rollback=True):
        store.connection.execute("ALTER SEQUENCE market_symbols_symbol_id_seq RESTART WITH 1")
        store_world(store, world)
        for adjustment in Adjustment:
            compare(store, world, adjustment, moment)


def compare(store: Store, world: World, adjustment: Adjustment, moment: datetime | None) -> None:
    """Every bar is what the model says; a symbol of which one cannot be adjusted says so."""
    for symbol in range(1, SYMBOLS + 1):
        bars = sorted(bar for bar in world.bars if bar[0] == symbol)
        expected = [adjust(world, bar, adjustment, moment) for bar in bars]
        if all(expected):
            found = store.read([symbol], adjustment, moment)
            assert_equal_to_the_bit(store, found, adjustment, moment)
            assert found.session_day.tolist() == [to_day(start) for _, start, *_ in bars]
            for close, volume, values in zip(found.close.tolist(), found.volume.tolist(), expected, strict=True):
                assert values is not None
                by_splits, price, shares = values
                assert volume == pytest.approx(shares, rel=1e-15)
                assert close == (by_splits if adjustment is not Adjustment.SPLITS_AND_DIVIDENDS else close)
                assert math.isclose(close, price, rel_tol=1e-13)
        else:
            with pytest.raises(MissingFactor) as caught, store.connection.transaction():
                store.read([symbol], adjustment, moment)
            lacking = [to_day(bar[1]) for bar, values in zip(bars, expected, strict=True) if values is None]
            assert caught.value.ex_date > min(lacking)
            with pytest.raises(MissingFactor, match=f"^{caught.value.ticker} before "), store.connection.transaction():
                read_same_bars(store, symbol, [bar[1] for bar in bars], adjustment, moment)
        compare_factors(store, world, symbol, adjustment, moment)


def assert_equal_to_the_bit(store: Store, found: AdjustedBars, adjustment: Adjustment, moment: datetime | None) -> None:
    """What a read multiplies in arrays is what the function of the schema multiplies in each row."""
    starts = [datetime.fromtimestamp(start, UTC) for start in found.start.tolist()]
    bars = read_same_bars(store, int(found.symbol_id[0]), starts, adjustment, moment)
    for name in ("open", "high", "low", "close", "volume"):
        assert bars.values[name].tolist() == getattr(found, name).tolist()


def read_same_bars(
    store: Store, symbol_id: int, starts: list[datetime], adjustment: Adjustment, moment: datetime | None
) -> BarTable:
    """The bars as a read has them, on a grid of their own starts."""
    at = np.array([start.timestamp() for start in starts], np.int64)
    nothing = np.zeros(len(at), np.int64)
    grid = SlotGrid(INTERVALS["30m"], (), at, at + 1800, nothing, np.array([0, len(at)]))
    symbol = Symbol(symbol_id, Ticker("A", "US"), True)
    bars = read_bar_table(store.connection, [symbol], grid)
    factors = read_bar_factors(store.connection, [symbol], adjustment, moment)
    return replace(bars, values=factors.adjust(store.connection, bars.values, bars.slot_key, grid))


def compare_factors(store: Store, world: World, symbol: int, adjustment: Adjustment, moment: datetime | None) -> None:
    """The factors of each day are those of a bar at noon, null where one is missing; no day is there twice."""
    query = """SELECT first_day, last_day, price_factor FROM backfill.adjustment_factors(%s, %s)
               WHERE symbol_id = %s ORDER BY first_day NULLS FIRST"""
    rows = store.connection.execute(query, [str(adjustment), moment, symbol]).fetchall()
    for (_, last, _), (first, _, _) in pairwise(rows):
        assert first == last + timedelta(days=1)
    for offset in range(-1, DAYS + 2, 3):
        day = FIRST + timedelta(days=offset)
        noon = datetime(day.year, day.month, day.day, 17, tzinfo=UTC)
        expected = adjust(world, (symbol, noon, 1.0, 1), adjustment, moment)
        (factor,) = [f for first, last, f in rows if (first or date.min) <= day <= (last or date.max)]
        if expected is None:
            assert factor is None
        else:
            assert factor is not None
            assert math.isclose(factor, expected[1], rel_tol=1e-13)
