"""``dev``: everything on one machine, with the Dagster UI: database, vendor or sandbox, Dagster; Ctrl-C ends it all."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files

import psutil
from pydantic import SecretStr
from rich.console import Console

from backfill_assets.backfill.job_request import open_engine
from backfill_assets.cli.sandbox_mode import SANDBOX_SYMBOLS, reject_user_database, warn_sandbox_data
from backfill_assets.config.settings import Settings, build_child_environment
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE, parse_tickers
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.connection import describe_database
from backfill_assets.store.symbols import add_symbols, list_symbols

STOP_TIMEOUT_SECONDS = 30  # for Dagster to end its processes
_IGNORED_WARNING = "ignore:Function `dev_command` is superseded"  # by a command of another package


def run_dev_server(settings: Settings, port: int, console: Console) -> int:
    """Run the UI until it ends or is interrupted; returns its exit code.

    Raises:
        UsageError: a database of the user's but no token: made-up bars do not go there; or the port is taken.
    """
    _require_free_port(port)
    with provide_vendor(_resolve_paths(settings), console) as vendor_settings, open_engine(vendor_settings) as engine:
        console.print(f"bars: {describe_database(engine.database.url)}", highlight=False)
        console.print(f"UI:   http://127.0.0.1:{port}  (about 15 s until it answers; Ctrl-C stops everything)")
        return _wait_for_dagster(_start_dagster(vendor_settings, port))


def _require_free_port(port: int) -> None:
    """Dagster goes on without its UI where its port is somebody else's, so that is found out before."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the UI does: one that ended just now is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(f"port {port} cannot be used: {error.strerror}; choose another with --port") from None


def _resolve_paths(settings: Settings) -> Settings:
    """Paths that mean the same in a process that works elsewhere."""
    paths = {"home": settings.home, "calendar_file": settings.calendar_file}
    return settings.model_copy(update={name: path.expanduser().resolve() for name, path in paths.items() if path})


@contextmanager
def provide_vendor(settings: Settings, console: Console) -> Iterator[Settings]:
    """The settings as they are with a token; without one those of a sandbox that runs for the time of the context."""
    if settings.token is not None:
        console.print(f"[bold]Asking the vendor at {settings.vendor_host}.[/bold]")
        yield settings
        return
    reject_user_database(settings)
    with Sandbox(SandboxConfig(symbols=SANDBOX_SYMBOLS, now=settings.as_of, latency_ms=(20, 80))) as sandbox:
        warn_sandbox_data(console)
        sandbox_values = {"base_url": sandbox.base_url, "source_host": None, "token": SecretStr("sandbox")}
        sandbox_settings = settings.model_copy(update=sandbox_values)
        with open_engine(sandbox_settings) as engine, engine.database.transaction() as connection:
            if not list_symbols(connection, DEFAULT_EXCHANGE):
                add_symbols(connection, parse_tickers(sandbox.world.symbols))
        yield sandbox_settings


def _start_dagster(settings: Settings, port: int) -> "subprocess.Popen[bytes]":
    """Dagster in a session of its own, so that a Ctrl-C reaches it once: from here."""
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    instance_config = files("backfill_assets.orchestration") / "dagster.yaml"
    (home / "dagster.yaml").write_text(instance_config.read_text("utf-8"), "utf-8")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a launcher in the background was told to ignore it
    return subprocess.Popen(  # noqa: S603 - our own interpreter and words
        [
            *(sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)),
            *("--module-name", "backfill_assets.definitions", "--log-level", settings.log_level.lower()),
        ],
        env={**build_child_environment(settings), "DAGSTER_HOME": str(home), "PYTHONWARNINGS": _IGNORED_WARNING},
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
    """Dagster ends its processes, except some that notice only later that they are alone."""
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
