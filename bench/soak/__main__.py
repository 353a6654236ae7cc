"""``python -m bench.soak --seconds 120``: days of market time under a hand that disturbs, compared with quiet ones.

Stretches of three sessions around the changes of daylight saving are played twice: undisturbed, and with faults
at the vendor and the acts of ``hand``. In the end both tables must be the same, bar for bar, and the calls spent
at most 1.3 times as many. Tickers are added all the time, so that there is always something to ask.
Figures are kept in docs/reliability.md.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from itertools import cycle
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from backfill_assets.market.calendar.sessions import list_sessions
from bench.soak.hand import FAULTS, Hand
from bench.soak.quota import small_disk
from bench.soak.scene import ADDED, Scene, scene

MOST_CALLS = 1.3
HOURS_BETWEEN = 3
MOST_STRETCHES = 10
NEW_YORK = ZoneInfo("America/New_York")


def changes() -> Iterator[date]:
    """Every Sunday on which New York changes its clocks, spring and autumn in turn, from 2022 on."""
    day = date(2022, 1, 1)
    while day < date(2027, 1, 1):
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=NEW_YORK)
        if noon.utcoffset() != (noon - timedelta(days=1)).utcoffset():
            yield day
        day += timedelta(days=1)


def moments(change: date) -> tuple[date, list[datetime]]:
    """The evenings and nights of three sessions, the first before ``change``, two after it, and the last morning."""
    before = list_sessions("US", change - timedelta(days=7), change)[-1]
    after = list_sessions("US", change, change + timedelta(days=7))[:2]
    every = range(2, 19, HOURS_BETWEEN)  # hours after a close
    return before.day, [s.regular_close + timedelta(hours=hours) for s in (before, *after) for hours in every]


def play(on: Scene, change: date, hand: Hand | None) -> int:
    """Play a stretch, every other moment with the hand at work if there is one; returns the calls it cost."""
    before = on.calls
    on.first, hours = moments(change)
    on.sandbox.set_faults(**(FAULTS if hand else {}))
    for number, now in enumerate(hours):
        on.at(now)
        if number % 2:
            on.grow(ADDED)
        if number % 2 and hand:
            hand.act()
        else:
            on.run()
    on.sandbox.set_faults(**dict.fromkeys(FAULTS, 0.0))
    on.run(symbols=on.symbols)
    return on.calls - before


def main() -> int:
    """Play stretches until the time is up, two at least; 1 if a table differs or too much was spent."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=20260601)
    options = parser.parse_args()
    until = time.monotonic() + options.seconds
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(_folder())) for _ in range(2)]
        reason = stack.enter_context(small_disk(folders[1]))
        calm, torn = (stack.enter_context(scene(folder)) for folder in folders)
        hand = Hand(torn, Random(options.seed), may_fill=reason is None)
        print(f"seed {options.seed}; disk: {reason or 'a small one, to be filled'}", flush=True)
        failed, spent, needed, longest = 0, 0, 0, 0.0
        for number, change in enumerate(cycle(changes())):
            began = time.monotonic()
            if (number >= 2 and began + longest > until) or number >= MOST_STRETCHES:
                break
            needed += (quietly := play(calm, change, None))
            spent += (roughly := play(torn, change, hand))
            wanted, found = calm.bars(), torn.bars()
            differ = len(set(wanted) ^ set(found))
            failed += differ > 0
            longest = max(longest, time.monotonic() - began)
            print(
                f"{change}: {len(wanted):,} bars, {differ} differ; {roughly:,} calls, {quietly:,} undisturbed "
                f"({roughly / quietly:.3f}); {time.monotonic() - began:.0f} s",
                flush=True,
            )
        acts = ", ".join(f"{count} × {name}" for name, count in hand.acts.items())
        faults = torn.sandbox.stats()["by_fault"]
        print(f"acts: {acts}; exit codes of {sum(torn.exits.values())} processes: {dict(sorted(torn.exits.items()))}")
        print(f"faults of the vendor: {dict(sorted(faults.items()))}")
        ratio = spent / needed
        print(f"calls {spent:,}, {needed:,} undisturbed: {ratio:.3f} × (at most {MOST_CALLS}); tables differ: {failed}")
    return int(failed > 0 or ratio > MOST_CALLS)


def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="backfill-soak-", ignore_cleanup_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
