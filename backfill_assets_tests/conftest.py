"""Fixtures every test may use: a real PostgreSQL, a database of its own per test, a sandbox over HTTP."""

import json
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import release_embedded_server, start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.moving_clock import Clockwork

Sandboxed = Callable[..., Sandbox]
RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data"
NOW = datetime(2026, 6, 3, 14, 0, tzinfo=UTC)  # Wednesday 10:00 in New York; Monday and Tuesday are overdue


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the tests last that can last: short in the suite, long in ``make soak``."""
    parser.addoption("--kills", type=int, default=3, help="how often test_killed kills a run")
    parser.addoption("--outage", type=float, default=2.0, help="for how many seconds test_outages stops PostgreSQL")
    parser.addoption("--examples", type=int, default=6, help="how many worlds test_healing draws")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the person who runs the tests reaches them."""
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.alias), raising=False)


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """Not under pytest's own folders: another pytest session cleans those up while a server runs there."""
    with tempfile.TemporaryDirectory(prefix="backfill-tests-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
        release_embedded_server(Path(folder))


@pytest.fixture(scope="session")
def template_url(home: Path) -> str:
    """A migrated database that tests clone; nobody may stay connected to it."""
    url = start_embedded_database(home, "template_bars")
    with psycopg.connect(url, autocommit=True) as connection:  # a thousand databases that nobody needs tomorrow
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
        connection.execute("SELECT pg_reload_conf()")
    database = Database(url)
    migrate(database)
    database.close()
    return url


@pytest.fixture(scope="session")
def new_database(template_url: str) -> Callable[[str | None], str]:
    """Make a database, cloned from the migrated template or (None) empty; returns its address."""
    made = 0

    def make(template: str | None = "template_bars") -> str:
        nonlocal made
        made += 1
        name = f"test_{made}"
        maintenance = psycopg.conninfo.make_conninfo(template_url, dbname="postgres")
        with psycopg.connect(maintenance, autocommit=True) as connection:
            clone = f"TEMPLATE {template} STRATEGY FILE_COPY" if template else ""
            connection.execute(f"CREATE DATABASE {name} {clone}".encode())
        return psycopg.conninfo.make_conninfo(template_url, dbname=name)

    return make


@pytest.fixture
def database_url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def settings(database_url: str, home: Path) -> Settings:
    """As a user's, on a fixed clock and with a window short enough for tests."""
    return load_settings(database_url=SecretStr(database_url), home=home, token=SecretStr("test-token-4711"), as_of=NOW)


@pytest.fixture
def sandboxed() -> Iterator[Callable[..., Sandbox]]:
    """Start sandboxes that end with the test; their clock stands at NOW unless told otherwise."""
    running: list[Sandbox] = []

    def start(**config: Any) -> Sandbox:
        sandbox = Sandbox(SandboxConfig(**{"now": NOW, "clock_rate": 0.0, **config}))
        sandbox.__enter__()
        running.append(sandbox)
        return sandbox

    yield start
    for sandbox in running:
        sandbox.__exit__(None, None, None)


@pytest.fixture
def engine_on(database: Database, settings: Settings) -> Callable[..., Engine]:
    """An engine that asks a sandbox, over a universe of the given symbols."""

    def make(sandbox: Sandbox, symbols: tuple[str, ...] = ("AAPL",), **overrides: Any) -> Engine:
        with database.transaction() as connection:
            add_symbols(connection, parse_tickers(symbols))
        return Engine(database, settings.model_copy(update={"base_url": sandbox.base_url, **overrides}))

    return make


@pytest.fixture
def live_clock(engine_on: Callable[..., Engine], sandboxed: Callable[..., Sandbox]) -> Callable[..., Clockwork]:
    """An engine with live collection on, and a sandbox of ``config``, on the clock of Tuesday's session."""

    def make(tickers: tuple[str, ...] = ("AAPL",), live: dict[str, Any] | None = None, **config: Any) -> Clockwork:
        sandbox = sandboxed(per_minute=100_000, **config)
        chosen = {"requests_per_minute": 100_000, "live": True, **(live or {})}
        return Clockwork(engine_on(sandbox, tickers, **chosen), sandbox, date(2026, 6, 2))

    return make


def job(engine: Engine, **wish: Any) -> BackfillJob:
    return build_job(engine, JobRequest(**wish))[0]


def monday_and_tuesday(engine: Engine, **wish: Any) -> BackfillJob:
    return job(engine, start=date(2026, 6, 1), end=date(2026, 6, 2), **wish)


def recorded(name: str) -> Any:
    """A file of the recorded vendor sessions; skips where they are not beside the checkout."""
    path = RECORDED / name
    if not path.exists():
        pytest.skip(f"recorded session {name} is not beside the checkout ({RECORDED})")
    return json.loads(path.read_text())


def bars_in(database: Database, symbol: str, interval: str = "30m") -> list[tuple[Any, ...]]:
    """The bars of a symbol as (epoch, open, high, low, close, volume), oldest first."""
    with database.transaction() as connection:
        return connection.execute(
            "SELECT extract(epoch FROM d.timestamp)::bigint, open_price::float8, high_price::float8,"
            " low_price::float8, close_price::float8, volume"
            " FROM market_data d JOIN market_symbols s USING (symbol_id)"
            " WHERE s.symbol = %s AND d.interval_type = %s ORDER BY 1",
            [symbol, interval],
        ).fetchall()
