"""``report``, ``plan``, ``run`` and ``verify``: everything that looks at a window."""

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from datetime import date, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from backfill_assets.cli.options import (
    DateType,
    add_common_options,
    add_format_option,
    add_window_options,
    build_job_request,
    load_command_settings,
    make_console,
    warn_unknown_symbols,
)
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL

if TYPE_CHECKING:
    from rich.console import Console

    from backfill_assets.backfill.engine import BackfillJob, Engine
    from backfill_assets.market.gaps.coverage import Coverage
    from backfill_assets.quality.live_accuracy import LiveAccuracy


@click.command()
@add_window_options
@add_format_option("table", "json", "csv", "markdown", "html")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file instead.")
def report(form: str, output: Path | None, as_of: datetime | None, debug: bool, **window: Any) -> None:
    """Measure every active symbol against the calendar; asks nobody."""
    from backfill_assets.backfill.job_request import build_job, open_engine
    from backfill_assets.quality.live_accuracy import read_live_accuracy

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        job, unknown = build_job(engine, build_job_request(**window))
        coverage = engine.measure(job)
        live = read_live_accuracy(engine.database, coverage) if form == "table" else None
        text = _format_report(engine, job, coverage, form) if form != "table" else ""
    warn_unknown_symbols(unknown)
    with _open_output(output) as file:
        if form == "table":
            _print_report(make_console(file), job, coverage, live)
        else:
            click.echo(text, file=file)


def _format_report(engine: "Engine", job: "BackfillJob", coverage: "Coverage", form: str) -> str:
    from backfill_assets.quality import report_formats as texts
    from backfill_assets.quality.live_accuracy import read_live_accuracy_by_symbol
    from backfill_assets.quality.report import build_symbol_reports

    if form == "html":
        return _format_html(engine, job, coverage)
    rows = build_symbol_reports(coverage)
    if form == "json":
        live = read_live_accuracy_by_symbol(engine.database, coverage)
        return texts.to_json(
            rows, {s.ticker.symbol: live[s.symbol_id] for s in coverage.symbols if s.symbol_id in live}
        )
    to_text = {"csv": texts.to_csv, "markdown": texts.to_markdown}[form]
    return to_text(rows).rstrip("\n")


def _format_html(engine: "Engine", job: "BackfillJob", coverage: "Coverage") -> str:
    from backfill_assets.quality.html_report import to_html
    from backfill_assets.quality.report_data import collect_report_data

    return to_html(
        collect_report_data(engine.database, engine.settings, coverage, job.window.description, job.source_interval)
    )


def _print_report(console: "Console", job: "BackfillJob", coverage: "Coverage", live: "LiveAccuracy | None") -> None:
    from backfill_assets.cli.heatmap import show_heatmap
    from backfill_assets.cli.rendering import show_report, show_window
    from backfill_assets.quality.heatmap import build_heatmap
    from backfill_assets.quality.report import build_symbol_reports

    show_window(console, job.window, coverage.now)
    if job.window.sessions:
        show_report(console, build_symbol_reports(coverage), coverage.duplicates, live)
        show_heatmap(console, build_heatmap(coverage))


def _open_output(output: Path | None) -> AbstractContextManager[IO[str] | None]:
    if output is None:
        return nullcontext()
    try:
        return output.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output {output} cannot be written: {error.strerror}") from None


@click.command()
@add_window_options
@add_format_option("table", "json")
def plan(form: str, as_of: datetime | None, debug: bool, **window: Any) -> None:
    """Say what would be asked, what it costs and how long it takes; spends nothing."""
    from backfill_assets.backfill.job_request import build_job, open_engine
    from backfill_assets.cli.rendering import show_plan, show_window

    settings = load_command_settings(as_of, debug=debug)
    with open_engine(settings) as engine:
        job, unknown = build_job(engine, build_job_request(**window))
        coverage = engine.measure(job)
        planned = engine.plan(job, coverage)
    warn_unknown_symbols(unknown)
    seconds = engine.estimate_seconds(planned)
    if form == "json":
        click.echo(json.dumps({**planned.as_dict(), "estimated_seconds": round(seconds, 1)}, indent=1))
        return
    console = make_console()
    show_window(console, job.window, coverage.now)
    show_plan(console, planned, seconds)


@click.command()
@add_window_options
@click.option(
    "--strategy",
    type=click.Choice(["hybrid", "incremental", "targeted"]),
    default="hybrid",
    show_default=True,
    help="Which gaps are asked for: all in the window (targeted), with a second pass over failures (hybrid), or what"
    " follows each symbol's newest final bar (incremental). Today's come from live samples, see --no-live.",
)
@click.option(
    "--live/--no-live",
    default=True,
    help="With BACKFILL_LIVE, make a round of live samples first if one is due: today's slots come from samples,"
    " older ones from history.  [default: live]",
)
@click.option("--batch-size", type=click.IntRange(1), help="Tickers at a time; for small plans.")
@click.option("--delay", type=click.FloatRange(0, 3600), default=0.0, help="Seconds of rest between batches.")
@click.option("--force", is_flag=True, help="Ask for everything in the window, complete or asked just now.")
@click.option(
    "--verify-existing",
    is_flag=True,
    help="Compare bars that somebody else wrote with the vendor's: equal ones are marked as ours, the others replaced.",
)
@click.option("--quiet", is_flag=True, help="Only the summary.")
@add_format_option("table", "json")
def run(form: str, strategy: str, live: bool, quiet: bool, as_of: datetime | None, debug: bool, **options: Any) -> None:
    """Find what is missing, fetch it, store it and prove it."""
    from backfill_assets.backfill.job_request import build_job, open_engine
    from backfill_assets.backfill.planner import Strategy
    from backfill_assets.cli.progress import show_run_progress
    from backfill_assets.cli.rendering import show_run, show_window
    from backfill_assets.live.collector import collect_today

    if options["delay"] and options["batch_size"] is None:
        raise UsageError("--delay rests between batches; give --batch-size too")
    settings = load_command_settings(as_of, debug=debug)
    console = make_console()
    with open_engine(settings) as engine:
        job, unknown = build_job(engine, build_job_request(**options, strategy=Strategy(strategy)))
        warn_unknown_symbols(unknown)
        if form == "table" and not (quiet and job.window.sessions):
            show_window(console, job.window, settings.now())
        live_round = collect_today(engine, job.window) if live else None
        with show_run_progress(make_console(stderr=True), show_tickers=not quiet) as listen:
            result = engine.run(job, listen)
    if form == "json":
        click.echo(json.dumps({**result.as_dict(), "live": live_round.as_dict() if live_round else None}, indent=1))
    else:
        show_run(console, result)
        if live_round:
            console.print(f"live: {live_round}", highlight=False)
    sys.exit(result.exit_code or (3 if unknown else 0))


@click.command()
@add_window_options
@add_format_option("table", "json")
def verify(form: str, as_of: datetime | None, debug: bool, **window: Any) -> None:
    """Judge the success criteria on what the store holds; with BACKFILL_LIVE also whether live bars keep up."""
    from backfill_assets.backfill.job_request import build_job, open_engine
    from backfill_assets.cli.rendering import show_criteria, show_window
    from backfill_assets.quality.criteria import evaluate_window

    settings = load_command_settings(as_of, debug=debug)
    with open_engine(settings) as engine:
        job, unknown = build_job(engine, build_job_request(**window))
        coverage = engine.measure(job)
        live = job.interval in settings.list_live_intervals()
        criteria = evaluate_window(engine.database, coverage, tolerance=settings.missing_tolerance, live=live)
    warn_unknown_symbols(unknown)
    if form == "json":
        click.echo(json.dumps([c.as_dict() for c in criteria], indent=1))
    else:
        console = make_console()
        show_window(console, job.window, coverage.now)
        if job.window.sessions:
            show_criteria(console, criteria)
    due = bool(job.window.sessions)
    sys.exit(3 if due and (unknown or not all(c.passed for c in criteria)) else 0)


@click.command()
@click.argument("ticker")
@click.argument("day", type=DateType())
@click.option("--ask", is_flag=True, help="Also ask the vendor right now (5 calls); stores nothing.")
@click.option("--interval", default=DEFAULT_INTERVAL, show_default=True, help="1m 5m 15m 30m 1h.")
@add_format_option("table", "json")
@add_common_options
def why(ticker: str, day: date, ask: bool, interval: str, form: str, as_of: datetime | None, debug: bool) -> None:
    """Say, slot by slot, what TICKER's session of DAY is, why, and when it is asked about again."""
    from backfill_assets.backfill.job_request import JobRequest, build_job, open_engine
    from backfill_assets.backfill.vendor_check import fetch_current_bars
    from backfill_assets.cli.rendering import show_slot_explanations, show_vendor_answer, show_window
    from backfill_assets.quality.slot_explanation import describe_session, explain_slots
    from backfill_assets.store.bars.bar_writer import read_bars

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        job, _ = build_job(engine, JobRequest(interval=interval, start=day, end=day, symbols=[ticker]))
        console = make_console()
        coverage = engine.measure(job)
        if not job.window.sessions:
            show_window(console, job.window, coverage.now)
            return
        session = job.window.sessions[0]
        with engine.database.transaction() as connection:
            bars = read_bars(connection, job.symbols[0].symbol_id, job.interval, session.open, session.close)
        explanations, evidence = explain_slots(coverage, bars), describe_session(coverage)
        answer = fetch_current_bars(engine, job) if ask else None
    if form == "json":
        click.echo(json.dumps({"evidence": evidence, "slots": [s.as_dict() for s in explanations]}, indent=1))
    else:
        show_slot_explanations(console, evidence, explanations)
    if answer is not None:
        show_vendor_answer(make_console(stderr=form == "json"), answer, coverage.grid)
