"""``report``, ``plan``, ``run`` and ``verify``: everything that looks at a window."""

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from datetime import date, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from backfill_assets.cli.options import (
    Day,
    common,
    console_of,
    formats,
    settings_of,
    warn_unknown,
    windowed,
    wish_of,
)
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from backfill_assets.backfill.engine import Engine, Job
    from backfill_assets.quality.live_accuracy import Reconciliation
    from backfill_assets.store.coverage import Coverage


@click.command()
@windowed
@formats("table", "json", "csv", "markdown", "html")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file instead.")
def report(form: str, output: Path | None, as_of: datetime | None, debug: bool, **window: Any) -> None:
    """Measure every active symbol against the calendar; asks nobody."""
    from backfill_assets.backfill.job_request import job_of, opened_engine
    from backfill_assets.quality.live_accuracy import reconciliation_of

    with opened_engine(settings_of(as_of, debug=debug)) as engine:
        job, unknown = job_of(engine, wish_of(**window))
        coverage = engine.survey(job)
        live = reconciliation_of(engine.database, coverage) if form == "table" else None
        text = _as_text(engine, job, coverage, form) if form != "table" else ""
    warn_unknown(unknown)
    with _written_to(output) as file:
        if form == "table":
            _show_report(console_of(file), job, coverage, live)
        else:
            click.echo(text, file=file)


def _as_text(engine: "Engine", job: "Job", coverage: "Coverage", form: str) -> str:
    from backfill_assets.quality import report_formats as texts
    from backfill_assets.quality.live_accuracy import reconciliations_of
    from backfill_assets.quality.report import symbol_reports

    if form == "html":
        return _page(engine, job, coverage)
    rows = symbol_reports(coverage)
    if form == "json":
        live = reconciliations_of(engine.database, coverage)
        return texts.to_json(
            rows, {s.ticker.symbol: live[s.symbol_id] for s in coverage.symbols if s.symbol_id in live}
        )
    to_text = {"csv": texts.to_csv, "markdown": texts.to_markdown}[form]
    return to_text(rows).rstrip("\n")


def _page(engine: "Engine", job: "Job", coverage: "Coverage") -> str:
    from backfill_assets.quality.html_report import to_html
    from backfill_assets.quality.report_data import gather

    return to_html(gather(engine.database, engine.settings, coverage, job.window.described, job.source))


def _show_report(console: "Console", job: "Job", coverage: "Coverage", live: "Reconciliation | None") -> None:
    from backfill_assets.cli.heatmap import show_heatmap
    from backfill_assets.cli.rendering import say_window, show_report
    from backfill_assets.quality.heatmap import heatmap_of
    from backfill_assets.quality.report import symbol_reports

    say_window(console, job.window, coverage.now)
    if job.window.sessions:
        show_report(console, symbol_reports(coverage), coverage.duplicates, live)
        show_heatmap(console, heatmap_of(coverage))


def _written_to(output: Path | None) -> AbstractContextManager[IO[str] | None]:
    if output is None:
        return nullcontext()
    try:
        return output.open("w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output {output} cannot be written: {error.strerror}") from None


@click.command()
@windowed
@formats("table", "json")
def plan(form: str, as_of: datetime | None, debug: bool, **window: Any) -> None:
    """Say what would be asked, what it costs and how long it takes; spends nothing."""
    from backfill_assets.backfill.job_request import job_of, opened_engine
    from backfill_assets.cli.rendering import say_window, show_plan

    settings = settings_of(as_of, debug=debug)
    with opened_engine(settings) as engine:
        job, unknown = job_of(engine, wish_of(**window))
        coverage = engine.survey(job)
        planned = engine.plan(job, coverage)
    warn_unknown(unknown)
    seconds = engine.estimated_seconds(planned)
    if form == "json":
        click.echo(json.dumps({**planned.as_dict(), "estimated_seconds": round(seconds, 1)}, indent=1))
        return
    console = console_of()
    say_window(console, job.window, coverage.now)
    show_plan(console, planned, seconds)


@click.command()
@windowed
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
@formats("table", "json")
def run(form: str, strategy: str, live: bool, quiet: bool, as_of: datetime | None, debug: bool, **options: Any) -> None:
    """Find what is missing, fetch it, store it and prove it."""
    from backfill_assets.backfill.job_request import job_of, opened_engine
    from backfill_assets.backfill.planner import Strategy
    from backfill_assets.cli.progress import progress_of_run
    from backfill_assets.cli.rendering import say_window, show_run
    from backfill_assets.live.collector import today_from_samples

    if options["delay"] and options["batch_size"] is None:
        raise UsageError("--delay rests between batches; give --batch-size too")
    settings = settings_of(as_of, debug=debug)
    console = console_of()
    with opened_engine(settings) as engine:
        job, unknown = job_of(engine, wish_of(**options, strategy=Strategy(strategy)))
        warn_unknown(unknown)
        if form == "table" and not (quiet and job.window.sessions):
            say_window(console, job.window, settings.now())
        sampled = today_from_samples(engine, job.window) if live else None
        with progress_of_run(console_of(stderr=True), each=not quiet) as listen:
            result = engine.run(job, listen)
    if form == "json":
        click.echo(json.dumps({**result.as_dict(), "live": sampled.as_dict() if sampled else None}, indent=1))
    else:
        show_run(console, result)
        if sampled:
            console.print(f"live: {sampled}", highlight=False)
    sys.exit(result.exit_code or (3 if unknown else 0))


@click.command()
@windowed
@formats("table", "json")
def verify(form: str, as_of: datetime | None, debug: bool, **window: Any) -> None:
    """Judge the success criteria on what the store holds; with BACKFILL_LIVE also whether live bars keep up."""
    from backfill_assets.backfill.job_request import job_of, opened_engine
    from backfill_assets.cli.rendering import say_window, show_criteria
    from backfill_assets.quality.criteria import judge_window

    settings = settings_of(as_of, debug=debug)
    with opened_engine(settings) as engine:
        job, unknown = job_of(engine, wish_of(**window))
        coverage = engine.survey(job)
        live = job.interval in settings.live_intervals()
        criteria = judge_window(engine.database, coverage, tolerance=settings.missing_tolerance, live=live)
    warn_unknown(unknown)
    if form == "json":
        click.echo(json.dumps([c.as_dict() for c in criteria], indent=1))
    else:
        console = console_of()
        say_window(console, job.window, coverage.now)
        if job.window.sessions:
            show_criteria(console, criteria)
    due = bool(job.window.sessions)
    sys.exit(3 if due and (unknown or not all(c.passed for c in criteria)) else 0)


@click.command()
@click.argument("ticker")
@click.argument("day", type=Day())
@click.option("--ask", is_flag=True, help="Also ask the vendor right now (5 calls); stores nothing.")
@click.option("--interval", default="30m", show_default=True, help="1m 5m 15m 30m 1h.")
@formats("table", "json")
@common
def why(ticker: str, day: date, ask: bool, interval: str, form: str, as_of: datetime | None, debug: bool) -> None:
    """Say, slot by slot, what TICKER's session of DAY is, why, and when it is asked about again."""
    from backfill_assets.backfill.job_request import Wish, job_of, opened_engine
    from backfill_assets.backfill.vendor_check import ask_now
    from backfill_assets.cli.rendering import say_window, show_answer, show_stories
    from backfill_assets.quality.slot_explanation import session_evidence, slot_stories
    from backfill_assets.store.bars.bar_writer import read_bars

    with opened_engine(settings_of(as_of, debug=debug)) as engine:
        job, _ = job_of(engine, Wish(interval=interval, start=day, end=day, symbols=[ticker]))
        console = console_of()
        coverage = engine.survey(job)
        if not job.window.sessions:
            say_window(console, job.window, coverage.now)
            return
        session = job.window.sessions[0]
        with engine.database.transaction() as connection:
            bars = read_bars(connection, job.symbols[0].symbol_id, job.interval, session.open, session.close)
        stories, evidence = slot_stories(coverage, bars), session_evidence(coverage)
        answer = ask_now(engine, job) if ask else None
    if form == "json":
        click.echo(json.dumps({"evidence": evidence, "slots": [s.as_dict() for s in stories]}, indent=1))
    else:
        show_stories(console, evidence, stories)
    if answer is not None:
        show_answer(console_of(stderr=form == "json"), answer, coverage.grid)
