"""Many exchanges under one token, driven through weeks by moving the clocks of engine and sandbox together.

Each exchange is worked on at its own times, through the functions that the sensor and the command line use. What must
come of it is computed here from the sandbox's worlds: which bars, how many requests at least, which slots are open.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from backfill_assets.backfill.due_work import DueWork, find_due_work
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_jobs
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.market.arrays import Floats
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.gaps.slot_states import SlotState
from backfill_assets.quality.checks import evaluate_window
from backfill_assets.sandbox.config import ExchangeConfig, Publication
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.sandbox.world.intraday_columns import aggregate_rows
from backfill_assets.sandbox.world.simulation import World
from backfill_assets.store.symbols import add_symbols

ASKABLE = timedelta(hours=3)  # BACKFILL_ASKABLE_HOURS_5M
OVERDUE_AFTER_HALF = timedelta(hours=6)  # BACKFILL_OVERDUE_AFTER_HALF_HOURS
MINUTE = timedelta(minutes=1)
HALF_HOUR = 1800
IN_TIME = Publication(hours_after_close=(2.5, 2.95))  # before anybody asks
LATE = Publication(hours_after_close=(4.2, 4.4))  # two rounds come too early: after three hours and after four
RETRIES = tuple(timedelta(minutes=minutes) for minutes in (0, 61, 61 + 181))  # BACKFILL_LADDER_HOURS, from askable on


def build_sandbox_options(
    codes: Sequence[str],
    symbols: int,
    *,
    late: Sequence[str] = (),
    never: Mapping[str, frozenset[tuple[str, date]]] | None = None,
    more: Mapping[str, ExchangeConfig] | None = None,
) -> dict[str, Any]:
    """The options of a vendor with so many tickers of each exchange; BHP is one of the US's, too.

    ``late`` are exchanges with a late publication, ``never`` has what they do not publish, ``more`` replaces some.
    """

    def publish(code: str) -> Publication:
        return replace(LATE if code in late else IN_TIME, never_published=(never or {}).get(code, frozenset()))

    exchanges = {
        code: ExchangeConfig(symbols=symbols, publication=publish(code), history_from=date(2023, 10, 2))
        for code in codes
        if code != "US"
    }
    return {
        "symbols": max(1, symbols - 1),
        "more_symbols": ("BHP",),
        "per_minute": 100_000,
        "publication": publish("US"),
        "exchanges": {**exchanges, **(more or {})},
    }


@dataclass
class ManyExchanges:
    """A store and a vendor of several exchanges, and what must have come of what was done so far.

    Attributes:
        engine: over the store.
        sandbox: the vendor.
        codes: the exchanges.
        stored: by ticker, the sessions that must be stored.
        least: by ticker, how many requests were needed at least.
        spare: by exchange, how many requests could bring nothing: one of a round before the publication, else one for
            each ticker that is not published when others are.
    """

    engine: Engine
    sandbox: Sandbox
    codes: tuple[str, ...]
    stored: dict[str, list[Session]] = field(default_factory=dict)
    least: Counter[str] = field(default_factory=Counter)
    spare: Counter[str] = field(default_factory=Counter)

    def get_world(self, code: str) -> World:
        """The world of an exchange."""
        return self.sandbox.worlds.get_world(code)

    def list_tickers(self, code: str) -> list[str]:
        """The tickers of an exchange that are in the store."""
        return [name for name in self.stored if name.endswith(f".{code}")]

    def add_tickers(self, count: int) -> None:
        """Bring every exchange to so many tickers; BHP is the first one in Sydney and New York."""
        for code in self.codes:
            symbols = sorted(self.get_world(code).symbols, key=lambda symbol: symbol != "BHP")
            for symbol in symbols[:count]:
                self.stored.setdefault(f"{symbol}.{code}", [])
        with self.engine.database.transaction() as connection:
            add_symbols(connection, parse_tickers(list(self.stored)))

    def move_to(self, now: datetime) -> Engine:
        """Move both clocks to ``now``; the engine with this time."""
        self.sandbox.move_clock(now)
        return replace(self.engine, settings=self.engine.settings.model_copy(update={"as_of": now}))

    def list_rounds(self, first: date, last: date, late: Sequence[str] = ()) -> list[tuple[datetime, str]]:
        """When each session of each exchange is worked on, in the order of time: as soon as it can be asked for.

        A late exchange is asked again after one hour and after three more, as the schedule of retries has it.
        """
        rounds = []
        for code in self.codes:
            session_index = self.get_world(code).session_index
            for session in session_index.sessions[session_index.slice_days(first, last)]:
                for after in RETRIES if code in late else RETRIES[:1]:
                    rounds.append((session.regular_close + ASKABLE + MINUTE + after, code))
        return sorted(rounds)

    def find_due(self, now: datetime, code: str) -> DueWork:
        """What a sensor finds at ``now``."""
        engine = self.move_to(now)
        return find_due_work(engine, engine.settings.get_market(code), "30m")

    def work(self, now: datetime, code: str) -> None:
        """Do what a sensor starts a run for, and note what must come of it."""
        due = self.find_due(now, code)
        assert due.ranges, (now, code, due.reason)
        self._note_round(now, code)
        symbols = tuple(found.symbol for found in due.ranges)
        run_backfill(self.move_to(now), replace(due.job, symbols=symbols), lambda _: None)

    def _note_round(self, now: datetime, code: str) -> None:
        session_index, kept = self.get_world(code).session_index, self.engine.settings.partition_days
        opened = session_index.find_last_opened(now.timestamp()) + 1
        askable = [s for s in session_index.sessions[opened - kept : opened] if s.regular_close + ASKABLE <= now]
        nothing_new = 0
        for name in self.list_tickers(code):
            new = [s for s in askable if s not in self.stored[name] and self._is_published(name, s, now)]
            self.least[name] += bool(new)
            nothing_new += not new
            self.stored[name] += new
        self.spare[code] += 1 if nothing_new == len(self.list_tickers(code)) else nothing_new

    def _is_published(self, name: str, session: Session, now: datetime) -> bool:
        symbol, _, code = name.rpartition(".")
        return self.get_world(code).get_publication_times(symbol, session, "5m").first_at <= now.timestamp()

    def look(self, now: datetime, codes: Sequence[str] = ()) -> dict[str, set[str]]:
        """Measure as ``verify`` does: the slots of the sessions that must be stored are present, no others.

        Returns:
            By exchange, all or those of ``codes``, the names of the criteria that failed.
        """
        engine = self.move_to(now)
        jobs, unknown = build_jobs(engine, JobRequest())
        assert unknown == ()
        assert tuple(job.market.exchange for job in jobs) == self.codes
        failed = {}
        for job in jobs:
            code, days = job.market.exchange, {session.day for session in job.window.sessions}
            if codes and code not in codes:
                continue
            assert sorted(str(symbol.ticker) for symbol in job.symbols) == sorted(self.list_tickers(code))
            coverage = engine.measure(job)
            sessions = [s for name in self.list_tickers(code) for s in self.stored[name] if s.day in days]
            present = sum(map(count_slots, sessions))
            expected = len(job.symbols) * sum(map(count_slots, job.window.sessions))
            still_open = coverage.count_slots(SlotState.PENDING) + coverage.count_slots(SlotState.MISSING)
            found = {state.name: coverage.count_slots(state) for state in SlotState if coverage.count_slots(state)}
            assert (found.get("PRESENT", 0), still_open) == (present, expected - present), (code, now, found)
            failed[code] = {c.name for c in evaluate_window(engine.database, coverage) if not c.passed}
        return failed

    def assert_true_bars_and_fewest_requests(self) -> None:
        """No stored bar is wrong, absent or too many, and no request was sent that could have been spared."""
        sent = self.sandbox.stats()["per_ticker"]
        for code in self.codes:
            names = sorted(self.list_tickers(code))
            stored = read_bars(self.engine, code, names)
            symbols = [name.rpartition(".")[0] for name in names]
            world = self.get_world(code)
            true = [build_true_bars(world, at, symbols[at], self.stored[name]) for at, name in enumerate(names)]
            assert np.array_equal(stored, np.concatenate(true), equal_nan=True), code
            assert all(sent[name] >= self.least[name] for name in names), code
            assert sum(sent[name] - self.least[name] for name in names) <= self.spare[code], code


def read_bars(engine: Engine, code: str, names: Sequence[str]) -> Floats:
    """The bars of an exchange: position of the ticker, epoch seconds, four prices, volume; shape (bars, 7)."""
    positions = {name.rpartition(".")[0]: at for at, name in enumerate(names)}
    with engine.database.transaction() as connection:
        rows = connection.execute(
            "SELECT s.symbol, extract(epoch FROM d.timestamp)::float8, open_price::float8, high_price::float8,"
            " low_price::float8, close_price::float8, volume::float8"
            " FROM market_data d JOIN market_symbols s USING (symbol_id) WHERE s.exchange = %s",
            [code],
        ).fetchall()
    return np.array(sorted((positions[symbol], *values) for symbol, *values in rows), np.float64).reshape(-1, 7)


def build_true_bars(world: World, at: int, symbol: str, sessions: Sequence[Session]) -> Floats:
    """The bars of a ticker, shape (bars, 7) as ``read_bars`` returns them, with the position ``at``."""
    parts = [np.zeros((0, 7))]
    for session in sessions:
        rows = world.build_traded_rows(symbol, session, "5m", revised=True)
        starts = np.arange(session.open.timestamp(), session.close.timestamp(), HALF_HOUR).astype(np.int64)
        bars = aggregate_rows(rows, starts)
        # A trade whose volume the vendor does not tell counts 0 here: the volume of its bar is not known.
        untold = starts[np.searchsorted(starts, rows.timestamps[rows.volumes == 0], side="right") - 1]
        volumes = np.where(np.isin(bars.timestamps, untold), np.nan, bars.volumes)
        parts.append(np.column_stack([np.full(len(bars), at), bars.timestamps, *bars.prices, volumes]))
    return np.concatenate(parts)


def count_slots(session: Session) -> int:
    """How many half hours a session has, a short last one included."""
    return -(-int((session.close - session.open).total_seconds()) // HALF_HOUR)


def utc(text: str) -> datetime:
    """A UTC time like ``2024-03-10 12:00``."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
