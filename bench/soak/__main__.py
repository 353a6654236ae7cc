"""Fault-injection soak test (``python -m bench.soak --seconds 120``): disturbed and undisturbed market days compared.

Periods of three sessions around daylight saving changes run twice: undisturbed, and with faults of the vendor and the
disturbances of ``fault_injector``. The vendor's data are improbable in every way that ``sandbox.oddities`` knows. In
the end both tables must hold the same trusted bars, none of them may be wrong by what docs/plausibility.md promises to
find, and the disturbed runs may cost at most 1.3 times the calls. Tickers are added at every other step, so there is
always work. docs/reliability.md has the figures.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import cycle
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.exchanges.registry import US
from bench.soak.fault_injector import VENDOR_FAULTS, SoakFaultInjector
from bench.soak.scenario import ADDED_TICKERS, Scenario, open_scenario
from bench.soak.small_disk import mount_small_disk
from bench.trusted_bars import count_different

MAX_CALL_RATIO = 1.3
HOURS_BETWEEN = 3
MORNING = range(12, 15)  # UTC; the newest session is settled
MAX_PERIODS = 10
NEW_YORK = ZoneInfo("America/New_York")


def iter_clock_changes() -> Iterator[date]:
    """Iterate over the days on which New York changes its clocks, from 2022 on."""
    day = date(2022, 1, 1)
    while day < date(2027, 1, 1):
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=NEW_YORK)
        if noon.utcoffset() != (noon - timedelta(days=1)).utcoffset():
            yield day
        day += timedelta(days=1)


def list_times(change: date) -> tuple[date, list[datetime]]:
    """Return the first day and the times of a period, hours after three closes: one before ``change``, two after."""
    before = list_sessions(US, change - timedelta(days=7), change)[-1]
    after = list_sessions(US, change, change + timedelta(days=7))[:2]
    every = range(2, 19, HOURS_BETWEEN)  # hours after a close
    return before.day, [s.regular_close + timedelta(hours=hours) for s in (before, *after) for hours in every]


def run_period(scenario: Scenario, change: date, fault_injector: SoakFaultInjector | None) -> int:
    """Run a period, every other time with a disturbance if there is a fault injector; return the calls it cost."""
    before = scenario.calls
    scenario.first, times = list_times(change)
    scenario.sandbox.set_faults(**(VENDOR_FAULTS if fault_injector else {}))
    for number, now in enumerate(times):
        scenario.move_to(now)
        if number % 2:
            scenario.add_tickers(ADDED_TICKERS)
        if number % 2 and fault_injector:
            fault_injector.disturb()
        else:
            scenario.run_backfill()
        if now.hour in MORNING:
            scenario.read_daily_data()
    scenario.sandbox.set_faults(**dict.fromkeys(VENDOR_FAULTS, 0.0))
    scenario.read_daily_data()
    scenario.run_backfill(symbols=scenario.symbols)
    return scenario.calls - before


@dataclass
class Totals:
    """Sums over the periods so far.

    Attributes:
        calls: calls of the disturbed runs.
        undisturbed_calls: calls of the undisturbed runs.
        different_tables: periods after which the tables differ.
        wrong: trusted bars of both tables that are wrong although the rules promise to find them.
        below: those that are wrong below that.
        longest: seconds of the longest period.
    """

    calls: int = 0
    undisturbed_calls: int = 0
    different_tables: int = 0
    wrong: int = 0
    below: int = 0
    longest: float = 0.0

    @property
    def ratio(self) -> float:
        """Calls relative to the undisturbed runs."""
        return self.calls / self.undisturbed_calls


def main() -> int:
    """Run periods until the time is up, at least two; return 1 if tables differ or are wrong, or cost too much."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=20260601)
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(_make_folder())) for _ in range(2)]
        reason = stack.enter_context(mount_small_disk(folders[1]))
        undisturbed, disturbed = (stack.enter_context(open_scenario(folder)) for folder in folders)
        fault_injector = SoakFaultInjector(disturbed, Random(options.seed), can_fill_disk=reason is None)
        print(f"seed {options.seed}; disk: {reason or 'small enough to fill'}", flush=True)
        totals = run_periods(undisturbed, fault_injector, deadline)
        print_summary(fault_injector, totals)
    return int(totals.different_tables + totals.wrong > 0 or totals.ratio > MAX_CALL_RATIO)


def run_periods(undisturbed: Scenario, fault_injector: SoakFaultInjector, deadline: float) -> Totals:
    """Run periods until ``deadline`` (monotonic seconds), at least two; print a line for each."""
    totals, disturbed = Totals(), fault_injector.scenario
    for number, change in enumerate(cycle(iter_clock_changes())):
        began = time.monotonic()
        if (number >= 2 and began + totals.longest > deadline) or number >= MAX_PERIODS:
            break
        undisturbed_calls, calls = run_period(undisturbed, change, None), run_period(disturbed, change, fault_injector)
        expected, stored = undisturbed.check_bars(), disturbed.check_bars()
        different = count_different(expected, stored)
        seconds = time.monotonic() - began
        totals.calls += calls
        totals.undisturbed_calls += undisturbed_calls
        totals.different_tables += different > 0
        totals.wrong += len(expected.promised) + len(stored.promised)
        totals.below += len(expected.wrong) + len(stored.wrong)
        totals.longest = max(totals.longest, seconds)
        print(
            f"{change}: {expected.bars:,} bars, {different} differ; {calls:,} calls, {undisturbed_calls:,} undisturbed "
            f"({calls / undisturbed_calls:.3f}); {seconds:.0f} s",
            flush=True,
        )
        for name, check in (("undisturbed", expected), ("disturbed", stored)):
            print(f"    {name}: {check.describe()}", flush=True)
    totals.below -= totals.wrong
    return totals


def print_summary(fault_injector: SoakFaultInjector, totals: Totals) -> None:
    """Print disturbances, exit codes, faults and calls of all periods."""
    disturbances = ", ".join(f"{count} × {name}" for name, count in fault_injector.counts.items())
    exits, faults = fault_injector.scenario.exits, fault_injector.scenario.sandbox.stats()["by_fault"]
    print(f"disturbances: {disturbances}")
    print(f"exit codes of {sum(exits.values())} processes: {dict(sorted(exits.items()))}")
    print(f"faults of the vendor: {dict(sorted(faults.items()))}")
    print(
        f"calls {totals.calls:,}, {totals.undisturbed_calls:,} undisturbed: {totals.ratio:.3f} × "
        f"(at most {MAX_CALL_RATIO}); tables differ: {totals.different_tables}; wrong trusted bars: {totals.wrong}, "
        f"below what is promised: {totals.below}"
    )


def _make_folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="backfill-soak-", ignore_cleanup_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
