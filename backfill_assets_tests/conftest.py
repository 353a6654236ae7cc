"""Fixtures for all tests: a PostgreSQL server, a new database per test, sandboxes over HTTP, recorded data."""

import csv
import json
import shutil
import signal
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
from pydantic import SecretStr

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.backfill.job_request import JobRequest, build_job
from backfill_assets.config.calendar_cache import CalendarCache
from backfill_assets.config.garbage_collection import collect_less_often
from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.market.calendar import calendar_tables
from backfill_assets.market.calendar.calendar_tables import TableReader
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests import processes
from backfill_assets_tests.embedded_server import release_embedded_server
from backfill_assets_tests.moving_clock import MovingClock
from backfill_assets_tests.plain_table import create_plain_table

StartSandbox = Callable[..., Sandbox]
FIXTURES = Path(__file__).parent / "fixtures"
MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - a file system in memory on Linux
MIN_FREE_BYTES = 2 * 1024**3  # several times what the server needs
NOW = datetime(2026, 6, 3, 14, 0, tzinfo=UTC)  # Wednesday 10:00 in New York; Monday and Tuesday are overdue

hypothesis.settings.register_profile(
    "any speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any speed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options for the size of the tests that ``make soak`` runs longer."""
    parser.addoption("--kills", type=int, default=3, help="how many runs test_killed_runs kills")
    parser.addoption("--outage", type=float, default=2.0, help="for how many seconds test_outages stops PostgreSQL")
    parser.addoption("--examples", type=int, default=6, help="how many weeks test_random_gaps_heal draws")


def pytest_configure() -> None:
    """Give child processes the default reaction to signals, and let the garbage collector run as in our programs.

    ``nohup`` and the background of a script leave signals ignored, and a child inherits that. A Python handler
    that does nothing ignores them here as well, but the system replaces it by the default in each child.
    """
    collect_less_often()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
        elif number == signal.SIGTERM:
            signal.signal(number, signal.default_int_handler)  # ends the tests as Ctrl-C does, fixtures included


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import only modules that name the marker, if tests with one marker are chosen (``-m long``).

    Importing all modules takes ten seconds of processor time in each process.
    """
    marker = config.option.markexpr
    if collection_path.suffix != ".py" or not marker.isidentifier():
        return None
    return f"mark.{marker}" not in collection_path.read_text() or None


@pytest.fixture(scope="session")
def cache_home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's cache that all test processes share, so that each calendar is built once and not by every process.

    Its name holds what the code that builds calendars is: after a change they are built anew.
    """
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    source = b"".join(path.read_bytes() for path in sorted(Path(calendar_tables.__file__).parent.glob("*.py")))
    return (cache.mkdir("calendars") if cache else tmp_path_factory.getbasetemp()) / f"{zlib.crc32(source):08x}"


@pytest.fixture(scope="session")
def shared_calendars(cache_home: Path) -> TableReader:
    """The reader of calendars from ``cache_home``; a test that uses another one puts it back."""
    return CalendarCache(cache_home / "backfill_assets" / "calendars").read


@pytest.fixture(scope="session", autouse=True)
def _use_shared_calendars(shared_calendars: TableReader) -> None:
    calendar_tables.use_table_reader(shared_calendars)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, cache_home: Path) -> None:
    """Remove all settings of the package from the environment, and keep calendars out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.alias), raising=False)


@pytest.fixture(scope="session")
def home(cache_home: Path) -> Iterator[Path]:
    """The home folder of the tests' PostgreSQL, in memory if enough is free there.

    It is not under pytest's own folders, because another pytest session may remove those while the server runs.
    """
    in_memory = MEMORY_FOLDER.is_dir() and shutil.disk_usage(MEMORY_FOLDER).free > MIN_FREE_BYTES
    options: dict[str, Any] = {"dir": MEMORY_FOLDER} if in_memory else {}
    with tempfile.TemporaryDirectory(prefix="backfill-tests-", ignore_cleanup_errors=True, **options) as folder:
        processes.start_watchdog(Path(folder))
        (Path(folder) / "calendars").symlink_to(cache_home / "backfill_assets" / "calendars")
        yield Path(folder)
        release_embedded_server(Path(folder))
        processes.stop_watchdogs()


@pytest.fixture(scope="session")
def template_url(home: Path) -> str:
    """The address of a migrated database that tests clone; no connection to it may stay open."""
    url = start_embedded_database(home, "template_bars")
    with psycopg.connect(url, autocommit=True) as connection:  # these databases need not survive a crash
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "autovacuum = off"):
            connection.execute(f"ALTER SYSTEM SET {setting}".encode())
        connection.execute("ALTER SYSTEM SET max_wal_size = '128MB'")
        connection.execute("SELECT pg_reload_conf()")
    database = Database(url)
    migrate(database)
    database.close()
    return url


@pytest.fixture(scope="session")
def plain_template_url(template_url: str) -> str:
    """As ``template_url``, with the plain table of bars that an earlier version made; ``template_plain``."""
    url = psycopg.conninfo.make_conninfo(template_url, dbname="template_plain")
    with psycopg.connect(template_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_plain")
    create_plain_table(url)
    database = Database(url)
    migrate(database)
    database.close()
    return url


class Databases:
    """Databases on the tests' server."""

    def __init__(self, template_url: str) -> None:
        self._url = template_url
        self._maintenance: psycopg.Connection[Any] | None = None
        self._count = 0
        self.names: list[str] = []  # existing databases

    def create(self, template: str | None = "template_bars") -> str:
        """Create a database, a clone of the migrated template or (None) an empty one; returns its address."""
        self._count += 1
        name = f"test_{self._count}"
        clone = f"TEMPLATE {template} STRATEGY FILE_COPY" if template else "STRATEGY FILE_COPY"
        self._execute(f"CREATE DATABASE {name} {clone}")
        self.names.append(name)
        return psycopg.conninfo.make_conninfo(self._url, dbname=name)

    def drop(self, names: list[str]) -> None:
        """Drop databases, also if clients are still connected."""
        for name in names:
            self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            self.names.remove(name)

    def close(self) -> None:
        """Close the connection that databases are created over."""
        if self._maintenance:
            self._maintenance.close()

    def _execute(self, statement: str) -> None:
        self._connect().execute(statement.encode())

    def _connect(self) -> psycopg.Connection[Any]:
        """The open connection, or another one where a test has ended its session: nearly every test needs it twice."""
        try:
            if self._maintenance:
                self._maintenance.execute("")
                return self._maintenance
        except psycopg.OperationalError:
            self.close()
        address = psycopg.conninfo.make_conninfo(self._url, dbname="postgres")
        self._maintenance = psycopg.connect(address, autocommit=True)
        return self._maintenance


@pytest.fixture(autouse=True)
def _end_processes() -> Iterator[None]:
    """End the child processes that a test left running."""
    yield
    processes.end_processes()


@pytest.fixture(scope="session")
def databases(template_url: str) -> Iterator[Databases]:
    created = Databases(template_url)
    yield created
    created.close()


@pytest.fixture(autouse=True)
def _drop_databases(request: pytest.FixtureRequest) -> Iterator[None]:
    """Drop the databases of a test when the test is over."""
    if "databases" not in request.fixturenames:
        yield
        return
    databases: Databases = request.getfixturevalue("databases")
    before = list(databases.names)
    yield
    databases.drop([name for name in databases.names if name not in before])


@pytest.fixture(scope="session")
def create_database(databases: Databases) -> Callable[..., str]:
    """Create a database, cloned from the migrated template or (None) empty; returns its address."""
    return databases.create


@pytest.fixture
def database_url(create_database: Callable[[], str]) -> str:
    return create_database()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def settings(database_url: str, home: Path) -> Settings:
    """Settings with a fixed clock and without the morning's daily data, so that calls are those of what is tested.

    The timeout is so long that no request is repeated on a slow machine.
    """
    return load_settings(
        database_url=SecretStr(database_url),
        home=home,
        token=SecretStr("test-token-4711"),
        as_of=NOW,
        request_timeout_seconds=600,
        daily_data=False,
    )


@pytest.fixture(scope="session")
def end_in_background() -> Iterator[Callable[[Sandbox], None]]:
    """End a sandbox while the next tests run: its server takes up to 0.2 s of waiting, and most tests have one."""
    with ThreadPoolExecutor() as executor:
        ending: list[Future[None]] = []
        yield lambda sandbox: ending.append(executor.submit(sandbox.__exit__, None, None, None))
        for future in ending:
            future.result()


@pytest.fixture
def start_sandbox(end_in_background: Callable[[Sandbox], None]) -> Iterator[Callable[..., Sandbox]]:
    """Start a sandbox that ends with the test; its clock stands at NOW unless ``config`` has another time."""
    running: list[Sandbox] = []

    def start(**config: Any) -> Sandbox:
        sandbox = Sandbox(SandboxConfig(**{"now": NOW, "clock_rate": 0.0, **config}))
        sandbox.__enter__()
        running.append(sandbox)
        return sandbox

    yield start
    for sandbox in running:
        end_in_background(sandbox)


@pytest.fixture
def make_engine(database: Database, settings: Settings) -> Callable[..., Engine]:
    """Make an engine that sends its requests to a sandbox, with the given symbols in the store."""

    def make(sandbox: Sandbox, symbols: tuple[str, ...] = ("AAPL",), **overrides: Any) -> Engine:
        with database.transaction() as connection:
            add_symbols(connection, parse_tickers(symbols))
        return Engine(database, settings.model_copy(update={"base_url": sandbox.base_url, **overrides}))

    return make


@pytest.fixture
def make_live_clock(
    make_engine: Callable[..., Engine], start_sandbox: Callable[..., Sandbox]
) -> Callable[..., MovingClock]:
    """Make an engine with live collection and a sandbox with ``config``, whose clocks the test moves together."""

    def make(tickers: tuple[str, ...] = ("AAPL",), live: dict[str, Any] | None = None, **config: Any) -> MovingClock:
        sandbox = start_sandbox(per_minute=100_000, **config)
        chosen = {"requests_per_minute": 100_000, "live": True, **(live or {})}
        return MovingClock(make_engine(sandbox, tickers, **chosen), sandbox, date(2026, 6, 2))

    return make


def make_job(engine: Engine, **options: Any) -> BackfillJob:
    return build_job(engine, JobRequest(**options))[0]


def make_monday_tuesday_job(engine: Engine, **options: Any) -> BackfillJob:
    return make_job(engine, start=date(2026, 6, 1), end=date(2026, 6, 2), **options)


def read_recorded_rows(name: str) -> list[dict[str, Any]]:
    """A file of ``fixtures/``, for instance ``AAPL_5m_2026-06-01``, as a list of the vendor's JSON objects."""
    day = date.fromisoformat(name.rsplit("_", 1)[1])
    midnight = datetime.combine(day, time(), UTC)
    rows = []
    with (FIXTURES / f"{name}.csv").open(newline="") as file:
        for fields in csv.DictReader(file):
            hours, minutes = fields.pop("start").split(":")
            start = midnight + timedelta(hours=int(hours), minutes=int(minutes))
            stamps = {"timestamp": int(start.timestamp()), "gmtoffset": 0, "datetime": f"{start:%Y-%m-%d %H:%M:%S}"}
            rows.append({**stamps, **{field: _parse_number(text) for field, text in fields.items()}})
    return rows


def read_recorded_bars(name: str) -> list[dict[str, Any]]:
    """A file of 30-minute bars of ``fixtures/``: timestamp (epoch seconds), prices and volume."""
    stamps = ("gmtoffset", "datetime")
    return [{field: value for field, value in row.items() if field not in stamps} for row in read_recorded_rows(name)]


def _parse_number(text: str) -> float | None:
    """Convert to None, int or float, as JSON has them."""
    if not text:
        return None
    return float(text) if "." in text else int(text)


@pytest.fixture
def replay_folder(tmp_path: Path) -> Path:
    """A folder with both recorded days, in the form that the sandbox replays."""
    folder = tmp_path / "replay"
    folder.mkdir()
    for interval, day in (("5m", "2026-06-01"), ("1m", "2025-01-15")):
        body = json.dumps(read_recorded_rows(f"AAPL_{interval}_{day}"))
        (folder / f"intraday_AAPL.US_{interval}_{day}.json").write_text(body)
    return folder


def read_stored_bars(database: Database, symbol: str, interval: str = "30m") -> list[tuple[Any, ...]]:
    """The bars of a symbol as (epoch, open, high, low, close, volume), oldest first."""
    with database.transaction() as connection:
        return connection.execute(
            "SELECT extract(epoch FROM d.timestamp)::bigint, open_price::float8, high_price::float8,"
            " low_price::float8, close_price::float8, volume"
            " FROM market_data d JOIN market_symbols s USING (symbol_id)"
            " WHERE s.symbol = %s AND d.interval_type = %s ORDER BY 1",
            [symbol, interval],
        ).fetchall()
