"""Removes what a power cut leaves behind in the folder of the embedded server and would keep it from starting.

PostgreSQL recovers its data by itself. This module handles two small files: PostgreSQL's lock file, whose pid may
belong to another process by now, and the list of processes that use the server. Both may be truncated.
"""

import json
import os
import time
from pathlib import Path

import psutil

from backfill_assets.store.processes import is_process_alive

RECOVERY_TIMEOUT_SECONDS = 120.0
_COMPLETE_LINE_COUNT = 8  # lines of a complete lock file; the last one is the server's status
_PORT_LINE, _SOCKET_LINE, _HOST_LINE = 3, 4, 5
_POLL_SECONDS = 0.02


def remove_stale_files(folder: Path) -> None:
    """Remove files that would keep the server from starting; under the lock for starting it."""
    lock_file, pid_list = folder / "postmaster.pid", folder / ".handle_pids.json"
    if lock_file.exists() and _is_stale(lock_file, folder):
        lock_file.unlink()
    if pid_list.exists() and not _is_json_list(pid_list):
        pid_list.unlink()


def find_server(folder: Path) -> int | None:
    """The process id of the server of ``folder`` if it runs, also while it starts."""
    lines = _read_lines(folder / "postmaster.pid")
    pid = lines[0].strip() if lines else ""
    if not pid.isdecimal() or not is_process_alive(int(pid)) or not _is_server_process(int(pid), folder):
        return None
    return int(pid)


def read_socket(folder: Path) -> tuple[str, int]:
    """The folder and the port of the socket of a server that is ready."""
    lines = _read_lines(folder / "postmaster.pid")
    return lines[_SOCKET_LINE].strip() or lines[_HOST_LINE].strip(), int(lines[_PORT_LINE])


def wait_until_ready(folder: Path, pid: int | None = None) -> bool:
    """Wait for a server that is starting, as long as its recovery may take; False if it ends, or none is starting.

    Args:
        folder: its data folder.
        pid: its process; None: whatever the lock file says.
    """
    deadline = time.monotonic() + RECOVERY_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        lines = _read_lines(folder / "postmaster.pid")
        if len(lines) == _COMPLETE_LINE_COUNT and lines[-1].strip() == "ready" and pid in (None, int(lines[0])):
            return True
        if not (is_process_alive(pid) if pid else lines):
            return False
        time.sleep(_POLL_SECONDS)
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
        text = os.fsdecode(lock_file.read_bytes())
    except FileNotFoundError:
        return []
    return text.removesuffix("\n").split("\n") if text else []  # a path may contain what splitlines would split at


def _is_json_list(pid_list: Path) -> bool:
    try:
        return isinstance(json.loads(pid_list.read_text("utf-8") or "[]"), list)
    except ValueError:
        return False
