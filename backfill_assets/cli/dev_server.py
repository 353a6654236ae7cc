"""The processes of ``dev``: database, sandbox if there is no token, Dagster with its UI. Ctrl-C stops them all."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files

import dagster_postgres
import psutil
from pydantic import SecretStr
from rich.console import Console

from backfill_assets.backfill.job_request import open_engine
from backfill_assets.cli.sandbox_mode import SANDBOX_SYMBOLS, reject_user_database, warn_sandbox_data
from backfill_assets.config.settings import Settings, build_child_environment
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import Ticker
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.orchestration.dagster_internals.storage import require_usable_installation
from backfill_assets.orchestration.schedules import require_valid_checks_cron
from backfill_assets.sandbox.actions import ActionRates
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.sandbox.world.exchange_worlds import build_realistic_exchange
from backfill_assets.store.postgres.database_errors import describe_database
from backfill_assets.store.postgres.embedded_paths import find_temporary_folder
from backfill_assets.store.symbols import add_symbols, list_symbols

STOP_TIMEOUT_SECONDS = 30  # until Dagster and its processes are killed
_IGNORED_WARNING = (
    "ignore:Function `dev_command` is superseded"  # ``dagster dev`` advertises ``dg dev``, which is another package
)


def run_dev_server(settings: Settings, port: int, console: Console) -> int:
    """Run Dagster until it exits or is interrupted; returns its exit code.

    Raises:
        UsageError: DATABASE_URL is set without a token, the port is in use, or BACKFILL_CHECKS_CRON is not valid.
    """
    _require_free_port(port)
    require_valid_checks_cron(settings)
    require_usable_installation(dagster_postgres.__file__)
    with provide_vendor(_resolve_paths(settings), console) as vendor_settings, open_engine(vendor_settings) as engine:
        console.print(f"bars: {describe_database(engine.database.url)}", highlight=False)
        console.print(f"UI:   http://127.0.0.1:{port}  (ready in about 15 s; Ctrl-C stops everything)")
        return _wait_for_dagster(_start_dagster(vendor_settings, port))


def _require_free_port(port: int) -> None:
    """Check the port first: Dagster would start without its UI if another process used it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the UI does: a port in TIME_WAIT is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(f"port {port} cannot be used: {error.strerror}; choose another with --port") from None


def _resolve_paths(settings: Settings) -> Settings:
    """``settings`` with absolute paths, for child processes in another working directory."""
    paths = {
        "home": settings.home,
        "calendar_file": settings.calendar_file,
        "markets_file": settings.markets_file,
    }
    return settings.model_copy(update={name: path.expanduser().resolve() for name, path in paths.items() if path})


@contextmanager
def provide_vendor(settings: Settings, console: Console) -> Iterator[Settings]:
    """``settings`` if there is a token; else settings for a sandbox, which runs while the context is open."""
    if settings.token is not None:
        console.print(f"[bold]Using the vendor at {settings.vendor_host}.[/bold]")
        yield settings
        return
    reject_user_database(settings)
    config = SandboxConfig(
        symbols=SANDBOX_SYMBOLS,
        now=settings.as_of,
        latency_ms=(20, 80),
        action_rates=ActionRates.build_realistic(),
        exchanges={
            code: build_realistic_exchange(code, SANDBOX_SYMBOLS)
            for code in settings.exchanges
            if code != DEFAULT_EXCHANGE  # which every sandbox has
        },
    )
    with Sandbox(config) as sandbox:
        warn_sandbox_data(console)
        sandbox_values = {"base_url": sandbox.base_url, "source_host": None, "token": SecretStr("sandbox")}
        sandbox_settings = settings.model_copy(update=sandbox_values)
        with open_engine(sandbox_settings) as engine, engine.database.transaction() as connection:
            for code in settings.exchanges:
                if not list_symbols(connection, code):
                    symbols = sandbox.worlds.get_world(code).symbols[:SANDBOX_SYMBOLS]  # funds and copies follow
                    add_symbols(connection, [Ticker(symbol, code) for symbol in symbols])
        yield sandbox_settings


def _start_dagster(settings: Settings, port: int) -> "subprocess.Popen[bytes]":
    """Start Dagster in its own session, so that Ctrl-C reaches it once, from ``_wait_for_dagster``."""
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    for name in ("dagster.yaml", "workspace.yaml"):  # the installed ones are not found from another folder
        packaged = files("backfill_assets.orchestration") / name
        (home / name).write_text(packaged.read_text("utf-8"), "utf-8")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with SIGINT ignored
    return subprocess.Popen(  # noqa: S603 - this interpreter with fixed arguments
        [
            *(sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)),
            *("--workspace", "workspace.yaml", "--log-level", settings.log_level.lower()),
        ],
        env={
            **build_child_environment(settings),
            **{"DAGSTER_HOME": str(home), "TMPDIR": str(find_temporary_folder()), "PYTHONWARNINGS": _IGNORED_WARNING},
        },
        cwd=home,
        start_new_session=True,
    )


def _wait_for_dagster(dagster: "subprocess.Popen[bytes]") -> int:
    try:
        return dagster.wait()
    finally:
        children = psutil.Process(dagster.pid).children(recursive=True) if dagster.poll() is None else []
        dagster.send_signal(signal.SIGINT)
        _stop_dagster(dagster, children)


def _stop_dagster(dagster: "subprocess.Popen[bytes]", children: list[psutil.Process]) -> None:
    """Wait for Dagster, then stop those of its child processes that are still running."""
    try:
        dagster.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        dagster.kill()
        dagster.wait()
    for process in children:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, still_running = psutil.wait_procs(children, STOP_TIMEOUT_SECONDS)
    for process in still_running:
        with suppress(psutil.NoSuchProcess):
            process.kill()
