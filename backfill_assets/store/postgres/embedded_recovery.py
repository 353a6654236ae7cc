"""What a power cut leaves behind in the folder of the embedded server, and how it is put right.

PostgreSQL recovers its data by itself; here are the small files beside them: its lock file, which may
name a process that is somebody else by now, and the wheel's list of users. Both may be cut short.
"""

import json
import time
from pathlib import Path

import psutil

RECOVERY_SECONDS = 120.0
_LINES = 8  # of a complete lock file; the last is the server's status


def put_right(folder: Path) -> None:
    """Remove files that would keep the server from starting; nobody may be starting it meanwhile."""
    lock, users = folder / "postmaster.pid", folder / ".handle_pids.json"
    if lock.exists() and _is_stale(lock, folder):
        lock.unlink()
    if users.exists() and not _is_list(users):
        users.unlink()


def comes_up(folder: Path) -> bool:
    """Wait for a server that is starting up, as long as its recovery may take; False if none is."""
    until = time.monotonic() + RECOVERY_SECONDS
    lock = folder / "postmaster.pid"
    while time.monotonic() < until and lock.exists():
        lines = _lines(lock)
        if len(lines) == _LINES and lines[-1].strip() == "ready":
            return True
        time.sleep(0.2)
    return False


def _is_stale(lock: Path, folder: Path) -> bool:
    """Whether the server would refuse to start because of a lock that nobody holds."""
    lines = _lines(lock)
    pid = lines[0].strip() if lines else ""
    if not pid.isdecimal():
        return True
    if psutil.pid_exists(int(pid)):
        return not _is_server(int(pid), folder)
    return len(lines) != _LINES  # a whole one of a dead server PostgreSQL judges better than we do


def _is_server(pid: int, folder: Path) -> bool:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or "postgres" not in process.name():
            return False
        return Path(process.cwd()) == folder
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # another user's server: better to fail than to start a second one
        return True


def _lines(lock: Path) -> list[str]:
    try:
        return lock.read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _is_list(users: Path) -> bool:
    try:
        return isinstance(json.loads(users.read_text("utf-8") or "[]"), list)
    except ValueError:
        return False
