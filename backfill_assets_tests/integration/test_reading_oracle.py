"""Reads of random stores, compared with what a loop over the slots finds: rows, health and errors.

The oracle knows how each slot was made, and no rule of the package: a slot is made as each state demands.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from backfill_assets.config.settings import load_settings
from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.slots import build_slot_grid
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.registry import US
from backfill_assets.reading import IncompleteBars, PendingSessions, ReadRefused
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets_tests.external_tables import create_external_tables
from backfill_assets_tests.integration.reading_store import ReadingStore

READS = 25
NOW = datetime(2025, 12, 1, 16, 40, tzinfo=UTC)  # a Monday, 11:40 in New York
DAYS = (date(2025, 11, 26), date(2025, 11, 28), date(2025, 12, 1))  # the second one closes early
GRID = build_slot_grid([one for one in list_sessions(US, DAYS[0], DAYS[-1]) if one.day in DAYS], INTERVALS["30m"])
SLOTS = [
    (to_datetime(start), to_datetime(end), GRID.sessions[at].day)
    for start, end, at in zip(GRID.starts.tolist(), GRID.ends.tolist(), GRID.session_index.tolist(), strict=True)
]
LATE = "LATE.US"  # listed from the second session on
TICKERS = ("AAA.US", "BBB.US", "CCC.US", "DDD.US", LATE)
EXPLAINED = {"no_trade", "vendor_gap", "stands"}
DELAY = timedelta(minutes=15)
COLUMNS = ("symbol", "timestamp", "slot_end", "session", "open", "close", "volume", "state", "source", "first_known")
_COPY = """
COPY market_data (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume, source,
                  source_interval, source_rows, is_final, fetched_at) FROM STDIN
"""
_ADJUSTED = """
SELECT symbol_id, "timestamp", close_price, volume FROM backfill.adjusted_bars(%s, %s)
ORDER BY source IS NULL, interval_type <> '30m'
"""


@dataclass
class Slot:
    """How a slot was made: ``state`` as in docs/states.md, but a suspect one's is its reason."""

    symbol: str
    start: datetime
    end: datetime
    session: date
    state: str
    close: float = 0.0
    volume: int = 0
    is_own: bool = True
    fetched: datetime | None = None

    @property
    def shown_state(self) -> str:
        return "suspect" if self.state in ("sparse", "doubted", "stands") else self.state

    @property
    def has_bar(self) -> bool:
        return self.state not in ("missing", "no_trade", "vendor_gap", "pending")

    @property
    def is_waiting(self) -> bool:
        return self.session == DAYS[-1] and self.state in ("pending", "provisional")

    def is_accepted(self, options: dict[str, Any]) -> bool:
        accepted = {"present", "no_trade"} | ({"provisional"} if options["provisional"] else set())
        accepted |= {"unverified"} if options["unverified"] else set()
        accepted |= EXPLAINED if options["require"] == "explained" else set()
        return options["require"] == "any" or self.state in accepted


class World:
    """A random store, and its slots."""

    def __init__(self, store: ReadingStore, spellings: tuple[str, str], rng: random.Random) -> None:
        self.store, self.rng, self.spellings = store, rng, spellings
        self.ids = {ticker: store.add_symbol(ticker.removesuffix(".US")) for ticker in TICKERS}
        self.rows: list[tuple[Any, ...]] = []
        self.slots: dict[tuple[str, datetime], Slot] = {}
        for ticker in TICKERS:
            for day in DAYS:
                self.make_session(ticker, day)
        with store.database.transaction() as connection, connection.cursor().copy(_COPY) as copy:
            for row in sorted(self.rows, key=lambda _: rng.random()):
                copy.write_row(row)
        self.add_actions()
        life = {"first_day": DAYS[1], "last_day": DAYS[-1], "has_ended": False, "read_at": NOW}
        store.insert("backfill.listing_lives", symbol_id=self.ids[LATE], **life)
        self.adjusted: dict[tuple[str, datetime | None], dict[tuple[int, datetime], tuple[float, float]]] = {}

    def add_actions(self) -> None:
        known = {"known_after": date(1900, 1, 1), "known_until": NOW.date(), "requested_at": NOW, "read_at": NOW}
        for ticker, symbol_id in self.ids.items():
            for table in ("split_reads", "dividend_reads"):
                self.store.insert(f"backfill.{table}", symbol_id=symbol_id, **known)
            if ticker != TICKERS[0]:
                split = {"ratio": 2, "new_shares": 2, "old_shares": 1, "source": "/splits", "first_seen": NOW}
                self.store.insert("backfill.splits", symbol_id=symbol_id, ex_date=self.rng.choice(DAYS), **split)

    def make_session(self, ticker: str, day: date) -> None:
        slots, rng = [slot for slot in SLOTS if slot[2] == day], self.rng
        if day == DAYS[-1]:
            states = [
                rng.choice(["present", "provisional", "pending"]) if end < NOW else "pending" for _, end, _ in slots
            ]
        else:
            usual = {"whole": ["present"], "gap": ["present", "vendor_gap", "unverified"], "silent": ["no_trade"]}
            odd = ["present"] * 8 + ["provisional", "unverified", "sparse", "doubted", "stands", "missing"]
            kind = rng.choice(["whole", "whole", "whole", "odd", "gap", "silent"])
            states = [rng.choice(usual.get(kind, odd)) for _ in slots]
        for (start, end, _), state in zip(slots, states, strict=True):
            self.make_slot(Slot(ticker, start, end, day, state))
        absent = [at for at, state in enumerate(states) if state == "vendor_gap"]
        if absent:
            ranges = "{" + ",".join(f"[{at},{at + 1})" for at in absent) + "}"
            long_ago = {"requested_at": NOW - timedelta(hours=1), "no_new_data_since": NOW - timedelta(days=18)}
            values = {"not_returned": ranges, "data_until": slots[-1][1], **long_ago}
            self.store.add_evidence(self.ids[ticker], day, **values)
        if "no_trade" in states:
            self.store.insert("backfill.daily_prices", symbol_id=self.ids[ticker], day=day, volume=0, read_at=NOW)
        if rng.random() < 0.5:  # before the open, as of extended hours
            self.add_bar(ticker, slots[0][0] - timedelta(minutes=30), 6)

    def make_slot(self, slot: Slot) -> None:
        self.slots[slot.symbol, slot.start] = slot
        if not slot.has_bar:
            return
        rng = self.rng
        own_rows = None if slot.state == "unverified" else 3 if slot.state == "sparse" else 6
        has_twin = rng.random() < 0.15
        # Of two bars ours counts, under whatever spelling, and of two of other programs the one under 30m.
        first, second = self.spellings
        if has_twin and (self.spellings[1] == "30m" if own_rows is None else rng.random() < 0.5):
            first, second = second, first
        slot.is_own = own_rows is not None
        slot.close, slot.volume, slot.fetched = self.add_bar(
            *(slot.symbol, slot.start, own_rows, slot.state != "provisional"),
            first,
        )
        if has_twin:
            self.add_bar(slot.symbol, slot.start, None, True, second)
        if slot.state in ("doubted", "stands"):
            self.store.add_doubt(self.ids[slot.symbol], slot.start, "stands" if slot.state == "stands" else None)

    def add_bar(
        self, ticker: str, start: datetime, own_rows: int | None, is_final: bool = True, spelling: str | None = None
    ) -> tuple[float, int, datetime | None]:
        rng = self.rng
        close, volume = rng.randrange(10_000, 10_000_000) / 10_000, rng.randrange(10**7)
        fetched = start + timedelta(minutes=rng.randrange(30, 3000)) if own_rows else None
        provenance = ("vendor", "5m", own_rows, is_final, fetched) if own_rows else (None,) * 5
        prices = (close, close + 1, close, close, volume)
        self.rows.append((self.ids[ticker], spelling or self.spellings[0], start, *prices, *provenance))
        return close, volume, fetched

    def adjust(self, slot: Slot, options: dict[str, Any]) -> tuple[float, float]:
        """The close and the volume, as the function of the schema has them."""
        if options["adjustment"] == "none":
            return slot.close, slot.volume
        key = options["adjustment"], options["point_in_time"]
        if key not in self.adjusted:
            with self.store.database.transaction() as connection:
                found = connection.execute(_ADJUSTED, key).fetchall()
            self.adjusted[key] = {}
            for symbol_id, start, close, volume in found:
                self.adjusted[key].setdefault((symbol_id, start), (close, volume))
        return self.adjusted[key][self.ids[slot.symbol], slot.start]


@pytest.fixture(params=["own", "of another program"])
def world(request: pytest.FixtureRequest, create_database: Callable[..., str], home: Path) -> Iterator[World]:
    is_own = request.param == "own"
    url = create_database() if is_own else create_database(None)
    if not is_own:
        create_external_tables(url)
    database = Database(url)
    migrate(database)
    settings = load_settings(database_url=SecretStr(url), home=home, as_of=NOW)
    spellings = ("30m", "30min") if is_own else ("30min", "30m")
    yield World(ReadingStore(database, settings), spellings, random.Random(request.param))
    database.close()


def draw_options(rng: random.Random) -> tuple[list[str], datetime, datetime, dict[str, Any]]:
    def draw_moment() -> datetime:
        start, end, _ = rng.choice(SLOTS)
        near = [start, end, start + timedelta(seconds=rng.randrange(-1900, 1900)), end - timedelta(microseconds=1)]
        return rng.choice(near)

    start, end = sorted([draw_moment(), draw_moment()])
    if rng.random() < 0.3:
        start, end = SLOTS[0][0] - timedelta(hours=8), SLOTS[-1][1] + timedelta(hours=1)
    options = {
        "require": rng.choice(["complete", "explained", "any"]),
        "on_incomplete": rng.choice(["raise", "drop", "drop"]),
        **{name: rng.random() < 0.5 for name in ("provisional", "unverified", "grid")},
        "format": rng.choice(["pandas", "polars", "arrow"]),
        "adjustment": rng.choice(["none", "splits", "splits_and_dividends"]),
        "point_in_time": rng.choice([None, None, draw_moment(), draw_moment() + timedelta(minutes=14)]),
    }
    symbols = rng.choices(TICKERS, k=rng.randrange(1, 7))
    return symbols, start, end + timedelta(seconds=start == end), options


def list_rows(frame: Any, format: str) -> list[tuple[Any, ...]]:  # noqa: A002
    """The rows of a frame in plain values, None for null."""
    if format == "polars":
        return [tuple(row) for row in frame.rows()]
    if format == "arrow":
        return [tuple(row.values()) for row in frame.to_pylist()]
    plain = frame.astype(object).where(frame.notna(), None)
    plain["session"] = [day.date() for day in frame["session"]]
    return [tuple(row) for row in plain.itertuples(index=False)]


def expect_row(world: World, slot: Slot, options: dict[str, Any]) -> tuple[Any, ...]:
    key = slot.symbol, slot.start, slot.end, slot.session
    if not slot.has_bar or (slot.state == "provisional" and not options["provisional"]):
        return (*key, None, None, None, slot.shown_state, None, None)
    close, volume = world.adjust(slot, options)
    return (*key, close, close, volume, slot.shown_state, "vendor" if slot.is_own else None, slot.fetched)


def test_a_read_is_what_a_loop_over_the_slots_finds(world: World) -> None:
    outcomes = Counter[str]()
    for _ in range(READS):
        symbols, start, end, options = draw_options(world.rng)
        outcomes[compare(world, symbols, start, end, options)] += 1
    assert set(outcomes) == {"frame", "IncompleteBars", "PendingSessions"}


def compare(world: World, symbols: list[str], start: datetime, end: datetime, options: dict[str, Any]) -> str:
    """Compare a read with the oracle; returns how it ended."""
    asked, moment = list(dict.fromkeys(symbols)), options["point_in_time"]
    in_window = [s for s in SLOTS if s[0] >= start and s[1] <= end and (moment is None or s[1] + DELAY <= moment)]
    expected = [
        world.slots[symbol, slot[0]] for symbol in asked for slot in in_window if symbol != LATE or slot[2] >= DAYS[1]
    ]
    refused = [slot for slot in expected if not slot.is_accepted(options)]
    incomplete = {slot.symbol for slot in refused}
    kept = [symbol for symbol in asked if symbol not in incomplete]
    if refused and (options["on_incomplete"] == "raise" or not kept):
        kind = PendingSessions if all(slot.is_waiting for slot in refused) else IncompleteBars
        with pytest.raises(ReadRefused) as raised:
            world.store.read(symbols, start, end, **options)
        assert type(raised.value) is kind
        found = Counter((one.symbol, start, one.state) for one in raised.value.problems for start in one.slots)
        assert found == Counter((slot.symbol, slot.start, slot.shown_state) for slot in refused)
        return kind.__name__
    result = world.store.read(symbols, start, end, columns=COLUMNS, **options)
    slots = [slot for slot in expected if slot.symbol in kept]
    rows = [expect_row(world, slot, options) for slot in slots]
    with_bar = [row for row in rows if row[5] is not None]
    assert list_rows(result.frame, options["format"]) == (rows if options["grid"] else with_bar)
    health = result.health
    assert (health.symbols, set(health.dropped)) == (tuple(kept), incomplete)
    assert {state: count for state, count in health.totals.items() if count} == Counter(s.shown_state for s in slots)
    assert health.explained == sum(slot.state in EXPLAINED for slot in slots)
    assert health.is_complete == all(slot.state in ("present", "no_trade") for slot in slots)
    assert sum(len(one.slots) for one in health.problems) == sum(s.state not in ("present", "no_trade") for s in slots)
    later = [row for row in with_bar if moment is not None and (row[-1] is None or row[-1] > moment)]
    assert health.assumed == len(later)
    return "frame"
