"""Loading the definitions with one exchange and with twenty, with the calendars on disk and without them.

Seconds are of the definitions and the repository made of them, imports excluded: by the clock, and by the processor,
which other work on the machine hardly changes.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from backfill_assets.market.exchanges.registry import PROFILES
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from bench.environment import NOW
from bench.figures import Figure, Section

SCRIPT = """
import resource, time
from backfill_assets.definitions import defs

def spend():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime

began, spent = time.perf_counter(), spend()
defs().get_repository_def()
print(time.perf_counter() - began, spend() - spent)
"""
EXCHANGES = list(PROFILES)[:20]  # the US first


def measure(*, quick: bool) -> Section:
    """Load the definitions in a process each, in turn."""
    rounds = 2 if quick else 7
    one, twenty, cold = [], [], []
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        environment = _prepare_environment(Path(folder))
        for _ in range(1 if quick else 3):
            shutil.rmtree(Path(folder) / "calendars", ignore_errors=True)
            cold.append(_load(EXCHANGES, environment))
        for _ in range(rounds):
            one.append(_load(["US"], environment))
            twenty.append(_load(EXCHANGES, environment))
    more = [after[1] - before[1] for before, after in zip(one, twenty, strict=True)]
    return Section(
        "Definitions of many exchanges",
        [
            Figure("the US alone", "s", [seconds for seconds, _ in one]),
            Figure("… by processor time", "s", [spent for _, spent in one]),
            Figure(f"{len(EXCHANGES)} exchanges", "s", [seconds for seconds, _ in twenty]),
            Figure("… by processor time", "s", [spent for _, spent in twenty]),
            Figure("… more than the US alone, by processor time", "s", more, at_most=0.5),
            Figure("… once, without calendars on disk", "s", [seconds for seconds, _ in cold]),
            Figure("… by processor time", "s", [spent for _, spent in cold], at_most=10),
        ],
    )


def _prepare_environment(home: Path) -> dict[str, str]:
    url = start_embedded_database(home, "bars")
    database = Database(url)
    migrate(database)
    database.close()
    return {**os.environ, "DATABASE_URL": url, "BACKFILL_HOME": str(home), "BACKFILL_AS_OF": NOW}


def _load(exchanges: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds and processor seconds of one load."""
    chosen = {**environment, "BACKFILL_EXCHANGES": json.dumps(exchanges)}
    child = subprocess.run([sys.executable, "-c", SCRIPT], env=chosen, check=True, capture_output=True, text=True)
    seconds, spent = map(float, child.stdout.split())
    return seconds, spent
