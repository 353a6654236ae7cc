"""``report``: how complete the stored bars of a window are, as table, JSON, CSV, Markdown or HTML."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from backfill_assets.cli.options import (
    add_format_option,
    add_window_options,
    build_job_request,
    load_command_settings,
    make_console,
    show_past_universe,
    warn_unknown_symbols,
    warn_unused_names,
)
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from backfill_assets.backfill.engine import BackfillJob, Engine
    from backfill_assets.market.gaps.coverage import Coverage
    from backfill_assets.quality.action_entries import ActionEntry
    from backfill_assets.quality.live_accuracy import LiveAccuracy
    from backfill_assets.quality.report import SymbolReport


@click.command()
@add_window_options
@add_format_option("table", "json", "csv", "markdown", "html")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead of standard output."
)
@click.option("--ended", is_flag=True, help="Also tickers whose listing ended before the window.")
def report(
    output_format: str, output: Path | None, ended: bool, as_of: datetime | None, debug: bool, **window: Any
) -> None:
    """Report gaps of all active symbols, and of tickers that ended in the window. No vendor calls."""
    from backfill_assets.backfill.job_request import build_job, open_engine
    from backfill_assets.quality.corporate_actions_listing import add_details, list_window_actions
    from backfill_assets.quality.live_accuracy import read_live_accuracy
    from backfill_assets.quality.symbol_reports import read_symbol_reports

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        job, unknown = build_job(engine, build_job_request(**window, with_ended=ended))
        coverage = engine.measure(job)
        warn_unused_names(engine)
        live = read_live_accuracy(engine.database, coverage) if output_format == "table" else None
        with engine.database.transaction() as connection:
            rows, actions = read_symbol_reports(connection, coverage), list_window_actions(connection, coverage)
            if output_format == "json":
                actions = add_details(connection, actions, coverage.now, coverage.grid.interval)
        text = _format_report(engine, job, coverage, rows, actions, output_format) if output_format != "table" else ""
    warn_unknown_symbols(unknown)
    with _open_output(output) as file:
        if output_format == "table":
            _print_report(make_console(file), job, coverage, rows, actions, live)
        elif output_format == "html":
            click.echo(text.encode("utf-8"), file=file)  # the page says that it is UTF-8, wherever it goes
        else:
            click.echo(text, file=file)
    if output_format != "table":
        show_past_universe(job)


def _format_report(
    engine: "Engine",
    job: "BackfillJob",
    coverage: "Coverage",
    rows: "list[SymbolReport]",
    actions: "list[ActionEntry]",
    output_format: str,
) -> str:
    from backfill_assets.quality import report_formats
    from backfill_assets.quality.live_accuracy import read_live_accuracy_by_symbol

    if output_format == "html":
        return _format_html(engine, job, coverage)
    if output_format == "json":
        live = read_live_accuracy_by_symbol(engine.database, coverage)
        return report_formats.to_json(
            rows, {s.ticker.symbol: live[s.symbol_id] for s in coverage.symbols if s.symbol_id in live}, actions
        )
    to_text = {"csv": report_formats.to_csv, "markdown": report_formats.to_markdown}[output_format]
    return to_text(rows).rstrip("\n")


def _format_html(engine: "Engine", job: "BackfillJob", coverage: "Coverage") -> str:
    from backfill_assets.backfill.decisions.inbox import refresh_inbox
    from backfill_assets.quality.html_report import to_html
    from backfill_assets.quality.html_report_data import collect_report_data

    refresh_inbox(engine.database, engine.settings.now())
    return to_html(
        collect_report_data(engine.database, engine.settings, coverage, job.window.description, job.source_interval)
    )


def _print_report(
    console: "Console",
    job: "BackfillJob",
    coverage: "Coverage",
    rows: "list[SymbolReport]",
    actions: "list[ActionEntry]",
    live: "LiveAccuracy | None",
) -> None:
    from backfill_assets.cli.action_rendering import show_window_actions
    from backfill_assets.cli.heatmap import show_heatmap
    from backfill_assets.cli.rendering import show_report, show_window
    from backfill_assets.quality.heatmap import build_heatmap

    show_window(console, job.window, coverage.now)
    show_past_universe(job, console)
    if job.window.sessions:
        show_report(console, rows, coverage.duplicates, live)
        show_window_actions(console, actions)
        show_heatmap(console, build_heatmap(coverage))


@contextmanager
def _open_output(output: Path | None) -> Iterator[IO[str]]:
    """The file of ``--output``, else standard output."""
    if output is None:
        yield sys.stdout
        return
    try:
        with output.open("w", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise UsageError(f"--output {output} cannot be written: {error.strerror or error}") from None
