"""The main job from the command line: 500 tickers, two whole sessions missing, latency 120 to 350 ms.

Beside it, in the same minutes and against the same stand-in: what the original plan describes, and the vendor's
client in a loop. Those take minutes, so that quickly only some tickers are asked and the rest is reckoned.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.world.simulation import World
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols
from bench.baselines import original, vendor_client
from bench.figures import Figure, Section
from bench.stage import NOW, TOKEN, Timed, backfill, sandbox_process, stats, universe

SYMBOLS = 500
DAYS = (date(2026, 6, 1), date(2026, 6, 2))
WINDOW = ("--start", str(DAYS[0]), "--end", str(DAYS[1]))


def measure(*, quick: bool) -> Section:
    """Rounds of ours, with the others asked in between."""
    asked = 12 if quick else SYMBOLS
    ours, plan, client = [], [], []
    for _ in range(1 if quick else 3):
        ours.append(Round(SYMBOLS))
    plan.append(_reckoned(asked, _ask_as_planned))
    client.append(_reckoned(asked, _ask_with_client))
    for _ in range(0 if quick else 2):
        ours.append(Round(SYMBOLS))
    seconds = [r.run.seconds for r in ours]
    rests = original.rests(SYMBOLS)
    times = [plan[0] / s for s in seconds]
    whole = f"{SYMBOLS} tickers × {len(DAYS)} sessions"
    return Section(
        f"1. Command line, {whole}",
        [
            Figure("whole process", "s", seconds, at_most=8),
            Figure("most memory", "MB", [r.run.megabytes for r in ours], at_most=300),
            Figure("(b) one ticker after the other", "s", plan),
            Figure("(a) the same with its rests", "s", [plan[0] + rests]),
            Figure("(c) the vendor's client, to_sql", "s", client),
            Figure("faster than (b)", "×", times, at_least=25),
            Figure("faster than (a)", "×", [(plan[0] + rests) / s for s in seconds], at_least=80),
            Figure("faster than (c)", "×", [client[0] / s for s in seconds]),
            Figure(
                "calls, of those of (a)", "×", [r.calls / (original.CALLS_EACH * SYMBOLS) for r in ours], at_most=5 / 6
            ),
            Figure("refused for the rate", "requests", [r.refused for r in ours], at_most=0),
            Figure("bars wrong, missing or too many", "bars", [r.wrong for r in ours], at_most=0),
            Figure("requests of a second run", "requests", [r.again for r in ours], at_most=0),
        ],
        [f"(a), (b) and (c) asked {asked} tickers" + (", reckoned for all." if asked < SYMBOLS else ".")],
    )


class Round:
    """One filling of an empty database: how long, at what price, and whether every bar is right."""

    def __init__(self, count: int) -> None:
        with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
            home = Path(folder)
            url = start_embedded_database(home, "bars_sandbox")  # keeps the server up: starting it is not what is timed
            (home / "symbols").write_text("\n".join(universe(count)))
            with sandbox_process("--symbols", str(count), "--now", NOW) as vendor:
                backfill(home, vendor, "symbols", "add", "--file", str(home / "symbols"))
                self.run: Timed = backfill(home, vendor, "run", "--quiet", "--format", "json", *WINDOW)
                spent: dict[str, Any] = stats(vendor)
                again = backfill(home, vendor, "run", "--quiet", "--format", "json", *WINDOW)
            self.wrong = _differences(url, universe(count))
        self.calls = spent["calls"]
        self.refused = spent["by_status"].get("429", 0)
        self.again = json.loads(again.out)["requests"]


def _reckoned(asked: int, ask: Callable[[str, str, Sequence[str], int, int], None]) -> float:
    """Seconds for all tickers, from asking the first of them one after the other."""
    symbols = universe(SYMBOLS)[:asked]
    sessions = list_sessions("US", *DAYS)
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        url = start_embedded_database(Path(folder), "baseline")
        database = Database(url)
        migrate(database)
        with database.transaction() as connection:
            add_symbols(connection, parse_tickers(symbols))
        database.close()
        with sandbox_process("--symbols", str(SYMBOLS), "--now", NOW) as vendor:
            began = time.perf_counter()
            ask(vendor, url, symbols, int(sessions[0].open.timestamp()), int(sessions[-1].close.timestamp()))
            seconds = time.perf_counter() - began
    return seconds * SYMBOLS / asked


def _ask_as_planned(vendor: str, url: str, symbols: Sequence[str], start: int, end: int) -> None:
    original.fill(vendor, TOKEN, url, symbols, start, end)


def _ask_with_client(vendor: str, url: str, symbols: Sequence[str], start: int, end: int) -> None:
    vendor_client.fill(vendor, url, symbols, start, end)


def _differences(url: str, symbols: Sequence[str]) -> int:
    """Bars that differ from the sandbox's truth, are missing, or are too many."""
    world = World(SandboxConfig(symbols=len(symbols)))
    true = {}
    for symbol in symbols:
        for session in list_sessions("US", *DAYS):
            for bar in world.true_bars(symbol, session, INTERVALS["30m"], "5m").to_dict("records"):
                values = tuple(round(bar[name], 6) for name in ("open", "high", "low", "close"))
                true[symbol, int(bar["timestamp"])] = (*values, int(bar["volume"]))
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT s.symbol, extract(epoch FROM d.timestamp)::bigint, open_price, high_price, low_price, close_price,"
            " volume FROM market_data d JOIN market_symbols s USING (symbol_id)"
        ).fetchall()
    stored = {(row[0], row[1]): tuple(row[2:]) for row in rows}
    return sum(stored.get(key) != bar for key, bar in true.items()) + len(stored.keys() - true.keys())
