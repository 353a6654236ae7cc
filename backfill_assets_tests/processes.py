"""Child processes of the tests, and a watchdog that ends them when the tests are interrupted or killed.

A watchdog process waits for the tests' process to end, in whatever way. It then ends the child processes that are left,
stops the tests' PostgreSQL and removes its folder.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_INHERITED_VARIABLES = ("PATH", "HOME", "TMPDIR")
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
    """Start a process that ends the child processes and removes ``folder`` after this process has ended."""
    command = [sys.executable, "-S", "-c", _WATCHDOG, str(folder)]
    no_output: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # in its own session, so that a signal to the tests does not reach it
    watchdog = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True, **no_output)
    _watchdogs.append(watchdog)


def stop_watchdogs() -> None:
    """Wait until the watchdogs have removed what is left and ended."""
    while _watchdogs:
        _watchdogs.pop().communicate()


def start_process(arguments: Sequence[str], environment: Mapping[str, str], **options: Any) -> "subprocess.Popen[Any]":
    """Start ``python ARGUMENTS`` with the given environment variables and a few inherited ones."""
    inherited = {name: os.environ[name] for name in _INHERITED_VARIABLES if name in os.environ}
    process = subprocess.Popen([sys.executable, *arguments], env={**inherited, **environment}, **options)
    _running.add(process)
    _notify_watchdogs(f"+{process.pid}")
    return process


def end_processes() -> None:
    """End the processes that a test started and left running."""
    for process in list(_running):
        if process.poll() is None:
            process.kill()
            process.wait()
        _running.discard(process)
        _notify_watchdogs(f"-{process.pid}")


def _notify_watchdogs(line: str) -> None:
    for watchdog in _watchdogs:
        assert watchdog.stdin is not None
        print(line, file=watchdog.stdin, flush=True)
