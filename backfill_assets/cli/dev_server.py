"""The processes of ``dev``: database, sandbox if there is no token, Dagster with its UI. Ctrl-C stops them all."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path

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

STOP_SECONDS = 2  # for processes that have nothing to lose; then they are killed
_POLL_SECONDS = 0.1
RUN_STOP_SECONDS = 30  # for runs: BACKFILL_STOP_SECONDS, and what storing takes on a busy machine
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
    paths = {name: value for name, value in settings if isinstance(value, Path)}
    return settings.model_copy(update={name: path.expanduser().resolve() for name, path in paths.items()})


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
            *(("--log-format", "json") if settings.log_format == "json" else ()),
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
        if dagster.poll() is None:
            stop_dagster(psutil.Process(dagster.pid))
            dagster.wait()


def stop_dagster(dagster: psutil.Process) -> None:
    """End Dagster and its processes; runs may take their time, since they store what they have paid for.

    All are told at once: Dagster stops them one after the other, and the runs, which spend calls, last. The others
    keep nothing that is not in the database, and on a busy machine Python takes each of them many seconds to tidy up
    its memory, so they are not waited for.
    """
    told = dagster.children(recursive=True)
    _send_signal(signal.SIGINT, [dagster])
    _send_signal(signal.SIGTERM, told)
    _end_processes([process for process in told if _is_run(process)], RUN_STOP_SECONDS)
    _wait_for_processes([dagster, *told], STOP_SECONDS)
    late = [process for process in _list_children(dagster) if process not in told and _is_run(process)]
    _send_signal(signal.SIGTERM, late)  # begun while the others ended
    _end_processes(late, RUN_STOP_SECONDS)
    _end_processes({*told, *_list_children(dagster)}, 0)
    _end_processes([dagster], STOP_SECONDS)  # it removes its files when the others have ended


def _is_run(process: psutil.Process) -> bool:
    """Whether it is a run, or a step of one: the code server starts them by ``multiprocessing``."""
    with suppress(psutil.Error):
        return "--multiprocessing-fork" in process.cmdline()
    return False


def _list_children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return process.children(recursive=True)
    return []


def _send_signal(number: int, processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _end_processes(processes: Iterable[psutil.Process], seconds: float) -> None:
    """Wait for processes, and kill those that do not end in time."""
    still_running = _wait_for_processes(processes, seconds)
    _send_signal(signal.SIGKILL, still_running)
    _wait_for_processes(still_running, STOP_SECONDS)


def _wait_for_processes(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until all have ended, also those that their parent has not yet taken note of; returns those still running.

    ``psutil.wait_procs`` counts the latter as running, and a code server that ends looks at its runs no more.
    """
    deadline = time.monotonic() + seconds
    while (running := [process for process in processes if _is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return running


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False
