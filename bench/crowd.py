"""Four processes of 250 tickers each on one token, 300 requests a minute, in real time (about three minutes)."""

import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from backfill_assets.store.embedded import embedded_url
from bench.stage import NOW, TOKEN, backfill, sandbox_process, stats, universe

SYMBOLS, PROCESSES, LIMIT, WINDOW = 1000, 4, 300, 60.0
LATENCY = ("120", "350")


def main() -> None:
    """Print what the limit alone sets and what it took."""
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        url = embedded_url(home, "bars_sandbox")
        symbols = universe(SYMBOLS)
        (home / "symbols").write_text("\n".join(symbols))
        options = ("--symbols", str(SYMBOLS), "--now", NOW, "--per-minute", str(LIMIT), "--latency-ms", *LATENCY)
        with sandbox_process(*options) as vendor:
            backfill(home, vendor, "symbols", "add", "--file", str(home / "symbols"))
            seconds = crowd(home, vendor, symbols)
            spent = stats(vendor)
        with psycopg.connect(url) as connection:
            (bars,) = connection.execute("SELECT count(*) FROM market_data").fetchone() or (0,)
    rest = SYMBOLS - (math.ceil(SYMBOLS / LIMIT) - 1) * LIMIT
    floor = (math.ceil(SYMBOLS / LIMIT) - 1) * WINDOW + rest / 48 * 0.235
    print(
        f"{PROCESSES} processes, {SYMBOLS} tickers, {LIMIT} a minute: {seconds:.1f} s, floor {floor:.1f} s, "
        f"ratio {seconds / floor:.3f}; most in any window {spent['most_in_window']}, "
        f"refused {spent['by_status'].get('429', 0)}, asked twice "
        f"{sum(n > 1 for n in spent['per_ticker'].values())}, bars {bars}"
    )


def crowd(home: Path, vendor: str, symbols: list[str]) -> float:
    """Start all at once; seconds until the last has ended."""
    environment = {
        **os.environ,
        "BACKFILL_HOME": str(home),
        "EODHD_BASE_URL": vendor,
        "EODHD_API_TOKEN": TOKEN,
        "BACKFILL_AS_OF": NOW,
        "EODHD_REQUESTS_PER_MINUTE": str(LIMIT),
        "BACKFILL_MINUTE_SHARE": "1",
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


if __name__ == "__main__":
    main()
