"""Four processes of 250 tickers each on one token, 300 requests a minute, in real time (about three minutes)."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from backfill_assets.store.postgres.embedded import start_embedded_database
from bench.figures import Figure, Section
from bench.stage import NOW, TOKEN, backfill, sandbox_process, stats, universe
from bench.waiting import Crowding, environment

PROCESSES = 4
CROWDING = Crowding(tickers=1000, limit=300, window=60)


def measure(*, quick: bool) -> Section:  # noqa: ARG001 - has only one size
    """What the limit alone sets and what it took."""
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        url = start_embedded_database(home, "bars_sandbox")
        symbols = universe(CROWDING.tickers)
        (home / "symbols").write_text("\n".join(symbols))
        options = ("--symbols", str(CROWDING.tickers), "--now", NOW, "--per-minute", str(CROWDING.limit))
        with sandbox_process(*options) as vendor:
            backfill(home, vendor, "symbols", "add", "--file", str(home / "symbols"))
            seconds = crowd(home, vendor, symbols)
            spent: dict[str, Any] = stats(vendor)
        with psycopg.connect(url) as connection:
            (bars,) = connection.execute("SELECT count(*) FROM market_data").fetchone() or (0,)
    return Section(
        f"{PROCESSES} processes on one token, {CROWDING.tickers} tickers at {CROWDING.limit} requests a minute",
        [
            Figure("time", "s", [seconds]),
            Figure("… of the floor of the limit", "×", [seconds / CROWDING.floor], at_most=1.1),
            Figure("most requests in any minute", "requests", [spent["most_in_window"]], at_most=CROWDING.limit),
            Figure("refused for the rate", "requests", [spent["by_status"].get("429", 0)], at_most=0),
            Figure("asked twice", "tickers", [sum(n > 1 for n in spent["per_ticker"].values())], at_most=0),
            Figure("bars stored", "bars", [bars], at_least=26 * CROWDING.tickers, at_most=26 * CROWDING.tickers),
        ],
    )


def crowd(home: Path, vendor: str, symbols: list[str]) -> float:
    """Start all at once; seconds until the last has ended."""
    chosen = {
        **os.environ,
        **environment(CROWDING),
        "BACKFILL_HOME": str(home),
        "EODHD_BASE_URL": vendor,
        "EODHD_API_TOKEN": TOKEN,
        "BACKFILL_AS_OF": NOW,
    }
    size = len(symbols) // PROCESSES
    began = time.perf_counter()
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "backfill_assets", "run", "--quiet", "--symbols", ",".join(symbols[at : at + size])],
            env=chosen,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for at in range(0, len(symbols), size)
    ]
    for run in runs:
        run.wait()
    return time.perf_counter() - began
