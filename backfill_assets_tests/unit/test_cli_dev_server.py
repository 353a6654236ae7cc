"""How ``dev`` ends the processes of Dagster."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from backfill_assets.cli import dev_server

SERVICE = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: None)
print("ready", flush=True)
while True:
    time.sleep(9)
"""
RUN = """
import pathlib, signal, sys, time
def stop(*_):
    time.sleep(1)
    pathlib.Path("stored").touch()
    sys.exit()
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(600)
"""
DAGSTER = f"""
import pathlib, subprocess, sys
programs = [{SERVICE!r}], [{RUN!r}, "--multiprocessing-fork"]
children = [subprocess.Popen([sys.executable, "-S", "-c", *program]) for program in programs]
try:
    children[0].wait()
except KeyboardInterrupt:
    children[0].wait()  # a code server that ends does not look at its runs any more
    pathlib.Path("tidied").touch()
"""


def test_runs_store_what_they_have_and_nothing_else_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-S", "-c", DAGSTER]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as dagster:
        assert dagster.stdout is not None
        assert [dagster.stdout.readline() for _ in range(2)] == [b"ready\n"] * 2
        process = psutil.Process(dagster.pid)
        children = process.children()
        monkeypatch.setattr(dev_server, "STOP_SECONDS", 1)
        begun = time.monotonic()
        dev_server.stop_dagster(process)
    assert time.monotonic() - begun < dev_server.RUN_STOP_SECONDS
    assert [child for child in children if child.is_running()] == []
    assert {file.name for file in tmp_path.iterdir()} == {"stored", "tidied"}
