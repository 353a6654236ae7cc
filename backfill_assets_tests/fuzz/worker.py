"""A worker process of the fuzz: tries inputs one after another, and reduces those that are findings."""

import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backfill_assets_tests.fuzz.command_runs import print_runs
from backfill_assets_tests.fuzz.families import FAMILIES
from backfill_assets_tests.fuzz.inputs import FuzzInput, Result, Verdict, draw_input, shrink
from backfill_assets_tests.fuzz.oracle import TOKEN, generalize
from backfill_assets_tests.fuzz.workbench import Workbench

_MAX_MEMORY_BYTES = 8 * 1024**3
_state: dict[str, Any] = {}


def start_in_pool(url: str, home: str, counter: Any) -> None:
    """Prepare a process of a pool; ``counter`` numbers the processes."""
    with counter.get_lock():
        counter.value += 1
        number = counter.value
    start(url, home, number)


def start(url: str, home: str, number: int) -> None:
    """Prepare this process; it gets a folder of its own under ``home``."""
    os.umask(0o022)
    resource.setrlimit(
        resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES)
    )  # a fault, not the end of the machine
    _state["workbench"] = Workbench(url, Path(home), TOKEN, number).__enter__()
    _state["known"] = {}
    _state["current"] = Path(home) / f"current_{number}"


def stop() -> None:
    """Give back what ``start`` took."""
    _state.pop("workbench").__exit__()


def try_inputs(family: str, seeds: Sequence[int]) -> list[Result]:
    """Try the inputs of seeds."""
    return [try_input(family, seed) for seed in seeds]


def try_input(name: str, seed: int, *, verbose: bool = False) -> Result:
    """Try one input; a finding of a new kind is reduced, further ones of that kind are only told."""
    family, workbench, started = FAMILIES[name], _state["workbench"], time.monotonic()
    fuzz_input = draw_input(family, seed)
    _state["current"].write_text(f"{name}:{seed}  {fuzz_input.describe()}")

    def judge(tried: FuzzInput) -> Verdict:
        try:
            return family.judge(workbench, tried)
        except Exception as error:  # noqa: BLE001 - told as a finding, so that the other inputs are tried
            return Verdict((), (f"the fuzz itself failed: {type(error).__name__}: {error}",))

    if verbose:
        print_runs()
    verdict = judge(fuzz_input)
    smallest = ""
    if verdict.faults:
        kind = f"{name}: {generalize(verdict.faults[0])}"
        if not verbose and _state["known"].setdefault(kind, 0) < 2:
            _state["known"][kind] += 1
            kinds = {generalize(fault) for fault in verdict.faults[:1]}
            reduced = shrink(fuzz_input, lambda tried: bool(kinds & {generalize(f) for f in judge(tried).faults}))
            smallest = reduced.describe()
    return Result(name, seed, fuzz_input.describe(), verdict, smallest, time.monotonic() - started)
