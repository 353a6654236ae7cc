"""The whole way once, for people who try it: report, plan, backfill, proof, report again.

With a token it works on the vendor and the user's universe. Without one it starts the bundled sandbox,
gives 30 symbols some history through the same engine, and takes bars out again so that there is
something to find; that database is never the one of the vendor's bars.
"""

from datetime import UTC, datetime, timedelta

from pydantic import SecretStr
from rich.console import Console

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import Wish, job_of, opened_engine
from backfill_assets.cli.progress import progress_of_run
from backfill_assets.cli.rendering import say_window, show_criteria, show_plan, show_report, show_run
from backfill_assets.cli.sandbox_mode import SYMBOLS, refuse_a_database_of_the_users, say_made_up
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE, parse_ticker, parse_tickers
from backfill_assets.quality.criteria import judge_window
from backfill_assets.quality.report import symbol_reports
from backfill_assets.sandbox.config import Publication, SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.sandbox.world.simulation import World
from backfill_assets.store.bars.bar_writer import delete_bars
from backfill_assets.store.symbols import add_symbols, list_symbols

HISTORY_DAYS = 16
FIRST_TICKERS = ("AAPL", "MSFT", "AMZN", "TSLA", "VTI")  # the vendor's demo token knows these


def show_the_way(settings: Settings, console: Console) -> None:
    """Walk through a backfill and print each step.

    Raises:
        UsageError: a database of the user's but no token: made-up bars do not go there.
    """
    if settings.token is not None:
        console.print(f"[bold]Asking the vendor at {settings.vendor_host}.[/bold]")
        with opened_engine(settings) as engine:
            with engine.database.transaction() as connection:
                if not list_symbols(connection, DEFAULT_EXCHANGE):
                    add_symbols(connection, parse_tickers(FIRST_TICKERS))
            _walk(engine, console)
    else:
        refuse_a_database_of_the_users(settings)
        _walk_in_the_sandbox(settings, console)


def _walk_in_the_sandbox(settings: Settings, console: Console) -> None:
    thin = World(SandboxConfig(symbols=SYMBOLS)).tickers[-1]
    config = SandboxConfig(
        symbols=SYMBOLS,
        now=settings.as_of,
        latency_ms=(20, 80),
        publication=Publication(session_hours=(2.0, 2.5)),
        thin=frozenset({thin}),
    )
    with Sandbox(config) as sandbox:
        say_made_up(console)
        console.print(f"It answers like the vendor at {sandbox.base_url}; the bars go to a database of their own.")
        chosen = {"base_url": sandbox.base_url, "source_host": None, "token": SecretStr("sandbox")}
        with opened_engine(settings.model_copy(update=chosen)) as engine:
            _give_history(engine, sandbox.world.tickers, console)
            _walk(engine, console)


def _give_history(engine: Engine, tickers: tuple[str, ...], console: Console) -> None:
    """Fill about ten sessions through the engine itself, then take bars out again."""
    with engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(tickers))
    today = engine.settings.now().date()
    job, _ = job_of(engine, Wish(start=today - timedelta(days=HISTORY_DAYS), end=today))
    result = engine.run(job, lambda _: None)
    console.print(f"{len(tickers)} symbols get history: {result.after.present:,} bars of {result.sessions} sessions.")
    window, _ = job_of(engine, Wish())
    coverage = engine.survey(window)
    stamps = [datetime.fromtimestamp(at, UTC) for at in coverage.grid.starts.tolist()]
    slots_a_day = len(stamps) // max(1, len(coverage.grid.sessions))
    holes = {
        "AAPL": ("head", stamps[:5]),
        "MSFT": ("interior", stamps[slots_a_day // 2 : slots_a_day // 2 + 1]),
        "AMZN": ("tail", stamps[slots_a_day - 4 :]),
        "TSLA": ("everything", stamps),
    }
    ids = {s.ticker.symbol: s.symbol_id for s in coverage.symbols}
    with engine.database.transaction() as connection:
        for symbol, (name, gone) in holes.items():
            deleted = delete_bars(connection, ids[symbol], window.interval, gone)
            console.print(f"  taken out: {symbol}.US {name:<10} {deleted:>3} bars", highlight=False)
    console.print(
        f"  thin:      {parse_ticker(tickers[-1])} trades seldom: some of its slots have no bar", highlight=False
    )


def _walk(engine: Engine, console: Console) -> None:
    job, _ = job_of(engine, Wish())
    _title(console, "Report")
    say_window(console, job.window, engine.settings.now())
    before = engine.survey(job)
    show_report(console, symbol_reports(before))
    _title(console, "Plan")
    plan = engine.plan(job, before)
    show_plan(console, plan, engine.estimated_seconds(plan))
    _title(console, "Backfill and proof")
    with progress_of_run(console, each=True) as listen:
        result = engine.run(job, listen)
    show_run(console, result)
    _title(console, "Report again")
    after = engine.survey(job)
    show_report(console, symbol_reports(after))
    _title(console, "Success criteria")
    show_criteria(console, judge_window(engine.database, after))


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(f"[bold]{text}[/bold] {'─' * (78 - len(text))}")
