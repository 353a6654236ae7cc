"""Four processes of 250 tickers each with one token at 300 requests a minute, in real time (about three minutes)."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from backfill_assets.store.postgres.embedded import start_embedded_database
from bench.environment import NOW, TOKEN, build_symbols, fetch_stats, run_command, run_sandbox
from bench.figures import Figure, Section
from bench.rate_limit import RateLimitedLoad, build_rate_settings

PROCESSES = 4
LOAD = RateLimitedLoad(tickers=1000, limit=300, window=60)


def measure(*, quick: bool) -> Section:  # noqa: ARG001 - has only one size
    """Compare the time with the minimum that the request limit sets."""
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        url = start_embedded_database(home, "bars_sandbox")
        symbols = build_symbols(LOAD.tickers)
        (home / "symbols").write_text("\n".join(symbols))
        options = ("--symbols", str(LOAD.tickers), "--now", NOW, "--per-minute", str(LOAD.limit))
        with run_sandbox(*options) as vendor:
            run_command(home, vendor, "symbols", "add", "--file", str(home / "symbols"))
            seconds = run_processes(home, vendor, symbols)
            spent: dict[str, Any] = fetch_stats(vendor)
        with psycopg.connect(url) as connection:
            (bars,) = connection.execute("SELECT count(*) FROM market_data").fetchone() or (0,)
    return Section(
        f"{PROCESSES} processes with one token, {LOAD.tickers} tickers at {LOAD.limit} requests a minute",
        [
            Figure("time", "s", [seconds]),
            Figure("… relative to the minimum of the limit", "×", [seconds / LOAD.minimum_seconds], at_most=1.1),
            Figure("most requests in any minute", "requests", [spent["most_in_window"]], at_most=LOAD.limit),
            Figure("refused by the rate limit", "requests", [spent["by_status"].get("429", 0)], at_most=0),
            Figure("requested twice", "tickers", [sum(n > 1 for n in spent["per_ticker"].values())], at_most=0),
            Figure("bars stored", "bars", [bars], at_least=26 * LOAD.tickers, at_most=26 * LOAD.tickers),
        ],
    )


def run_processes(home: Path, vendor: str, symbols: list[str]) -> float:
    """Start all processes at once; return the seconds until the last one ends."""
    environment = {
        **os.environ,
        **build_rate_settings(LOAD),
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
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for at in range(0, len(symbols), size)
    ]
    for run in runs:
        run.wait()
    return time.perf_counter() - began
