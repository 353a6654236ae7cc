"""Ten simulated days with a run every 30 minutes over 200 tickers: the calls, and the delay of bars.

Publication is drawn once per session (3 to 14 h after the close, plus up to 20 minutes per ticker); then independently
per ticker, with several retry schedules.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import load_settings
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.sandbox.config import Publication, SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.sandbox.world.publication import PublicationSchedule
from backfill_assets.sandbox.world.session_index import SessionIndex
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols
from bench.environment import TOKEN, build_symbols
from bench.figures import Figure, Section

TICKERS = 200
FIRST = date(2026, 6, 1)
BEGIN = datetime(2026, 6, 1, 13, 0, tzinfo=UTC)
MINUTES = 30
SCHEDULES = ((1,) * 11 + (24,), (1, 2, 3, 6, 12, 24), (1, 3, 6, 12, 24), (3, 6, 12, 24))


def measure(*, quick: bool) -> Section:  # noqa: ARG001 - has only one size
    """Measure calls relative to the minimum, and delays in minutes."""
    once = Publication((3, 14), 20)
    figures = list(simulate("once per session", once, days=11.9, at_most=1.10))
    for schedule_hours in SCHEDULES:
        name = "per ticker, retry after " + " ".join(str(step) for step in schedule_hours)
        figures += simulate(name, replace(once, draw_per_ticker=True), days=2.9, ladder_hours=schedule_hours)
    return Section(f"Simulated days, {TICKERS} tickers, a run every {MINUTES} minutes", figures)


def simulate(
    name: str, publication: Publication, *, days: float, at_most: float | None = None, **settings: object
) -> Iterator[Figure]:
    """Run one simulation with its own database and sandbox."""
    config = SandboxConfig(symbols=TICKERS, now=BEGIN, clock_rate=0, publication=publication, per_minute=100_000)
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        database = Database(start_embedded_database(Path(folder), "days"))
        migrate(database)
        with database.transaction() as connection:
            add_symbols(connection, parse_tickers(build_symbols(TICKERS)))
        with Sandbox(config) as sandbox:
            chosen = load_settings(token=TOKEN, base_url=sandbox.base_url, requests_per_minute=100_000, **settings)
            last = run_days(Engine(database, chosen), sandbox, days)
            calls = sandbox.stats()["calls"]
        sessions = [s for s in list_sessions(US, FIRST, last.date()) if s.regular_close + timedelta(hours=14.4) < last]
        delays = sorted(compute_delays(database, config))
        database.close()
    ideal = 5 * TICKERS * len(sessions)
    yield Figure(f"{name}: calls relative to the minimum", "×", [calls / ideal], at_most=at_most)
    yield Figure("… minutes from publication to the bars: median", "min", [delays[len(delays) // 2]])
    yield Figure("… the latest", "min", [delays[-1]], at_most=60 if at_most else None)


def run_days(engine: Engine, sandbox: Sandbox, days: float) -> datetime:
    """Run every half hour; return the last moment."""
    now = BEGIN
    while now <= BEGIN + timedelta(days=days):
        sandbox.move_clock(now)
        engine_now = replace(engine, settings=engine.settings.model_copy(update={"as_of": now}))
        job, _ = build_job(engine_now, JobRequest(start=FIRST, end=now.date()))
        run_backfill(engine_now, job, lambda _: None)
        now += timedelta(minutes=MINUTES)
    return now


def compute_delays(database: Database, config: SandboxConfig) -> list[float]:
    """Compute the minutes from publication to the run that stored the session, per ticker and session."""
    schedule = PublicationSchedule(config, SessionIndex(date(2026, 5, 1)))
    with database.transaction() as connection:
        seen = connection.execute(
            "SELECT symbol, session_day, published_at FROM backfill.session_evidence"
            " JOIN market_symbols USING (symbol_id) WHERE is_published AND session_day >= %s",
            [FIRST],
        ).fetchall()
    sessions = {s.day: s for s in list_sessions(US, FIRST, FIRST + timedelta(days=30))}
    return [
        (at.timestamp() - schedule.get_times(symbol, symbol, sessions[day], "5m").first_at) / 60
        for symbol, day, at in seen
    ]
