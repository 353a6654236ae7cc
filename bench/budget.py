"""Two ways to hold one rate limit in Postgres, each under four processes for a few seconds.

``permits`` is ours (one locked row and a row a permit, in one function call), ``array`` a single row
with an array of stamps and one UPDATE … RETURNING. What pyrate-limiter does is in decision 6: it is not installed.
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
LIMIT = 1_000_000  # never reached: what one permit costs is measured
NOW = datetime(2026, 6, 3, tzinfo=UTC)
LIMITS = QuotaLimits(LIMIT, 1.0, 5.0, 5.0, 10**9, 0.0)

_ARRAY_TABLE = "CREATE TABLE IF NOT EXISTS stamps (token text PRIMARY KEY, free_at timestamptz[] NOT NULL)"
_ARRAY_TAKE = """
UPDATE stamps SET free_at = (SELECT coalesce(array_agg(f), '{}') FROM unnest(free_at) f WHERE f > clock_timestamp())
                            || (clock_timestamp() + interval '5 s')
WHERE token = 't' AND cardinality(free_at) < %s RETURNING cardinality(free_at)
"""


def permits(url: str) -> Callable[[], bool]:
    """Ours, one permit at a time, taken and settled: the dearest way to use it."""
    budget = Budget(Database(url, max_connections=1), "token", LIMITS)

    def take() -> bool:
        grant = budget.take_permits(1, 5, NOW)
        budget.settle_permits(PermitSettlement(grant.permits), NOW)
        return bool(grant.permits)

    return take


def permits_of_eight(url: str) -> Callable[[], bool]:
    """Ours as the engine uses it: taken and settled in batches. One call is eight permits."""
    budget = Budget(Database(url, max_connections=1), "token", LIMITS)

    def take() -> bool:
        grant = budget.take_permits(8, 5, NOW)
        budget.settle_permits(PermitSettlement(grant.permits), NOW)
        return bool(grant.permits)

    return take


def array(url: str) -> Callable[[], bool]:
    """One row, one statement."""
    connection = psycopg.connect(url, autocommit=True)
    return lambda: connection.execute(_ARRAY_TAKE, [LIMIT]).fetchone() is not None


def work(way: str, url: str, done: "multiprocessing.Queue[tuple[int, int]]") -> None:
    """Take permits until the time is up."""
    take = WAYS[way][0](url)
    taken = refused = 0
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if take():
            taken += 1
        else:
            refused += 1
    done.put((taken, refused))


WAYS: dict[str, tuple[Callable[[str], Callable[[], bool]], int]] = {
    "permits, one by one": (permits, 1),
    "permits, eight at a time": (permits_of_eight, 8),
    "array of stamps": (array, 1),
}


def measure(*, quick: bool) -> Section:  # noqa: ARG001 - has only one size
    """Permits per second and refusals of each way."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        url = start_embedded_database(Path(folder), "budget")
        database = Database(url)
        migrate(database)
        with database.transaction() as connection:
            connection.execute(_ARRAY_TABLE)
            connection.execute("INSERT INTO stamps VALUES ('t', '{}')")
        for way, (_, size) in WAYS.items():
            taken, refused = _counted(way, url)
            figures.append(Figure(way, "permits/s", [taken * size / SECONDS]))
            figures.append(Figure("… turned away while they were free", "times", [refused]))
        database.close()
    return Section(f"The vendor's budget in Postgres, {PROCESSES} processes", figures)


def _counted(way: str, url: str) -> tuple[int, int]:
    """Permits that all processes took in a way, and how often they were turned away."""
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    processes = [spawn.Process(target=work, args=(way, url, results)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    counts = [results.get() for _ in processes]
    for process in processes:
        process.join()
    taken, refused = (sum(column) for column in zip(*counts, strict=True))
    return taken, refused
