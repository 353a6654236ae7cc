"""What benches stand on: a server, a database of their own, a sandbox in its own process, a command to time."""

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from backfill_assets.eodhd.sandbox.config import SandboxConfig

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
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Timed(time.perf_counter() - began, _megabytes(usage), process.returncode, out)


def _megabytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024


def universe(count: int) -> list[str]:
    """The sandbox's symbols."""
    from backfill_assets.eodhd.sandbox.world import World

    return [s for s in World(SandboxConfig(symbols=count)).tickers if re.fullmatch(r"[A-Z0-9-]{1,10}", s)]
