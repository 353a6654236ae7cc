"""Simulated days with a run every 30 minutes: calls and delays while the times of publication are learned.

Each world of ``publication_worlds`` runs for twenty sessions with a database and a sandbox of its own; the ten sessions
after the first ten are judged, where the mark says so.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import load_settings
from backfill_assets.market.arrays import Floats
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.gaps.ask_plans import LATE_AFTER
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols
from bench.environment import TOKEN, build_symbols
from bench.figures import Figure, Section
from bench.publication_worlds import WORLDS, World, build_config, draw_hours, find_optimum, list_world_sessions

TICKERS = 200
SESSIONS, LEARNING = 20, 10
MINUTES = 30
PRICE = 5  # calls of a request
MOST_ABOVE_OPTIMUM = 1.10
WINDOW = timedelta(days=7)
_SELECT_SEEN = """
SELECT symbol, session_day, extract(epoch FROM published_at)::float8 FROM backfill.session_evidence
JOIN market_symbols USING (symbol_id) WHERE is_published
"""


@dataclass(frozen=True, eq=False)
class SimulatedDays:
    """What came of one world.

    Attributes:
        calls: from each session's close to the next one's, shape (sessions,).
        published: hours from the regular close to publication, shape (sessions, tickers).
        stored: the same to the run that stored the bars.
    """

    calls: Floats
    published: Floats
    stored: Floats

    @property
    def delays(self) -> Floats:
        """Minutes from publication to the bars, shape (sessions × tickers,)."""
        return ((self.stored - self.published) * 60).ravel()


def measure(*, quick: bool) -> Section:  # noqa: ARG001 - has only one size
    """Measure calls relative to one request per ticker and session, and delays in minutes."""
    figures = [figure for world in WORLDS for figure in simulate(world)]
    return Section(f"Simulated days, {TICKERS} tickers, {SESSIONS} sessions, a run every {MINUTES} minutes", figures)


def simulate(world: World, tickers: int = TICKERS) -> Iterator[Figure]:
    """Run one world with its own database and sandbox."""
    names = build_symbols(tickers)
    # one session more, so that the last one's stragglers are stored, and the close that ends it
    config, sessions = build_config(world, tickers), list_world_sessions(SESSIONS + 2)
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        database = Database(start_embedded_database(Path(folder), "days"))
        migrate(database)
        with database.transaction() as connection:
            add_symbols(connection, parse_tickers(names))
        with Sandbox(config) as sandbox:
            settings = load_settings(token=TOKEN, base_url=sandbox.base_url, requests_per_minute=100_000)
            calls = run_days(Engine(database, settings), sandbox, sessions)
        stored = read_stored(database, names, sessions[:SESSIONS])
        days = SimulatedDays(calls[:SESSIONS], draw_hours(config, names, SESSIONS), stored)
        database.close()
    for label, judged in (("sessions 1 to 10", slice(0, LEARNING)), ("11 to 20", slice(LEARNING, SESSIONS))):
        part = SimulatedDays(days.calls[judged], days.published[judged], days.stored[judged])
        is_judged = judged.start > 0 or not world.warms_up
        yield from _build_figures(world, config, names, part, f"{world.name}, {label}", is_judged=is_judged)


def run_days(engine: Engine, sandbox: Sandbox, sessions: Sequence[Session]) -> Floats:
    """Run every half hour from the first session's close; returns the calls from each close to the next one."""
    calls = []
    for session, following in pairwise(sessions):
        now = session.regular_close
        before = sandbox.stats()["calls"]
        while now < following.regular_close:
            sandbox.move_clock(now)
            engine_now = replace(engine, settings=engine.settings.model_copy(update={"as_of": now}))
            start = max(sessions[0].day, session.day - WINDOW)
            job, _ = build_job(engine_now, JobRequest(start=start, end=now.date()))
            run_backfill(engine_now, job, lambda _: None)
            now += timedelta(minutes=MINUTES)
        calls.append(sandbox.stats()["calls"] - before)
    return np.array(calls, float)


def read_stored(database: Database, tickers: Sequence[str], sessions: Sequence[Session]) -> Floats:
    """The hours from the regular close to the run that stored each ticker's sessions; shape (sessions, tickers)."""
    with database.transaction() as connection:
        seen = {(symbol, day): at for symbol, day, at in connection.execute(_SELECT_SEEN)}
    closes = {session.day: session.regular_close.timestamp() for session in sessions}
    return np.array([[seen.get((name, s), np.nan) - closes[s] for name in tickers] for s in closes]) / 3600


def _build_figures(
    world: World, config: SandboxConfig, tickers: list[str], days: SimulatedDays, name: str, *, is_judged: bool
) -> Iterator[Figure]:
    marks = world if is_judged else replace(world, most_calls=None, most_median=None, most_p95=None, most_at_all=None)
    delays = np.sort(days.delays)
    foresight = PRICE * days.published.size
    optimum = find_optimum(world, config, tickers, float((delays <= 90).mean()))
    late = (days.published <= 15) & ~(days.stored <= 16)
    calls = days.calls.sum() / foresight
    yield Figure(f"{name}: calls relative to foresight", "×", [calls], at_most=marks.most_calls)
    yield Figure("… the optimum that knows the distribution, with as many within 90 minutes", "×", [optimum])
    if marks.most_median == LATE_AFTER * MINUTES:
        floor = find_optimum(world, config, tickers, 0.5)
        yield Figure(
            "… the optimum with the marks' median and all of 07:00 by 08:00: no plan needs fewer", "×", [floor]
        )
    yield Figure(
        "… relative to that optimum", "×", [calls / optimum], at_most=MOST_ABOVE_OPTIMUM if is_judged else None
    )
    yield Figure(
        "… minutes from publication to the bars: median", "min", [np.median(delays)], at_most=marks.most_median
    )
    yield Figure("… 95 %", "min", [np.percentile(delays, 95)], at_most=marks.most_p95)
    yield Figure("… the latest", "min", [delays[-1]], at_most=marks.most_at_all)
    yield Figure("… published by 07:00 and not stored by 08:00", "sessions", [float(late.sum())], at_most=0)
