"""Crypto pairs and currencies through days and nights: the vendor lacks rows for a while, and what comes of it.

The clocks of engine and sandbox move together, half an hour at a time, and each exchange is worked on as the sensor
does. What must come of it is computed here in plain loops over the sandbox's rows.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from math import ceil, inf, isnan

import numpy as np

from backfill_assets.backfill.ask_costs import compute_ask_costs
from backfill_assets.backfill.due_work import DueWork, find_due_work
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_jobs
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.checks import evaluate_all
from backfill_assets.sandbox.around_the_clock import Withheld
from backfill_assets.sandbox.config import ExchangeConfig
from backfill_assets.sandbox.exchange_traits import build_feed
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.sandbox.world.clock_rows import ClockRows
from backfill_assets.sandbox.world.simulation import World
from backfill_assets.store.symbols import add_symbols

HALF_HOUR = 1800
TICK = timedelta(minutes=30)
DAY, TURN = timedelta(days=1), timedelta(hours=6)  # BACKFILL_AROUND_THE_CLOCK_ASK_HOURS
ASKABLE = timedelta(hours=5)  # BACKFILL_ASKABLE_HOURS_1M, from a trade date's close
CALLS = 5  # of a request
RETRIES_OF_A_DAY = 5  # BACKFILL_LADDER_HOURS
OVERDUE_SECONDS = 24 * 3600
SOURCES = {"CC": ("5m", 300), "FOREX": ("1m", 60)}
Bar = tuple[float, float, float, float, float | None]  # open, high, low, close, volume


@dataclass(frozen=True)
class Hole:
    """Rows that the vendor lacks until a moment."""

    exchange: str
    rows: Withheld

    @property
    def ticker(self) -> str:
        """The pair as the vendor writes it."""
        return f"{self.rows.symbol}.{self.exchange}"

    @property
    def starts(self) -> list[int]:
        """The half hours that lack rows, epoch seconds."""
        return list(range(int(self.rows.start.timestamp()), int(self.rows.end.timestamp()), HALF_HOUR))


def punch(ticker: str, start: str, hours: float, until: str) -> Hole:
    """A hole of so many hours from a UTC time on, which the vendor fills at another one."""
    symbol, _, exchange = ticker.rpartition(".")
    opened = utc(start)
    return Hole(exchange, Withheld(symbol, opened, opened + timedelta(hours=hours), utc(until)))


def build_exchanges(symbols: int, holes: Sequence[Hole], since: date) -> dict[str, ExchangeConfig]:
    """The vendor's crypto pairs and currencies with their holes."""
    return {
        code: ExchangeConfig(
            symbols=symbols,
            withheld=tuple(hole.rows for hole in holes if hole.exchange == code),
            history_from=since,
        )
        for code in SOURCES
    }


@dataclass
class AroundTheClock:
    """A store and a vendor of crypto pairs and currencies, and what was seen of them.

    Attributes:
        engine: over the store.
        sandbox: the vendor.
        holes: what the vendor lacks for a while.
        codes: the exchanges.
        now: the time, of the last half hour.
        next_tick: the next half hour.
        started_at: the first one.
        scheduled_at: when the first ask for each hole since the vendor has its rows was due.
        probes: the pairs that were the probe of crypto.
        healed_at: when the bars of each hole were there for the first time.
        asked_at: by ticker, when it was asked for.
        next_look_at: by exchange, before when nothing can be due.
        first_days: by exchange, the first session that was ever in the window.
    """

    engine: Engine
    sandbox: Sandbox
    holes: Sequence[Hole]
    codes: Sequence[str] = tuple(SOURCES)
    now: datetime = field(init=False)
    next_tick: datetime = field(init=False)
    started_at: datetime = field(init=False)
    scheduled_at: dict[Hole, datetime] = field(default_factory=dict)
    probes: set[str] = field(default_factory=set)
    healed_at: dict[Hole, datetime] = field(default_factory=dict)
    asked_at: dict[str, list[datetime]] = field(default_factory=dict)
    next_look_at: dict[str, datetime] = field(default_factory=dict)
    first_days: dict[str, date] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin at the vendor's time."""
        self.now = self.next_tick = self.started_at = self.sandbox.clock.now()

    def add_all_pairs(self) -> None:
        """Put every pair of the vendor into the store."""
        tickers = [f"{symbol}.{code}" for code in self.codes for symbol in self.get_world(code).symbols]
        with self.engine.database.transaction() as connection:
            add_symbols(connection, parse_tickers(tickers))

    def get_world(self, code: str) -> World:
        """The world of an exchange."""
        return self.sandbox.worlds.get_world(code)

    def move(self) -> Engine:
        """Move the clock of the sandbox to ``now``; the engine with this time."""
        self.sandbox.move_clock(self.now)
        return replace(self.engine, settings=self.engine.settings.model_copy(update={"as_of": self.now}))

    def drive_to(self, moment: str, *, with_probes: bool = False) -> None:
        """Let half hours pass up to a UTC time, and at each do what a sensor does.

        A look when nothing can be due is left out: that depends on the time alone until something is asked for.
        Without probes that holds, too, for looks that would ask for nothing but the probe of each half hour.
        """
        last = utc(moment)
        while self.next_tick <= last:
            self.now, self.next_tick = self.next_tick, self.next_tick + TICK
            for code in self.codes:
                if self.now >= self.next_look_at.get(code, self.now):
                    due = self.step(code)
                    if due.ranges:
                        due = self.find_due(code)
                        self._note_holes(code, due.coverage)
                    self.next_look_at[code] = _find_next_look(due.coverage, with_probes)

    def find_due(self, code: str) -> DueWork:
        """What a sensor finds."""
        engine = self.move()
        return find_due_work(engine, engine.settings.get_market(code), "30m")

    def step(self, code: str) -> DueWork:
        """Do what a sensor starts a run for, and note who was asked for and what is there."""
        due, now = self.find_due(code), self.now
        self.first_days.setdefault(code, due.job.window.sessions[0].day)
        probe = due.coverage.request_history.probe_row
        if probe is not None:
            self.probes.add(str(due.coverage.symbols[probe].ticker))
        self._note_holes(code, due.coverage)
        if due.ranges:
            before = dict(self.sandbox.stats()["per_ticker"])
            symbols = tuple(found.symbol for found in due.ranges)
            run_backfill(self.move(), replace(due.job, symbols=symbols), lambda _: None)
            for ticker, count in self.sandbox.stats()["per_ticker"].items():
                self.asked_at.setdefault(ticker, []).extend([now] * (count - before.get(ticker, 0)))
        return due

    def _note_holes(self, code: str, coverage: Coverage) -> None:
        """Note since when a hole's bars are there, and when the first ask since the vendor has them is due."""
        now = self.now
        for hole in self.holes:
            if hole.exchange != code or hole.rows.until is None or hole.rows.until > now or hole in self.healed_at:
                continue
            absent = [next_at for state, next_at in read_slots(coverage, hole) if state is not SlotState.PRESENT]
            if absent:
                self.scheduled_at.setdefault(hole, max(now, datetime.fromtimestamp(min(absent), UTC)))
            else:  # what a look finds came when the ticker was asked for last
                self.healed_at[hole] = self.asked_at[hole.ticker][-1]

    def look(self) -> dict[str, set[str]]:
        """By exchange, the checks that fail over the past 48 hours, and the open findings."""
        engine = self.move()
        jobs, _ = build_jobs(engine, JobRequest())
        found = {}
        for job in jobs:
            coverage = engine.measure(job)
            criteria = evaluate_all(engine.database, engine.settings, coverage, job.source_interval)
            found[job.market.exchange] = {criterion.name for criterion in criteria if not criterion.passed}
        with engine.database.transaction() as connection:
            rows = connection.execute(
                "SELECT kind, subject FROM backfill.findings WHERE resolved_at IS NULL"
            ).fetchall()
        found["findings"] = {f"{kind}: {subject}" for kind, subject in rows}
        return found

    def assert_healed_in_time(self) -> None:
        """Every hole was filled within half an hour of the first ask that was due since the vendor has its rows."""
        for hole in self.holes:
            assert hole in self.healed_at, hole
            late = self.healed_at[hole] - self.scheduled_at[hole]
            assert late <= TICK, (hole, self.scheduled_at[hole], self.healed_at[hole])

    def assert_paid_once(self) -> None:
        """Nothing was asked for twice, and a day cost no more than is printed.

        A crypto pair is asked for when it is its turn, a currency once a trade date: again only while the vendor lacks
        rows of it.
        """
        with_holes = {hole.ticker for hole in self.holes}
        closes = [session.close + ASKABLE for session in self.get_world("FOREX").session_index.sessions]
        dates = sum(self.started_at < askable_at <= self.now for askable_at in closes)
        for ticker, moments in self.asked_at.items():
            if ticker.endswith(".CC"):
                apart = [later - earlier for earlier, later in pairwise(moments)]
                assert ticker in self.probes or min(apart) >= TURN, ticker
            else:
                spare = RETRIES_OF_A_DAY if ticker in with_holes else 0
                assert len(moments) <= 1 + dates + spare, (ticker, moments)
        asked = sum(len(moments) for ticker, moments in self.asked_at.items() if ticker.endswith(".CC"))
        days = (self.now - self.started_at) / DAY
        assert CALLS * asked <= ceil(days) * self.compute_price()
        assert self.sandbox.stats()["calls_by_exchange"]["CC"] == CALLS * asked

    def compute_price(self) -> int:
        """The calls that crypto pairs cost a day, as ``markets show`` prints them."""
        costs = compute_ask_costs(self.engine, self.engine.settings.get_market("CC"))
        assert costs is not None
        return int(costs.as_dict(len(self.get_world("CC").symbols))["calls_a_day"])

    def assert_true_bars(self) -> None:
        """Each stored bar is what a loop over the rows gives, and none is absent or too many."""
        for code in SOURCES:
            stored, wanted = self.read_bars(code), self.build_bars(code)
            overdue = self.now.timestamp() - OVERDUE_SECONDS
            absent = [key for key in wanted if key not in stored and key[1] + HALF_HOUR <= overdue]
            assert not absent, (code, len(absent), absent[:3])
            wrong = {key: (bar, wanted.get(key)) for key, bar in stored.items() if bar != wanted.get(key)}
            assert not wrong, (code, len(wrong), list(wrong.items())[:3])

    def read_bars(self, code: str) -> dict[tuple[str, int], Bar]:
        """The final bars of an exchange, by symbol and epoch seconds."""
        with self.engine.database.transaction() as connection:
            rows = connection.execute(
                "SELECT s.symbol, extract(epoch FROM d.timestamp)::bigint, open_price::float8, high_price::float8,"
                " low_price::float8, close_price::float8, volume::float8"
                " FROM market_data d JOIN market_symbols s USING (symbol_id) WHERE s.exchange = %s AND is_final",
                [code],
            ).fetchall()
        return {(symbol, start): tuple(values) for symbol, start, *values in rows}

    def build_bars(self, code: str) -> dict[tuple[str, int], Bar]:
        """The bars of all half hours of the retained sessions whose rows the vendor has at last."""
        interval, seconds = SOURCES[code]
        world, traits = self.get_world(code), build_feed(code).clock
        assert traits is not None
        source = ClockRows(traits, world.config.seed, world.session_index)
        sessions = world.session_index.sessions[world.session_index.slice_days(self.first_days[code], self.now.date())]
        bars: dict[tuple[str, int], Bar] = {}
        for symbol in world.symbols:
            for session in sessions:
                rows = source.build(symbol, interval, int(session.open.timestamp()), int(session.close.timestamp()) - 1)
                values = zip(rows.timestamps.tolist(), rows.prices.T.tolist(), rows.volumes.tolist(), strict=True)
                for start, bar in aggregate(values, seconds):
                    bars[symbol, start] = bar if code == "CC" else (*bar[:4], None)
        return bars


def aggregate(rows: Iterable[tuple[int, list[float], int]], seconds: int) -> Iterator[tuple[int, Bar]]:
    """The bars of half hours from rows (stamp, four prices, volume): a loop that knows nothing of the program.

    A row without prices, or beside the grid of ``seconds``, is none; of rows with the same time the last one counts. A
    bar's volume is None if a row of it has none (−1).
    """
    kept = {
        stamp: (prices, volume)
        for stamp, prices, volume in rows
        if stamp % seconds == 0 and not isnan(prices[0]) and min(prices) > 0
    }
    by_slot: dict[int, list[tuple[list[float], int]]] = {}
    for stamp in sorted(kept):
        by_slot.setdefault(stamp // HALF_HOUR * HALF_HOUR, []).append(kept[stamp])
    for start, parts in by_slot.items():
        volumes = [volume for _, volume in parts]
        high, low = max(prices[1] for prices, _ in parts), min(prices[2] for prices, _ in parts)
        yield start, (parts[0][0][0], high, low, parts[-1][0][3], float(sum(volumes)) if min(volumes) >= 0 else None)


def _find_next_look(coverage: Coverage, with_probes: bool) -> datetime:
    """When a look can find something due, if nothing is asked for before; within half a day another session begins."""
    states, probe = coverage.slot_states, coverage.request_history.probe_row
    counts = np.ones(len(states.state), bool)
    if probe is not None and not with_probes:
        counts = coverage.open_slots.row != probe
    first = states.next_request_at[counts].min(initial=inf)
    at_most = coverage.now + timedelta(hours=12)
    return min(at_most, datetime.fromtimestamp(first, UTC)) if first < inf else at_most


def read_slots(coverage: Coverage, hole: Hole) -> list[tuple[SlotState, float]]:
    """State and next request (epoch seconds) of a hole's slots that a window has; infinite where none is due."""
    (row,) = (row for row, symbol in enumerate(coverage.symbols) if str(symbol.ticker) == hole.ticker)
    ordinals = coverage.grid.find_ordinals(np.array(hole.starts, np.int64))
    open_keys = coverage.grid.get_slot_keys(coverage.open_slots.row, coverage.open_slots.ordinal)
    positions = {key: at for at, key in enumerate(open_keys.tolist())}
    slots = []
    for key in coverage.grid.get_slot_keys(np.full(len(ordinals), row), ordinals)[ordinals >= 0].tolist():
        at = positions.get(key)
        if at is None:
            slots.append((SlotState.PRESENT, inf))
        else:
            states = coverage.slot_states
            slots.append((SlotState(int(states.state[at])), float(states.next_request_at[at])))
    return slots


def utc(text: str) -> datetime:
    """A UTC time like ``2026-11-01 12:00``."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
