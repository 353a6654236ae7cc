"""Whether a process still runs: one answer for the table of runs, Dagster's run monitoring and the embedded server.

What follows from the answer is decided by the callers. psutil is loaded within the functions, because commands that
only read import this module and do not need it.
"""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

# On Linux psutil adds the boot time, which is known in whole seconds and changes by one when the clock is corrected.
START_TIME_TOLERANCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process of one host; ``started_at`` (epoch seconds) distinguishes it from a later one with the same ``pid``."""

    host: str
    pid: int
    started_at: float


def get_host_id() -> str:
    """The machine and, in a container, its process namespace: a pid is only valid there."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {namespace.readlink() if namespace.is_symlink() else ''}".strip()


def get_current_process() -> ProcessIdentity:
    """The identity of this process."""
    return identify_process(os.getpid())


def identify_process(pid: int) -> ProcessIdentity:
    """The identity of a running process of this host."""
    import psutil

    return ProcessIdentity(get_host_id(), pid, psutil.Process(pid).create_time())


def is_process_alive(pid: int, started_at: float | None = None) -> bool:
    """Whether process ``pid`` of this host runs.

    A zombie (a process that ended and that its parent has not waited for) does not run, and neither does the process
    of a pid that belongs to another process by now.

    Args:
        pid: a process of this host's process namespace.
        started_at: when it started, epoch seconds; None if unknown, then any process with this pid counts.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return started_at is None or abs(process.create_time() - started_at) < START_TIME_TOLERANCE_SECONDS
    except psutil.ZombieProcess:
        return False
    except psutil.NoSuchProcess:
        return _is_hidden(pid)
    except psutil.AccessDenied:  # a process of another user
        return True


def _is_hidden(pid: int) -> bool:
    """Whether ``pid`` is a process of another user that ``/proc`` does not show (mount option ``hidepid``)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return False  # a process of this user, which would have been visible: it has just started
