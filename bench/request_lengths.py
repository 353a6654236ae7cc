"""Calls for long histories: a ticker's first fill of 90 sessions, and six years of it, beside the least that they cost.

The real engine on the sandbox, which refuses longer requests than the vendor does. Part of ``python -m bench calls``.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import load_settings
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols
from bench.environment import TOKEN
from bench.figures import Figure

NOW = datetime(2026, 10, 10, 12, tzinfo=UTC)
LAST = date(2026, 10, 9)
FEED_BEGIN = date(2020, 10, 12)
FIRST_FILL_SESSIONS = 90


@dataclass(frozen=True)
class LongFill:
    """What a ticker's fill cost.

    Attributes:
        calls: all of it, the daily history that is read before several requests included.
        lower_bound: the fewest intraday requests that the vendor allows, in calls.
        missing: bars that are missing after it.
    """

    calls: int
    lower_bound: int
    missing: int


def build_length_figures() -> Iterator[Figure]:
    """Fill both, and compare what they cost with the lower bound."""
    sessions = list_sessions(US, FEED_BEGIN, LAST)
    for name, first in (
        (f"first fill of {FIRST_FILL_SESSIONS} sessions", sessions[-FIRST_FILL_SESSIONS].day),
        ("six years of 5m", FEED_BEGIN),
    ):
        fill = fill_ticker(first)
        yield Figure(f"one ticker, {name}", "calls", [fill.calls])
        yield Figure("… the fewest requests that the vendor allows", "calls", [fill.lower_bound])
        yield Figure("… relative to them", "×", [fill.calls / fill.lower_bound], at_most=1.05)
        yield Figure("… missing after it", "bars", [fill.missing], at_most=0)


def fill_ticker(first: date) -> LongFill:
    """Fill one ticker from ``first`` on, in a database of its own."""
    config = SandboxConfig(symbols=1, now=NOW, clock_rate=0, history_from=FEED_BEGIN)
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        database = Database(start_embedded_database(Path(folder), "lengths"))
        migrate(database)
        with database.transaction() as connection:
            add_symbols(connection, parse_tickers(["AAPL"]))
        with Sandbox(config) as sandbox:
            engine = Engine(database, load_settings(token=TOKEN, base_url=sandbox.base_url, as_of=NOW))
            job, _ = build_job(engine, JobRequest(start=first, end=LAST))
            lower_bound = engine.plan(job, engine.measure(job)).lower_bound
            result = run_backfill(engine, job, lambda _: None)
        database.close()
    return LongFill(result.calls, lower_bound, result.after.missing)
