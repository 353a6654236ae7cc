"""Start-up time of ``--help``, a report and the definitions, compared with bare imports, in turn.

Ratios are by the clock, and by the processor time of whole processes, which other work on the machine hardly changes.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols
from bench.environment import NOW, build_symbols
from bench.figures import Figure, Section

SYMBOLS = 500
REPORT = ("-m", "backfill_assets", "report")
COMMANDS = {
    "dagster": ("-c", "import dagster, pandas"),
    "libraries": ("-c", "import pandas, exchange_calendars, psycopg"),
    "help": ("-m", "backfill_assets", "--help"),
    "definitions": ("-c", "from backfill_assets.definitions import defs; defs()"),
    "report": REPORT,
    "json": (*REPORT, "--format", "json"),
}


def measure(*, quick: bool) -> Section:
    """Run all commands in turn, several times."""
    rounds = 3 if quick else 9
    wall: dict[str, list[float]] = {name: [] for name in COMMANDS}
    spent: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        environment = _prepare_environment(Path(folder))
        for _ in range(rounds + 1):  # the first one reads the files into memory
            for name, words in COMMANDS.items():
                seconds, processor = _run_process(words, environment)
                wall[name].append(seconds)
                spent[name].append(processor)
    wall, spent = ({name: times[1:] for name, times in all_of.items()} for all_of in (wall, spent))
    by_clock, ratios = (
        {n: _compute_ratios(times, n) for n in ("definitions", "report", "json")} for times in (wall, spent)
    )
    return Section(
        "7. Start-up",
        [
            Figure("--help", "s", wall["help"], at_most=0.5),
            Figure("definitions called, import included", "s", wall["definitions"]),
            Figure("… relative to import dagster, pandas", "×", by_clock["definitions"], at_most=1.5),
            Figure("… by processor time", "×", ratios["definitions"], at_most=1.5),
            Figure(f"report at {SYMBOLS} symbols", "s", wall["report"]),
            Figure("… relative to import pandas, exchange_calendars, psycopg", "×", by_clock["report"], at_most=1.5),
            Figure("… by processor time", "×", ratios["report"], at_most=1.5),
            Figure("… the same as JSON", "×", by_clock["json"]),
        ],
    )


def _compute_ratios(times: dict[str, list[float]], name: str) -> list[float]:
    """Compute the ratio to the bare imports for each round."""
    bare = times["dagster" if name == "definitions" else "libraries"]
    return [own / other for own, other in zip(times[name], bare, strict=True)]


def _prepare_environment(home: Path) -> dict[str, str]:
    """Create a database with 500 symbols; return the environment variables for it."""
    url = start_embedded_database(home, "bars")
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(build_symbols(SYMBOLS)))
    database.close()
    return {**os.environ, "DATABASE_URL": url, "BACKFILL_HOME": str(home), "BACKFILL_AS_OF": NOW}


def _run_process(words: tuple[str, ...], environment: dict[str, str]) -> tuple[float, float]:
    """Run a process; return its wall seconds and processor seconds."""
    began = time.perf_counter()
    child = subprocess.Popen([sys.executable, *words], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, words
    return seconds, usage.ru_utime + usage.ru_stime
