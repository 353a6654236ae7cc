"""``python -m bench [NAME …]`` measures, prints, and renews docs/benchmarks.md; without a name it runs everything.

``quick`` measures every ratio at a small size in under two minutes. The exit code is 1 if a ratio misses its
mark by more than a fifth.
"""

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.figures import Section
from bench.machine import describe_machine, describe_moment
from bench.plausibility import run as run_plausibility
from bench.report_writer import print_section, write_machine_section, write_section

SIZE = "size"  # takes options
BENCHMARKS = (
    *("command_line", "rate_limit", "dagster_runs", "gap_detection", "bar_writing", "parsing", "startup"),
    *("audit", "adjusted_bars", "reading", "foreign_writer", "known_at"),
)
DECISION_BENCHMARKS = (  # docs/decisions cites them
    *("shared_token", "permits", "ten_days", "coverage", "calls", "certification", "definitions"),
    *("metrics", "healing", "history", "whole_store", SIZE),
)
QUICK = "quick"
PLAUSIBILITY = "plausibility"  # counts, not times; in docs/plausibility.md


def main() -> int:
    """Run the named benchmarks."""
    known = (*BENCHMARKS, *DECISION_BENCHMARKS, PLAUSIBILITY)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join((QUICK, *known)))
    parser.add_argument("--small", action="store_true", help="measure at a small size, and write no document")
    parser.add_argument("--bars", type=int, help="size: how many bars, instead of 100 million or what fits")
    parser.add_argument("--folder", type=Path, help="size: keep the store here, and measure it again next time")
    options = parser.parse_args()
    names = options.names or list(known)
    if unknown := set(names) - {QUICK, *known}:
        parser.error(f"unknown benchmark: {', '.join(sorted(unknown))}")
    console = Console(width=None if sys.stdout.isatty() else 140)
    if not options.small:
        write_machine_section(describe_machine())
    has_failed = False
    for name in names:
        if name == PLAUSIBILITY:
            has_failed |= not run_plausibility(console)
            continue
        more = {"bars": options.bars, "folder": options.folder} if name == SIZE else {}
        section = run_benchmark(name, is_small=options.small, **more)
        print_section(console, section)
        if not options.small:
            write_section(name, section, describe_moment())
        has_failed |= any(figure.misses_mark for figure in section.figures)
    return int(has_failed)


def run_benchmark(name: str, *, is_small: bool = False, **more: Any) -> Section:
    """Run one benchmark, with ``more`` options of its own, or the quick form of all."""
    if name != QUICK:
        return load_benchmark(name)(quick=is_small, **more)
    parts = [load_benchmark(item)(quick=True) for item in BENCHMARKS]
    figures = [figure for part in parts for figure in part.figures]
    return Section("All ratios at a small size", figures)


def load_benchmark(name: str) -> Callable[..., Section]:
    """Load the measuring function of a benchmark."""
    function: Callable[..., Section] = import_module(f"bench.{name}").measure
    return function


if __name__ == "__main__":
    sys.exit(main())
