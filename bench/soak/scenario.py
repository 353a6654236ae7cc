"""The scenario of a soak test: a database and a sandbox with one simulated clock, and methods to run backfills."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from backfill_assets.backfill.daily_reading import read_daily_data
from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.results import RunResult
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.config.settings import load_settings
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import Symbol, parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.sandbox.config import DataQuirks, Publication, SandboxConfig
from backfill_assets.sandbox.oddities import OddityRates
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols, list_symbols
from backfill_assets_tests.embedded_server import release_embedded_server
from bench.environment import TOKEN, build_symbols
from bench.trusted_bars import TableCheck, check_bars

TICKERS, ADDED_TICKERS, IN_FLIGHT = 40, 14, 4  # at the start, added at each step, requests at once
MAX_TICKERS = 5000
# Without quirks that change values that no rule finds improbable: both tables must be right in the end. Of the
# improbable ones each kind is on.
QUIRKS = replace(
    DataQuirks.build_realistic(),
    revisions=0.0,
    cumulative_volume_months=0.0,
    oddities=OddityRates.build_all(per_session=0.01, per_period=0.5),
)
PUBLICATION = Publication(hours_after_close=(2.5, 9.0), ticker_delay_minutes=30)
ENVIRONMENT = {
    "EODHD_REQUESTS_PER_MINUTE": "100000",
    "BACKFILL_RATE_WINDOW_SECONDS": "2",
    "BACKFILL_REQUEST_TIMEOUT_SECONDS": "3",
    "BACKFILL_BACKOFF_SECONDS": "[0.01, 0.1]",
    "BACKFILL_IN_FLIGHT_START": str(IN_FLIGHT),
    "BACKFILL_IN_FLIGHT_MAX": str(IN_FLIGHT),
    "BACKFILL_DATABASE_PATIENCE_SECONDS": "20",
}
START = datetime(2022, 1, 1, tzinfo=UTC)


@dataclass(eq=False)
class Scenario:
    """A database, a sandbox, and the time of both."""

    home: Path
    url: str
    engine: Engine
    sandbox: Sandbox
    first: date
    now: datetime
    symbols: list[str] = field(default_factory=list)
    exits: dict[int, int] = field(default_factory=dict)

    def move_to(self, now: datetime) -> None:
        """Move both clocks."""
        self.now = now
        self.sandbox.move_clock(now)

    def add_tickers(self, count: int) -> None:
        """Add tickers to the universe; their sessions since ``first`` are missing."""
        more = build_symbols(MAX_TICKERS)[len(self.symbols) :][:count]
        with self.engine.database.transaction() as connection:
            add_symbols(connection, parse_tickers(more))
        self.symbols += more

    def run_backfill(self, **request: Any) -> RunResult:
        """Run a backfill of all sessions since ``first`` in this process."""
        engine = self._engine_now
        job, _ = build_job(engine, JobRequest(start=self.first, end=self.now.date(), **request))
        return run_backfill(engine, job, lambda _: None)

    def start_process(self, **environment: str) -> "subprocess.Popen[str]":
        """Start the same backfill in its own process."""
        variables = {
            "DATABASE_URL": self.url,
            "EODHD_BASE_URL": self.sandbox.base_url,
            "EODHD_API_TOKEN": TOKEN,
            "BACKFILL_AS_OF": self.now.isoformat(),
            **ENVIRONMENT,
            **environment,
        }
        days = ["--start", str(self.first), "--end", str(self.now.date())]
        return subprocess.Popen(
            [sys.executable, "-m", "backfill_assets", "run", "--quiet", *days],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for_exit(self, run: "subprocess.Popen[str]") -> int:
        """Wait for a process and count its exit code; fail on a traceback or an undocumented code."""
        out, _ = run.communicate(timeout=120)
        assert run.returncode in {0, 3, 4, 5, 6, -9}, out
        assert "Traceback" not in out, out
        assert "bug:" not in out, out
        self.exits[run.returncode] = self.exits.get(run.returncode, 0) + 1
        return run.returncode

    @property
    def request_count(self) -> int:
        """The number of intraday requests so far."""
        return int(sum(self.sandbox.stats()["per_ticker"].values()))

    @property
    def calls(self) -> int:
        """The calls billed so far."""
        return int(self.sandbox.stats()["calls"])

    def read_daily_data(self) -> None:
        """Read the daily data that are due, as it is done every morning."""
        read_daily_data(self._engine_now, US)

    def check_bars(self) -> TableCheck:
        """Compare the stored bars since ``first`` with the true ones."""
        sessions = list_sessions(US, self.first, self.now.date())
        past = tuple(session for session in sessions if session.close <= self.now)
        return check_bars(self.engine, self.sandbox.world, self._list_symbols(), past)

    def _list_symbols(self) -> tuple[Symbol, ...]:
        with self.engine.database.transaction() as connection:
            return tuple(list_symbols(connection, "US"))

    @property
    def _engine_now(self) -> Engine:
        return replace(self.engine, settings=self.engine.settings.model_copy(update={"as_of": self.now}))


@contextmanager
def open_scenario(home: Path, **sandbox: Any) -> Iterator[Scenario]:
    """Open an empty database under ``home`` with a universe, and a sandbox; both end with the context."""
    config = SandboxConfig(
        symbols=MAX_TICKERS + 100,
        clock_rate=0.0,
        latency_ms=(10, 30),
        per_minute=1_000_000,
        publication=PUBLICATION,
        quirks=QUIRKS,
        **sandbox,
    )
    url = start_embedded_database(home, "bars")
    database = Database(url, max_wait_seconds=20)
    migrate(database)
    with Sandbox(config) as vendor:
        settings = load_settings(
            token=SecretStr(TOKEN),
            base_url=vendor.base_url,
            requests_per_minute=100_000,
            in_flight_start=IN_FLIGHT,
            in_flight_max=IN_FLIGHT,
            request_timeout_seconds=3,
            backoff_seconds=(0.01, 0.1),
            rate_window_seconds=2,
        )
        scenario = Scenario(home, url, Engine(database, settings), vendor, START.date(), START)
        scenario.add_tickers(TICKERS)
        yield scenario
    database.close()
    release_embedded_server(home)
