"""What benchmarks share: a sandbox in its own process, a command to time, the universe of symbols."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from backfill_assets.sandbox.config import SandboxConfig

NOW = "2026-06-03T14:00:00+00:00"
TOKEN = "bench"  # noqa: S105 - the sandbox accepts any token


@dataclass(frozen=True)
class TimedCommand:
    """A finished command.

    Attributes:
        seconds: of wall time.
        processor_seconds: of the process and of those that it started and waited for, imports included.
        megabytes: the most memory.
        code: the exit code.
        out: standard output.
    """

    seconds: float
    processor_seconds: float
    megabytes: float
    code: int
    out: str


@contextmanager
def run_sandbox(*options: str) -> Iterator[str]:
    """Run ``bench.sandbox`` in its own process; yields its base URL."""
    command = [sys.executable, "-m", "bench.sandbox", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def fetch_stats(base_url: str) -> dict[str, Any]:
    """Fetch the sandbox's counts of requests."""
    stats: dict[str, Any] = httpx.get(base_url.removesuffix("/api") + "/__stats", timeout=60).json()
    return stats


def run_command(
    home: Path, base_url: str, *words: str, module: str = "backfill_assets", **environment: str
) -> TimedCommand:
    """Run ``backfill-assets`` (or another module) as a user would and time the whole process."""
    variables = {
        "BACKFILL_HOME": str(home),
        "EODHD_BASE_URL": base_url,
        "EODHD_API_TOKEN": TOKEN,
        "BACKFILL_AS_OF": NOW,
        **environment,
    }
    return time_module(module, *words, **variables)


def time_module(module: str, *words: str, **environment: str) -> TimedCommand:
    """Run a module in a process of its own and time the whole process, its modules compiled as those of an install."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    memory = _PeakMemory(process.pid)
    memory.start()
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    memory.join()
    process.stdout.close()
    return TimedCommand(seconds, usage.ru_utime + usage.ru_stime, memory.megabytes, process.returncode, out)


def read_server_processor_seconds(home: Path) -> float:
    """The processor time of the embedded PostgreSQL server and of its processes, ended ones included."""
    server = psutil.Process(int((home / "postgres" / "postmaster.pid").read_text().split()[0]))
    seconds = 0.0
    for process in (server, *server.children()):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile; the server counts it then
            times = process.cpu_times()
            seconds += times.user + times.system
    return seconds + server.cpu_times().children_user + server.cpu_times().children_system


class _PeakMemory(threading.Thread):
    """Reads a process' peak memory until its end. The figure of ``wait4`` would include the parent before the fork."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.megabytes = 0.0
        self._status = Path(f"/proc/{pid}/status")

    def run(self) -> None:
        """Read until the process has ended."""
        with suppress(OSError):  # it has ended
            while found := re.search(r"VmHWM:\s+(\d+) kB", self._status.read_text()):
                self.megabytes = int(found[1]) / 1024
                time.sleep(0.02)


def set_unlogged(connection: psycopg.Connection[Any], tables: Sequence[str]) -> None:
    """Write no WAL of these tables, to fill them sooner; of a partitioned one, its partitions."""
    for table in tables:
        tree = connection.execute("SELECT relid::regclass::text FROM pg_partition_tree(%s) WHERE isleaf", [table])
        for part in [name for (name,) in tree] or [table]:
            connection.execute(f"ALTER TABLE {part} SET UNLOGGED".encode())


def build_symbols(count: int) -> list[str]:
    """Build the symbols of a sandbox of this size."""
    from backfill_assets.sandbox.world.simulation import World

    return [s for s in World(SandboxConfig(symbols=count)).symbols if re.fullmatch(r"[A-Z0-9-]{1,10}", s)]
