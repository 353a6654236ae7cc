"""``make fuzz``: tries the inputs of all families with two workers, and prints what they did and each finding.

Exit code 1 if there is a finding. ``--one FAMILY:SEED`` replays one input and prints what its commands printed.
"""

import argparse
import multiprocessing
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import psycopg

from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets_tests import processes
from backfill_assets_tests.embedded_server import release_embedded_server
from backfill_assets_tests.fuzz import worker
from backfill_assets_tests.fuzz.families import FAMILIES
from backfill_assets_tests.fuzz.inputs import Result, draw_input
from backfill_assets_tests.fuzz.oracle import generalize

_CHUNK = 8  # inputs of one family that a worker gets at a time
_MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - a file system in memory on Linux
_SERVER_SETTINGS = ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "autovacuum = off")


def main() -> None:
    options = _parse_options()
    for number in (signal.SIGINT, signal.SIGTERM):  # a background job of a shell ignores the first
        signal.signal(number, signal.default_int_handler)
    with _start_server() as (url, home):
        code = _replay(options.one, url, home) if options.one else _fuzz(options, url, home)
    sys.exit(code)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m backfill_assets_tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=3200, help="how many inputs, of all families together")
    parser.add_argument("--seed", type=int, default=14, help="first part of the seeds of all inputs")
    parser.add_argument("--families", nargs="+", choices=sorted(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one", metavar="FAMILY:SEED", help="replay one input")
    return parser.parse_args()


@contextmanager
def _start_server() -> Iterator[tuple[str, Path]]:
    parent = _MEMORY_FOLDER if _MEMORY_FOLDER.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="backfill-fuzz-", dir=parent, ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        processes.start_watchdog(home)
        url = start_embedded_database(home, "fuzz")
        with psycopg.connect(url, autocommit=True) as connection:  # nothing here need survive a crash
            for setting in (*_SERVER_SETTINGS, "max_wal_size = '128MB'"):
                connection.execute(f"ALTER SYSTEM SET {setting}".encode())
            connection.execute("SELECT pg_reload_conf()")
        try:
            yield url, home
        finally:
            processes.end_processes()
            release_embedded_server(home)
            processes.stop_watchdogs()


def _replay(one: str, url: str, home: Path) -> int:
    name, _, seed = one.partition(":")
    worker.start(url, str(home), 0)
    print(draw_input(FAMILIES[name], int(seed)).describe())
    result = worker.try_input(name, int(seed), verbose=True)
    for line in (*result.verdict.faults, *result.verdict.remarks):
        print(f"  {line}")
    print("a finding" if result.verdict.faults else "no finding")
    worker.stop()
    return int(bool(result.verdict.faults))


def _fuzz(options: argparse.Namespace, url: str, home: Path) -> int:
    started, results = time.monotonic(), []
    context = multiprocessing.get_context("spawn")
    counter = context.Value("i", 0)
    with ProcessPoolExecutor(options.workers, context, worker.start_in_pool, (url, str(home), counter)) as pool:
        futures = [pool.submit(worker.try_inputs, *chunk) for chunk in _split(options)]
        try:
            for future in as_completed(futures):
                results += (tried := future.result())
                _print_new_findings(tried)
        except BrokenProcessPool:
            current = [file.read_text() for file in home.glob("current_*")]
            print("\na worker died; the workers had:", *current, sep="\n  ")
            return 1
        except KeyboardInterrupt:
            pool.shutdown(wait=True, cancel_futures=True)
    _print_summary(results, time.monotonic() - started)
    return int(any(result.verdict.faults for result in results))


def _print_new_findings(results: Sequence[Result]) -> None:
    for result in results:
        if result.verdict.faults and result.smallest:
            print(f"finding {result.family}:{result.seed}  {result.verdict.faults[0][:200]}", flush=True)


def _split(options: argparse.Namespace) -> list[tuple[str, list[int]]]:
    """Chunks of seeds, the families in turn, so that each is seen early."""
    total = sum(FAMILIES[name].share for name in options.families)
    chunks = []
    for name in options.families:
        count = max(1, round(options.inputs * FAMILIES[name].share / total))
        seeds = [options.seed * 1_000_000 + n for n in range(count)]
        parts = [seeds[n : n + _CHUNK] for n in range(0, count, _CHUNK)]
        chunks += [((n + 0.5) / len(parts), name, part) for n, part in enumerate(parts)]
    return [(name, part) for _, name, part in sorted(chunks)]


def _print_summary(results: Sequence[Result], seconds: float) -> None:
    print(f"\n{len(results)} inputs in {seconds:.0f} s")
    by_family: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_family[result.family].append(result)
    for name, tried in by_family.items():
        codes = Counter(code for result in tried for code in result.verdict.codes)
        shown = ", ".join(f"{count} x {code}" for code, count in sorted(codes.items()))
        took = sum(result.seconds for result in tried)
        print(f"  {name:8} {len(tried):5} inputs, {took:4.0f} s; exit codes of its commands: {shown}")
    _print_findings("findings", [r for r in results if r.verdict.faults], show_smallest=True)
    _print_findings("worth a look", [r for r in results if r.verdict.remarks], show_smallest=False)


def _print_findings(title: str, results: Sequence[Result], *, show_smallest: bool) -> None:
    by_cause: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        line = (result.verdict.faults if show_smallest else result.verdict.remarks)[0]
        by_cause[f"{result.family}: {generalize(line)}"].append(result)
    print(f"\n{title}: {len(results)}, of {len(by_cause)} kinds")
    for found in sorted(by_cause.values(), key=len, reverse=True):
        first = min(found, key=lambda result: len(result.smallest or result.description))
        line = (first.verdict.faults if show_smallest else first.verdict.remarks)[0]
        print(f"  {len(found)} x {line[:300]}")
        print(f"      make fuzz ONE={first.family}:{first.seed}    {(first.smallest or first.description)[:400]}")


if __name__ == "__main__":
    main()
