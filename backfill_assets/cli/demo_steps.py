"""The steps of ``demo``: report, plan, backfill with proof, report again, success criteria.

With a token it uses the vendor and the user's universe. Without one it starts the bundled sandbox, loads
some history of 30 symbols through the same engine, and deletes bars to create gaps; these bars are in a
separate database, never in the one of the vendor's bars.
"""

from datetime import UTC, datetime, timedelta

from pydantic import SecretStr
from rich.console import Console

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.job_request import JobRequest, build_job, open_engine
from backfill_assets.backfill.runner import run_backfill
from backfill_assets.cli.progress import show_run_progress
from backfill_assets.cli.rendering import show_criteria, show_plan, show_report, show_run, show_window
from backfill_assets.cli.sandbox_mode import SANDBOX_SYMBOLS, reject_user_database, warn_sandbox_data
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.tickers import parse_tickers
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.quality.checks import evaluate_window
from backfill_assets.quality.report import build_symbol_reports
from backfill_assets.sandbox.config import Publication, SandboxConfig
from backfill_assets.sandbox.server.serve import Sandbox
from backfill_assets.store.bars.bar_writer import delete_bars
from backfill_assets.store.symbols import add_symbols, list_symbols

HISTORY_DAYS = 16
DEMO_TICKERS = ("AAPL", "MSFT", "AMZN", "TSLA", "VTI")  # the vendor's demo token may request these


def run_demo(settings: Settings, console: Console) -> None:
    """Run each step and print its result.

    Raises:
        UsageError: DATABASE_URL is set without a token; simulated bars are not written into a user's database.
    """
    settings = settings.model_copy(update={"exchanges": (DEFAULT_EXCHANGE,)})  # its symbols and gaps are New York's
    if settings.token is not None:
        console.print(f"[bold]Using the vendor at {settings.vendor_host}.[/bold]")
        with open_engine(settings) as engine:
            with engine.database.transaction() as connection:
                if not list_symbols(connection, DEFAULT_EXCHANGE):
                    add_symbols(connection, parse_tickers(DEMO_TICKERS))
            _run_steps(engine, console)
    else:
        reject_user_database(settings)
        _run_on_sandbox(settings, console)


def _run_on_sandbox(settings: Settings, console: Console) -> None:
    config = SandboxConfig(
        symbols=SANDBOX_SYMBOLS,
        now=settings.as_of,
        latency_ms=(20, 80),
        publication=Publication(hours_after_close=(2.0, 2.5)),
    )
    with Sandbox(config) as sandbox:
        warn_sandbox_data(console)
        console.print(
            f"The sandbox imitates the vendor's API at {sandbox.base_url}; its bars go to a separate database."
        )
        sandbox_settings = {"base_url": sandbox.base_url, "source_host": None, "token": SecretStr("sandbox")}
        with open_engine(settings.model_copy(update=sandbox_settings)) as engine:
            _create_history_with_gaps(engine, sandbox.world.symbols, console)
            _run_steps(engine, console)


def _create_history_with_gaps(engine: Engine, tickers: tuple[str, ...], console: Console) -> None:
    """Load about ten sessions through the engine, then delete bars of four symbols."""
    with engine.database.transaction() as connection:
        add_symbols(connection, parse_tickers(tickers))
    today = engine.settings.now().date()
    job, _ = build_job(engine, JobRequest(start=today - timedelta(days=HISTORY_DAYS), end=today))
    result = run_backfill(engine, job, lambda _: None)
    console.print(
        f"History loaded: {result.after.present:,} bars of {len(tickers)} symbols in {result.sessions} sessions."
    )
    default_job, _ = build_job(engine, JobRequest())
    coverage = engine.measure(default_job)
    stamps = [datetime.fromtimestamp(at, UTC) for at in coverage.grid.starts.tolist()]
    slots_a_day = len(stamps) // max(1, len(coverage.grid.sessions))
    gaps = {
        "AAPL": ("head", stamps[:5]),
        "MSFT": ("interior", stamps[slots_a_day // 2 : slots_a_day // 2 + 1]),
        "AMZN": ("tail", stamps[slots_a_day - 4 :]),
        "TSLA": ("everything", stamps),
    }
    ids = {s.ticker.symbol: s.symbol_id for s in coverage.symbols}
    with engine.database.transaction() as connection:
        for symbol, (name, deleted_stamps) in gaps.items():
            deleted = delete_bars(connection, ids[symbol], default_job.interval, deleted_stamps)
            unit = "bar" if deleted == 1 else "bars"
            console.print(f"  deleted: {symbol}.US {name:<10} {deleted:>3} {unit}", highlight=False)


def _run_steps(engine: Engine, console: Console) -> None:
    job, _ = build_job(engine, JobRequest())
    _print_title(console, "Report")
    show_window(console, job.window, engine.settings.now())
    before = engine.measure(job)
    show_report(console, build_symbol_reports(before))
    _print_title(console, "Plan")
    plan = engine.plan(job, before)
    show_plan(console, plan, engine.estimate_seconds(plan))
    _print_title(console, "Backfill and proof")
    with show_run_progress(console, show_tickers=True) as listen:
        result = run_backfill(engine, job, listen)
    show_run(console, result)
    _print_title(console, "Report after the backfill")
    after = engine.measure(job)
    show_report(console, build_symbol_reports(after))
    _print_title(console, "Success criteria")
    show_criteria(console, evaluate_window(engine.database, after))


def _print_title(console: Console, text: str) -> None:
    console.print()
    console.print(f"[bold]{text}[/bold] {'─' * (78 - len(text))}")
