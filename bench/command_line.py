"""The main job on the command line: 500 tickers, two whole sessions missing, latency 120 to 350 ms.

Compared in the same minutes and with the same sandbox: a process that only asks, 48 requests at once, right before each
run; a sequential script with fixed pauses, and the vendor's client in a loop. The last two take minutes; the quick form
runs them for a few tickers and extrapolates. The morning's reading of daily data is not part of the runs that are
compared, because the others do not have it; a run with it is timed beside them. So is the first run of an installation,
which builds the exchange's calendar and keeps it on disk for all that follow.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psycopg

from backfill_assets.market.calendar.intervals import INTERVALS
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import US
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.world.simulation import World
from backfill_assets.store.postgres.connection import Database
from backfill_assets.store.postgres.embedded import start_embedded_database
from backfill_assets.store.postgres.migrate import migrate
from backfill_assets.store.symbols import add_symbols
from bench.baselines import sequential_script, vendor_client
from bench.environment import (
    NOW,
    TOKEN,
    TimedCommand,
    build_symbols,
    fetch_stats,
    read_server_processor_seconds,
    run_command,
    run_sandbox,
    time_module,
)
from bench.figures import Figure, Section

SYMBOLS = 500
DAYS = (date(2026, 6, 1), date(2026, 6, 2))
WINDOW = ("--start", str(DAYS[0]), "--end", str(DAYS[1]))
RUN = ("run", "--quiet", "--format", "json", *WINDOW)
DAILY_DATA = "BACKFILL_DAILY_DATA"


def measure(*, quick: bool) -> Section:
    """Time backfills before and after the baselines."""
    ticker_count = 12 if quick else SYMBOLS
    askers, backfills, script, client = [], [], [], []
    for _ in range(1 if quick else 3):
        askers.append(time_bare_asker(SYMBOLS))
        backfills.append(time_backfill(SYMBOLS))
    script.append(_extrapolate(ticker_count, _run_sequential_script))
    client.append(_extrapolate(ticker_count, _run_vendor_client))
    for _ in range(0 if quick else 2):
        askers.append(time_bare_asker(SYMBOLS))
        backfills.append(time_backfill(SYMBOLS))
    first = time_backfill(SYMBOLS, has_calendar=False)
    whole_morning = time_backfill(SYMBOLS, **{DAILY_DATA: "true"})
    seconds = [r.run.seconds for r in backfills]
    pairs = list(zip(backfills, askers, strict=True))
    pause_seconds = sequential_script.compute_pause_seconds(SYMBOLS)
    times = [script[0] / s for s in seconds]
    whole = f"{SYMBOLS} tickers × {len(DAYS)} sessions"
    return Section(
        f"1. Command line, {whole}",
        [
            Figure("whole process", "s", seconds, at_most=8),
            Figure("most memory", "MB", [r.run.megabytes for r in backfills], at_most=300),
            Figure("… its processor time", "s", [r.run.processor_seconds for r in backfills]),
            Figure("… that of the database server beside it", "s", [r.server_seconds for r in backfills]),
            Figure("bare asker of the same answers", "s", [a.seconds for a in askers]),
            Figure("… its processor time", "s", [a.processor_seconds for a in askers]),
            Figure(
                "wall time relative to the bare asker", "×", [r.run.seconds / a.seconds for r, a in pairs], at_most=1.5
            ),
            Figure(
                "processor time relative to the bare asker",
                "×",
                [r.run.processor_seconds / a.processor_seconds for r, a in pairs],
                at_most=1.8,
            ),
            Figure("first run of all, which builds the calendar: whole process", "s", [first.run.seconds]),
            Figure("… its processor time", "s", [first.run.processor_seconds]),
            Figure("whole process with the morning's daily data", "s", [whole_morning.run.seconds]),
            Figure("(b) sequential script without pauses", "s", script),
            Figure("(a) sequential script with fixed pauses", "s", [script[0] + pause_seconds]),
            Figure("(c) the vendor's client and to_sql", "s", client),
            Figure("faster than (b)", "×", times, at_least=25),
            Figure("faster than (a)", "×", [(script[0] + pause_seconds) / s for s in seconds], at_least=80),
            Figure("faster than (c)", "×", [client[0] / s for s in seconds]),
            Figure(
                "calls relative to (a)",
                "×",
                [r.calls / (sequential_script.CALLS_PER_TICKER * SYMBOLS) for r in backfills],
                at_most=5 / 6,
            ),
            Figure("refused by the rate limit", "requests", [r.refused for r in backfills], at_most=0),
            Figure("wrong, missing or extra bars", "bars", [r.wrong for r in backfills], at_most=0),
            Figure("requests of a second run", "requests", [r.again for r in backfills], at_most=0),
        ],
        [
            f"(a), (b) and (c) requested {ticker_count} tickers"
            + (", extrapolated to all." if ticker_count < SYMBOLS else ".")
        ],
    )


@dataclass(frozen=True)
class TimedBackfill:
    """One backfill of an empty database.

    Attributes:
        run: the timed command.
        server_seconds: processor time of the database server meanwhile.
        calls: calls billed for it.
        refused: requests that the rate limit refused.
        wrong: bars that differ from the true bars, are missing, or are extra.
        again: requests of a second run.
    """

    run: TimedCommand
    server_seconds: float
    calls: int
    refused: int
    wrong: int
    again: int


def time_bare_asker(count: int) -> TimedCommand:
    """Time the process that only asks, against a sandbox like that of the backfill."""
    sessions = list_sessions(US, *DAYS)
    span = (str(int(sessions[0].open.timestamp())), str(int(sessions[-1].close.timestamp())))
    with tempfile.TemporaryDirectory(prefix="backfill-bench-") as folder:
        file = Path(folder) / "symbols"
        file.write_text("\n".join(build_symbols(count)))
        with run_sandbox("--symbols", str(count), "--now", NOW) as vendor:
            asker = time_module("bench.baselines.bare_asker", vendor, TOKEN, *span, str(file))
    assert asker.code == 0
    return asker


def time_backfill(count: int, *, has_calendar: bool = True, **environment: str) -> TimedBackfill:
    """Backfill an empty database, then run the same command again; by default without daily data.

    With ``has_calendar`` the exchange's calendar is on disk, as for every command but the first of an installation.
    """
    variables = {DAILY_DATA: "false", **environment}
    symbols = build_symbols(count)
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        url = start_embedded_database(home, "bars_sandbox")  # starts the server before the timing
        (home / "symbols").write_text("\n".join(symbols))
        with run_sandbox("--symbols", str(count), "--now", NOW) as vendor:
            run_command(home, vendor, "symbols", "add", "--file", str(home / "symbols"))
            if has_calendar:
                run_command(home, vendor, "plan", *WINDOW)
            server_seconds = read_server_processor_seconds(home)
            run = run_command(home, vendor, *RUN, **variables)
            server_seconds = read_server_processor_seconds(home) - server_seconds
            spent = fetch_stats(vendor)
            again = json.loads(run_command(home, vendor, *RUN, **variables).out)["requests"]
        wrong = _count_wrong_bars(url, symbols)
    return TimedBackfill(run, server_seconds, spent["calls"], spent["by_status"].get("429", 0), wrong, again)


def _extrapolate(ticker_count: int, run: Callable[[str, str, Sequence[str], int, int], None]) -> float:
    """Compute the seconds for all tickers from a run over the first ones."""
    symbols = build_symbols(SYMBOLS)[:ticker_count]
    sessions = list_sessions(US, *DAYS)
    with tempfile.TemporaryDirectory(prefix="backfill-bench-", ignore_cleanup_errors=True) as folder:
        url = start_embedded_database(Path(folder), "baseline")
        database = Database(url)
        migrate(database)
        with database.transaction() as connection:
            add_symbols(connection, parse_tickers(symbols))
        database.close()
        with run_sandbox("--symbols", str(SYMBOLS), "--now", NOW) as vendor:
            began = time.perf_counter()
            run(vendor, url, symbols, int(sessions[0].open.timestamp()), int(sessions[-1].close.timestamp()))
            seconds = time.perf_counter() - began
    return seconds * SYMBOLS / ticker_count


def _run_sequential_script(vendor: str, url: str, symbols: Sequence[str], start: int, end: int) -> None:
    sequential_script.run(vendor, TOKEN, url, symbols, start, end)


def _run_vendor_client(vendor: str, url: str, symbols: Sequence[str], start: int, end: int) -> None:
    vendor_client.run(vendor, url, symbols, start, end)


def _count_wrong_bars(url: str, symbols: Sequence[str]) -> int:
    """Count bars that differ from the sandbox's true bars, are missing, or are extra."""
    world = World(SandboxConfig(symbols=len(symbols)))
    true = {}
    for symbol in symbols:
        for session in list_sessions(US, *DAYS):
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
