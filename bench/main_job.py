"""500 tickers, two whole sessions missing, latency 120 to 350 ms, 1,000 requests a minute."""

import json
import statistics
import tempfile
from datetime import date
from pathlib import Path

import psycopg

from backfill_assets.eodhd.sandbox.config import SandboxConfig
from backfill_assets.eodhd.sandbox.world import World
from backfill_assets.market.intervals import INTERVALS
from backfill_assets.market.sessions import sessions_between
from backfill_assets.store.embedded import embedded_url
from bench.stage import NOW, backfill, sandbox_process, stats, universe

SYMBOLS = 500
DAYS = (date(2026, 6, 1), date(2026, 6, 2))
ROUNDS = 3
WINDOW = ("--start", str(DAYS[0]), "--end", str(DAYS[1]))


def main() -> None:
    """Print each round and the median."""
    rounds = [one_round(number) for number in range(1, ROUNDS + 1)]
    seconds = [r["seconds"] for r in rounds]
    print(f"median {statistics.median(seconds):.2f} s, from {min(seconds):.2f} to {max(seconds):.2f}")


def one_round(number: int) -> dict[str, float]:
    """Fill an empty database once; says what was spent and whether every bar is right."""
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        url = embedded_url(home, "bars_sandbox")  # keeps the server up: starting it is not what is timed
        (home / "symbols").write_text("\n".join(universe(SYMBOLS)))
        options = ("--symbols", str(SYMBOLS), "--now", NOW)
        with sandbox_process(*options) as vendor:
            backfill(home, vendor, "symbols", "add", "--file", str(home / "symbols"))
            run = backfill(home, vendor, "run", "--quiet", "--format", "json", *WINDOW)
            spent = stats(vendor)
            again = json.loads(backfill(home, vendor, "run", "--quiet", "--format", "json", *WINDOW).out)
        wrong, stored = compare(url)
    result = json.loads(run.out)
    print(
        f"round {number}: {run.seconds:.2f} s whole process, {result['seconds']:.2f} s the run, "
        f"{run.megabytes:.0f} MB, exit {run.code}; "
        f"{spent['by_endpoint']['intraday']} requests, {spent['calls']} calls, "
        f"{spent['by_status'].get('429', 0)} refused, most in flight {spent['most_in_flight']}; "
        f"{stored} bars, {wrong} wrong or missing or too many; second run {again['requests']} requests"
    )
    return {"seconds": run.seconds, "megabytes": run.megabytes}


def compare(url: str) -> tuple[int, int]:
    """Bars that differ from the sandbox's truth, and bars stored."""
    world = World(SandboxConfig(symbols=SYMBOLS))
    sessions = sessions_between("US", *DAYS)
    true = {}
    for symbol in universe(SYMBOLS):
        for session in sessions:
            for bar in world.true_bars(symbol, session, INTERVALS["30m"], "5m").to_dict("records"):
                values = tuple(round(bar[k], 6) for k in ("open", "high", "low", "close"))
                true[symbol, int(bar["timestamp"])] = (*values, int(bar["volume"]))
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT s.symbol, extract(epoch FROM d.timestamp)::bigint, open_price, high_price, low_price, close_price,"
            " volume FROM market_data d JOIN market_symbols s USING (symbol_id)"
        ).fetchall()
    stored = {(r[0], r[1]): tuple(r[2:]) for r in rows}
    wrong = sum(stored.get(k) != v for k, v in true.items()) + len(stored.keys() - true.keys())
    return wrong, len(stored)
