"""Two methods to enforce one rate limit in Postgres, each with four processes for a few seconds.

The package's method is a locked row and a row per permit, in one function call. The other is a single row with an array
of timestamps and one ``UPDATE … RETURNING``. pyrate-limiter is not installed; docs/decisions/0006 has its figures.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.quota.budget import Budget, PermitSettlement, QuotaLimits
from bench.figures import Figure, Section

SECONDS = 4.0
PROCESSES = 4
LIMIT = 1_000_000  # never reached: only the cost of a permit is measured
NOW = datetime(2026, 6, 3, tzinfo=UTC)
LIMITS = QuotaLimits(LIMIT, 1.0, 5.0, 5.0, 10**9, 0.0)

_ARRAY_TABLE = "CREATE TABLE IF NOT EXISTS stamps (token text PRIMARY KEY, free_at timestamptz[] NOT NULL)"
_ARRAY_TAKE = """
UPDATE stamps SET free_at = (SELECT coalesce(array_agg(f), '{}') FROM unnest(free_at) f WHERE f > clock_timestamp())
                            || (clock_timestamp() + interval '5 s')
WHERE token = 't' AND cardinality(free_at) < %s RETURNING cardinality(free_at)
"""


def take_one_permit(url: str) -> Callable[[], bool]:
    """The package's permits, taken and settled one at a time: the most expensive use."""
    budget = Budget(Database(url, max_connections=1), "token", LIMITS)

    def take() -> bool:
        grant = budget.take_permits(1, 5, NOW)
        budget.settle_permits(PermitSettlement(grant.permits), NOW)
        return bool(grant.permits)

    return take


def take_eight_permits(url: str) -> Callable[[], bool]:
    """The package's permits as the engine uses them, taken and settled eight at a time."""
    budget = Budget(Database(url, max_connections=1), "token", LIMITS)

    def take() -> bool:
        grant = budget.take_permits(8, 5, NOW)
        budget.settle_permits(PermitSettlement(grant.permits), NOW)
        return bool(grant.permits)

    return take


def take_from_array(url: str) -> Callable[[], bool]:
    """One row with an array, one statement for each permit."""
    connection = psycopg.connect(url, autocommit=True)
    return lambda: connection.execute(_ARRAY_TAKE, [LIMIT]).fetchone() is not None


def count_permits(method: str, url: str, done: "multiprocessing.Queue[tuple[int, int]]") -> None:
    """Take permits for ``SECONDS``; put the numbers of taken and refused ones into ``done``."""
    take = METHODS[method][0](url)
    taken = refused = 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if take():
            taken += 1
        else:
            refused += 1
    done.put((taken, refused))


METHODS: dict[str, tuple[Callable[[str], Callable[[], bool]], int]] = {
    "permits, one by one": (take_one_permit, 1),
    "permits, eight at a time": (take_eight_permits, 8),
    "array of timestamps": (take_from_array, 1),
}


def measure(*, quick: bool) -> Section:  # noqa: ARG001 - has only one size
    """Measure permits per second and wrong refusals of each method."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        url = start_embedded_database(Path(folder), "budget")
        database = Database(url)
        migrate(database)
        with database.transaction() as connection:
            connection.execute(_ARRAY_TABLE)
            connection.execute("INSERT INTO stamps VALUES ('t', '{}')")
        for method, (_, size) in METHODS.items():
            taken, refused = _run_processes(method, url)
            figures.append(Figure(method, "permits/s", [taken * size / SECONDS]))
            figures.append(Figure("… refused although permits were free", "times", [refused]))
        database.close()
    return Section(f"Rate limit in Postgres, {PROCESSES} processes", figures)


def _run_processes(method: str, url: str) -> tuple[int, int]:
    """Count the permits that all processes took with a method, and the refusals."""
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    processes = [spawn.Process(target=count_permits, args=(method, url, results)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    counts = [results.get() for _ in processes]
    for process in processes:
        process.join()
    taken, refused = (sum(column) for column in zip(*counts, strict=True))
    return taken, refused
