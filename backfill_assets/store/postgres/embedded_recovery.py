"""Removes what a power cut leaves behind in the folder of the embedded server and would keep it from starting.

PostgreSQL recovers its data by itself. This module handles two small files: PostgreSQL's lock file, whose pid may
belong to another process by now, and the wheel's list of processes that use the server. Both may be truncated.
"""

import json
import time
from pathlib import Path

import psutil

from backfill_assets.store.processes import is_process_alive

RECOVERY_TIMEOUT_SECONDS = 120.0
_COMPLETE_LINE_COUNT = 8  # lines of a complete lock file; the last one is the server's status


def remove_stale_files(folder: Path) -> None:
    """Remove files that would keep the server from starting; under the lock for starting it."""
    lock_file, pid_list = folder / "postmaster.pid", folder / ".handle_pids.json"
    if lock_file.exists() and _is_stale(lock_file, folder):
        lock_file.unlink()
    if pid_list.exists() and not _is_json_list(pid_list):
        pid_list.unlink()


def wait_until_ready(folder: Path) -> bool:
    """Wait for a server that is starting, as long as its recovery may take; False if none is starting."""
    deadline = time.monotonic() + RECOVERY_TIMEOUT_SECONDS
    lock_file = folder / "postmaster.pid"
    while time.monotonic() < deadline and lock_file.exists():
        lines = _read_lines(lock_file)
        if len(lines) == _COMPLETE_LINE_COUNT and lines[-1].strip() == "ready":
            return True
        time.sleep(0.2)
    return False


def _is_stale(lock_file: Path, folder: Path) -> bool:
    """Whether the server would refuse to start because of the lock file of a process that has ended."""
    lines = _read_lines(lock_file)
    pid = lines[0].strip() if lines else ""
    if not pid.isdecimal():
        return True
    if is_process_alive(int(pid)):
        return not _is_server_process(int(pid), folder)
    # PostgreSQL itself handles a complete file of an ended process, but takes a zombie for a running server.
    return len(lines) != _COMPLETE_LINE_COUNT or psutil.pid_exists(int(pid))


def _is_server_process(pid: int, folder: Path) -> bool:
    """Whether a running process is the server of ``folder``, by its name and its working directory."""
    try:
        process = psutil.Process(pid)
        return "postgres" in process.name() and Path(process.cwd()) == folder
    # A process of another user may be the server, and two servers on one folder would damage it.
    except psutil.NoSuchProcess:  # it has just ended, or ``/proc`` does not show it
        return is_process_alive(pid)
    except psutil.AccessDenied:
        return True


def _read_lines(lock_file: Path) -> list[str]:
    try:
        return lock_file.read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _is_json_list(pid_list: Path) -> bool:
    try:
        return isinstance(json.loads(pid_list.read_text("utf-8") or "[]"), list)
    except ValueError:
        return False
