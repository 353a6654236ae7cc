"""How long it takes to begin: imports, ``--help``, a report, the definitions; against bare imports, in turn.

Ratios are by the clock, and by the processor time of whole processes, which others on the machine hardly touch.
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
from bench.figures import Figure, Section
from bench.stage import NOW, universe

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
    """All commands in turn, several times."""
    rounds = 3 if quick else 9
    wall: dict[str, list[float]] = {name: [] for name in COMMANDS}
    spent: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        environment = _prepared(Path(folder))
        for _ in range(rounds + 1):  # the first brings the files into memory
            for name, words in COMMANDS.items():
                seconds, processor = _process(words, environment)
                wall[name].append(seconds)
                spent[name].append(processor)
    wall, spent = ({name: times[1:] for name, times in all_of.items()} for all_of in (wall, spent))
    by_clock, ratios = ({n: _ratios(times, n) for n in ("definitions", "report", "json")} for times in (wall, spent))
    return Section(
        "7. Beginning",
        [
            Figure("--help", "s", wall["help"], at_most=0.5),
            Figure("definitions called, import included", "s", wall["definitions"]),
            Figure("… of import dagster, pandas", "×", by_clock["definitions"], at_most=1.5),
            Figure("… by processor time", "×", ratios["definitions"], at_most=1.5),
            Figure(f"report at {SYMBOLS} symbols", "s", wall["report"]),
            Figure("… of import pandas, exchange_calendars, psycopg", "×", by_clock["report"], at_most=1.5),
            Figure("… by processor time", "×", ratios["report"], at_most=1.5),
            Figure("… the same as JSON", "×", by_clock["json"]),
        ],
    )


def _ratios(times: dict[str, list[float]], name: str) -> list[float]:
    """Ours to the bare imports, round by round."""
    bare = times["dagster" if name == "definitions" else "libraries"]
    return [ours / other for ours, other in zip(times[name], bare, strict=True)]


def _prepared(home: Path) -> dict[str, str]:
    """The environment of a user with a server and 500 symbols."""
    url = start_embedded_database(home, "bars")
    database = Database(url)
    migrate(database)
    with database.transaction() as connection:
        add_symbols(connection, parse_tickers(universe(SYMBOLS)))
    database.close()
    return {**os.environ, "DATABASE_URL": url, "BACKFILL_HOME": str(home), "BACKFILL_AS_OF": NOW}


def _process(words: tuple[str, ...], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds on the wall and of the processor."""
    began = time.perf_counter()
    child = subprocess.Popen([sys.executable, *words], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, words
    return seconds, usage.ru_utime + usage.ru_stime
