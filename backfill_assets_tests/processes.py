"""Child processes of the tests, and what ends them when the tests are interrupted or killed.

A watchdog process waits for the tests' process to end, in whatever way. It then ends the child processes that are left,
stops the tests' PostgreSQL and removes its folder.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_KEPT = ("PATH", "HOME", "TMPDIR")
_WATCHDOG = """
import os, shutil, signal, sys
folder, pids = sys.argv[1], set()
for line in sys.stdin:  # ends when the tests' process does
    sign, pid = line[0], int(line[1:])
    (pids.add if sign == "+" else pids.discard)(pid)
def end(pid, number):
    try:
        os.kill(pid, number)
    except OSError:
        pass
for pid in pids:
    end(pid, signal.SIGTERM)
try:
    with open(os.path.join(folder, "postgres", "postmaster.pid")) as lock:
        end(int(lock.readline()), signal.SIGQUIT)
except (OSError, ValueError):
    pass
shutil.rmtree(folder, ignore_errors=True)
"""
_running: set["subprocess.Popen[Any]"] = set()
_watchdogs: list["subprocess.Popen[str]"] = []


def start_watchdog(folder: Path) -> None:
    """Watch over this process: after its end, ``folder`` and the child processes are gone."""
    command = [sys.executable, "-S", "-c", _WATCHDOG, str(folder)]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # in a session of its own: what interrupts the tests does not interrupt it
    watchdog = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True, **quiet)
    _watchdogs.append(watchdog)


def stop_watchdogs() -> None:
    """Let the watchdogs end; they remove what is left."""
    while _watchdogs:
        _watchdogs.pop().communicate()


def start_process(arguments: Sequence[str], environment: Mapping[str, str], **options: Any) -> "subprocess.Popen[Any]":
    """Start ``python ARGUMENTS`` with the given variables and no others of the person who runs the tests."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    process = subprocess.Popen([sys.executable, *arguments], env={**kept, **environment}, **options)
    _running.add(process)
    _tell_watchdogs(f"+{process.pid}")
    return process


def end_processes() -> None:
    """End what a test started and left running."""
    for process in list(_running):
        if process.poll() is None:
            process.kill()
            process.wait()
        _running.discard(process)
        _tell_watchdogs(f"-{process.pid}")


def _tell_watchdogs(line: str) -> None:
    for watchdog in _watchdogs:
        assert watchdog.stdin is not None
        print(line, file=watchdog.stdin, flush=True)
