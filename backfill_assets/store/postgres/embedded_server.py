"""Starts and stops the embedded server, and counts the processes that use it.

Everything happens under a lock file beside the data, so that users of one machine do not meet in a common place. The
programs are run in ``postgres_programs``; what a power cut leaves behind is handled in ``embedded_recovery``.
"""

import atexit
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fasteners
from psycopg import conninfo

from backfill_assets.store.postgres import embedded_recovery
from backfill_assets.store.postgres.embedded_paths import choose_socket_dir, remove_socket_dir
from backfill_assets.store.postgres.postgres_programs import (
    SUPERUSER,
    Account,
    choose_account,
    create_data_folder,
    launch_server,
)
from backfill_assets.store.processes import is_process_alive

_STOP_TIMEOUT_SECONDS = 60
_POLL_SECONDS = 0.02
_PID_LIST = ".handle_pids.json"  # the name that version 0.2.0 used
_registered: set[Path] = set()


def start_server(folder: Path, database: str) -> str:
    """Start the server of data folder ``folder``, or join the one that runs; returns the address of ``database``.

    Raises:
        OSError: a folder cannot be written, or belongs to another account.
        RuntimeError: a program failed, or the server ended while it started; with the reason it gave.
    """
    account = choose_account(folder)
    with _lock(folder):
        try:
            start_database_server(folder, account)
            _enter_this_process(folder, account)
        except KeyboardInterrupt:  # the server may run already, and nobody uses it
            if folder not in _registered and (folder / "PG_VERSION").exists():
                _leave_this_process(folder)
            raise
    if folder not in _registered:
        _registered.add(folder)
        atexit.register(release_server, folder)
    return _build_address(folder, database)


def release_server(folder: Path) -> None:
    """Stop using the server of ``folder``; it stops if no other process uses it. Idempotent."""
    if folder not in _registered:
        return
    _registered.discard(folder)
    if not folder.exists():
        return
    with _lock(folder):
        _leave_this_process(folder)


def start_database_server(folder: Path, account: Account) -> None:
    """Start the server unless it runs, and wait until it accepts connections; under the lock."""
    if not (folder / "PG_VERSION").exists():
        create_data_folder(folder, account)
    embedded_recovery.remove_stale_files(folder)
    if embedded_recovery.find_server(folder) is None:
        pid = launch_server(folder, choose_socket_dir(folder, account), account)
        if not embedded_recovery.wait_until_ready(folder, pid):
            raise RuntimeError(_read_reason(folder))
    elif not embedded_recovery.wait_until_ready(folder):
        raise RuntimeError(_read_reason(folder))


def stop_database_server(folder: Path) -> None:
    """Stop the server if it runs, whoever uses it, and wait until it has ended."""
    pid = embedded_recovery.find_server(folder)
    if pid is None:
        return
    socket_dir, _ = embedded_recovery.read_socket(folder)
    for number in (signal.SIGINT, signal.SIGQUIT):  # in order; if that takes too long, at once: the next start recovers
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + _STOP_TIMEOUT_SECONDS
        while is_process_alive(pid) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if not is_process_alive(pid):
            break
    remove_socket_dir(Path(socket_dir))


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    path = folder.with_name(f".{folder.name}.lock")
    is_new = not path.exists()
    with fasteners.InterProcessLock(path):
        if is_new and os.geteuid() == 0:  # root in the folder of another user must not lock that user out
            owner = folder.parent.stat()
            os.chown(path, owner.st_uid, owner.st_gid)
        yield


def _leave_this_process(folder: Path) -> None:
    """Take this process out of the list of users, and stop the server if no other one uses it; under the lock."""
    users = [pid for pid in _read_pids(folder) if pid != os.getpid() and is_process_alive(pid)]
    (folder / _PID_LIST).write_text(json.dumps(users))
    if not users:
        stop_database_server(folder)


def _enter_this_process(folder: Path, account: Account) -> None:
    """Enter this process in the list of users, and remove those that were killed."""
    users = [pid for pid in _read_pids(folder) if pid != os.getpid() and is_process_alive(pid)]
    (folder / _PID_LIST).write_text(json.dumps([*users, os.getpid()]))
    account.take_over(folder / _PID_LIST)


def _read_pids(folder: Path) -> list[int]:
    try:
        return list(json.loads((folder / _PID_LIST).read_text("utf-8") or "[]"))
    except FileNotFoundError:
        return []


def _build_address(folder: Path, database: str) -> str:
    """The address, with every part that the environment could set otherwise (PGPORT, PGOPTIONS)."""
    socket_dir, port = embedded_recovery.read_socket(folder)
    return conninfo.make_conninfo(host=socket_dir, port=port, user=SUPERUSER, dbname=database, options="")


def _read_reason(folder: Path) -> str:
    """The newest line of the server's log that says why it ended."""
    try:
        lines = (folder / "log").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    reasons = [line for line in lines[-20:] if "FATAL" in line or "PANIC" in line or "LOG:  could not" in line]
    return (reasons or lines or ["the server ended without a word"])[-1]
