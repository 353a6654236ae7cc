"""One market, one database and one vendor under one simulated clock, and the ways to run a backfill on them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.backfill.results import RunResult
from backfill_assets.config.settings import load_settings
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.sandbox.config import DataQuirks, Publication, SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import release_embedded_server, start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols
from bench.stage import TOKEN, universe

TICKERS, ADDED, IN_FLIGHT = 40, 14, 4  # at first, at each step, requests at once
MOST_TICKERS = 5000
# What differs by when it is asked for is left out: both tables must be the same in the end.
TRAITS = replace(DataQuirks.build_realistic(), revisions=0.0, cumulative_volume_months=0.0)
PUBLICATION = Publication(hours_after_close=(2.5, 9.0), ticker_delay_minutes=30)
CHANGED = {
    "EODHD_REQUESTS_PER_MINUTE": "100000",
    "BACKFILL_RATE_WINDOW_SECONDS": "2",
    "BACKFILL_REQUEST_TIMEOUT_SECONDS": "3",
    "BACKFILL_BACKOFF_SECONDS": "[0.01, 0.1]",
    "BACKFILL_IN_FLIGHT_START": str(IN_FLIGHT),
    "BACKFILL_IN_FLIGHT_MAX": str(IN_FLIGHT),
    "BACKFILL_DATABASE_PATIENCE_SECONDS": "20",
}
NOT_YET = datetime(2022, 1, 1, tzinfo=UTC)
BARS = """
SELECT s.symbol, d.timestamp, open_price, high_price, low_price, close_price, volume, is_final, source_rows, source
FROM market_data d JOIN market_symbols s USING (symbol_id) WHERE d.timestamp >= %s ORDER BY 1, 2
"""


@dataclass(eq=False)
class Scene:
    """A database, its vendor and the moment both are at."""

    home: Path
    url: str
    engine: Engine
    sandbox: Sandbox
    first: date
    now: datetime
    symbols: list[str] = field(default_factory=list)
    exits: dict[int, int] = field(default_factory=dict)

    def at(self, now: datetime) -> None:
        """Move both clocks."""
        self.now = now
        self.sandbox.move_clock(now)

    def grow(self, count: int) -> None:
        """Add tickers to the universe: their sessions since the stretch began are missing."""
        more = universe(MOST_TICKERS)[len(self.symbols) :][:count]
        with self.engine.database.transaction() as connection:
            add_symbols(connection, parse_tickers(more))
        self.symbols += more

    def run(self, **wish: Any) -> RunResult:
        """A backfill over everything since the stretch began, in this process."""
        engine = replace(self.engine, settings=self.engine.settings.model_copy(update={"as_of": self.now}))
        job, _ = build_job(engine, JobRequest(start=self.first, end=self.now.date(), **wish))
        return engine.run(job, lambda _: None)

    def start(self, **environment: str) -> "subprocess.Popen[str]":
        """The same as a process of its own."""
        chosen = {
            "DATABASE_URL": self.url,
            "EODHD_BASE_URL": self.sandbox.base_url,
            "EODHD_API_TOKEN": TOKEN,
            "BACKFILL_AS_OF": self.now.isoformat(),
            **CHANGED,
            **environment,
        }
        days = ["--start", str(self.first), "--end", str(self.now.date())]
        return subprocess.Popen(
            [sys.executable, "-m", "backfill_assets", "run", "--quiet", *days],
            env={**os.environ, **chosen},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ended(self, run: "subprocess.Popen[str]") -> int:
        """Wait for a process and count its exit code; a traceback or a code that means nothing is a failure."""
        out, _ = run.communicate(timeout=120)
        assert run.returncode in {0, 3, 4, 5, 6, -9}, out
        assert "Traceback" not in out, out
        assert "bug:" not in out, out
        self.exits[run.returncode] = self.exits.get(run.returncode, 0) + 1
        return run.returncode

    @property
    def asked(self) -> int:
        """Intraday requests so far."""
        return int(sum(self.sandbox.stats()["per_ticker"].values()))

    @property
    def calls(self) -> int:
        """What the vendor billed so far."""
        return int(self.sandbox.stats()["calls"])

    def bars(self) -> list[tuple[Any, ...]]:
        """The table since the stretch began."""
        with self.engine.database.transaction() as connection:
            since = datetime.combine(self.first, datetime.min.time(), self.now.tzinfo) - timedelta(hours=1)
            return connection.execute(BARS.encode(), [since]).fetchall()


@contextmanager
def scene(home: Path, **sandbox: Any) -> Iterator[Scene]:
    """An empty database under ``home`` with a universe, and a vendor; all ends with the context."""
    config = SandboxConfig(
        symbols=MOST_TICKERS + 100,
        clock_rate=0.0,
        latency_ms=(10, 30),
        per_minute=1_000_000,
        publication=PUBLICATION,
        quirks=TRAITS,
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
        begun = Scene(home, url, Engine(database, settings), vendor, NOT_YET.date(), NOT_YET)
        begun.grow(TICKERS)
        yield begun
    database.close()
    release_embedded_server(home)
