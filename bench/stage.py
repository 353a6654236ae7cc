"""What benches stand on: a server, a database of their own, a sandbox in its own process, a command to time."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from backfill_assets.sandbox.config import SandboxConfig

NOW = "2026-06-03T14:00:00+00:00"
TOKEN = "bench"  # noqa: S105 - any will do


@dataclass(frozen=True)
class Timed:
    """A finished command: seconds of wall time, megabytes of memory at most, exit code, what it printed."""

    seconds: float
    megabytes: float
    code: int
    out: str


@contextmanager
def sandbox_process(*options: str) -> Iterator[str]:
    """``backfill-assets sandbox`` as its own process; gives its base URL."""
    command = [sys.executable, "-m", "bench.sandbox", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def stats(base_url: str) -> dict[str, object]:
    """What the sandbox was asked."""
    answer: dict[str, object] = httpx.get(base_url.removesuffix("/api") + "/__stats", timeout=60).json()
    return answer


def backfill(home: Path, base_url: str, *words: str, module: str = "backfill_assets", **environment: str) -> Timed:
    """Run ``backfill-assets`` as a person would (or another module) and time the whole process."""
    chosen = {
        "BACKFILL_HOME": str(home),
        "EODHD_BASE_URL": base_url,
        "EODHD_API_TOKEN": TOKEN,
        "BACKFILL_AS_OF": NOW,
        **environment,
    }
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words],
        env={**os.environ, **chosen},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    memory = _Memory(process.pid)
    memory.start()
    out, _ = process.communicate()
    seconds = time.perf_counter() - began
    memory.join()
    return Timed(seconds, memory.megabytes, process.returncode, out)


class _Memory(threading.Thread):
    """Follows a process' peak until its end; what ``wait4`` says includes the parent that it was forked from."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.megabytes = 0.0
        self._status = Path(f"/proc/{pid}/status")

    def run(self) -> None:
        """Look until there is nothing to be seen."""
        with suppress(OSError):  # it has ended
            while found := re.search(r"VmHWM:\s+(\d+) kB", self._status.read_text()):
                self.megabytes = int(found[1]) / 1024
                time.sleep(0.02)


def universe(count: int) -> list[str]:
    """The sandbox's symbols."""
    from backfill_assets.sandbox.world.simulation import World

    return [s for s in World(SandboxConfig(symbols=count)).symbols if re.fullmatch(r"[A-Z0-9-]{1,10}", s)]
