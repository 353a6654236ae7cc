"""``python -m bench [NAME …]``: measure, print, and renew docs/benchmarks.md; everything without a name.

``quick`` looks at every ratio at a small size in under two minutes. The exit code is 1 if a ratio misses its
mark by more than a fifth.
"""

import argparse
import sys
from collections.abc import Callable
from importlib import import_module

from rich.console import Console

from bench.figures import Section
from bench.machine import machine, moment
from bench.paper import show, write, write_machine

ITEMS = ("command_line", "waiting", "through_dagster", "detection", "storing", "parsing", "starting")
DECISIONS = ("crowd", "budget", "ten_days", "survey")  # what decisions were taken by
QUICK = "quick"


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join((QUICK, *ITEMS, *DECISIONS)))
    names = parser.parse_args().names or [*ITEMS, *DECISIONS]
    if unknown := set(names) - {QUICK, *ITEMS, *DECISIONS}:
        parser.error(f"no bench is called {', '.join(sorted(unknown))}")
    console = Console(width=None if sys.stdout.isatty() else 140)
    write_machine(machine())
    fallen = False
    for name in names:
        section = measure(name)
        show(console, section)
        write(name, section, moment())
        fallen |= any(figure.has_fallen for figure in section.figures)
    return int(fallen)


def measure(name: str) -> Section:
    """One bench, or the small form of all of them."""
    if name != QUICK:
        return bench_of(name)(quick=False)
    parts = [bench_of(item)(quick=True) for item in ITEMS]
    figures = [figure for part in parts for figure in part.figures]
    return Section("All ratios, small", figures)


def bench_of(name: str) -> Callable[..., Section]:
    """The measuring function of a bench."""
    found: Callable[..., Section] = import_module(f"bench.{name}").measure
    return found


if __name__ == "__main__":
    sys.exit(main())
