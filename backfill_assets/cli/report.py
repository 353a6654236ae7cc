"""``report``: how complete the stored bars of a window are, as table, JSON, CSV, Markdown or HTML."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from backfill_assets.cli.options import (
    add_format_option,
    add_window_options,
    build_job_request,
    load_command_settings,
    make_console,
    warn_unknown_symbols,
    warn_unused_names,
)
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from backfill_assets.backfill.engine import BackfillJob, Engine
    from backfill_assets.cli.window_report import WindowReport
    from backfill_assets.config.settings import Settings
    from backfill_assets.quality.html_report_data import HistoryOutlook


@click.command()
@add_window_options
@add_format_option("table", "json", "csv", "markdown", "html")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file instead of standard output."
)
@click.option("--ended", is_flag=True, help="Also tickers whose listing ended before the window.")
@click.option("--all", "is_whole", is_flag=True, help="The whole history, from the census, instead of a window.")
def report(
    output_format: str,
    output: Path | None,
    ended: bool,
    is_whole: bool,
    as_of: datetime | None,
    debug: bool,
    **window: Any,
) -> None:
    """Report gaps of all active symbols, and of tickers that ended in the window. No vendor calls."""
    from backfill_assets.backfill.exchange_loop import work_on_markets
    from backfill_assets.backfill.job_request import collect_jobs, open_engine

    if is_whole:
        _report_whole(load_command_settings(as_of, debug=debug), output_format, output, window)
        return
    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        jobs = collect_jobs(engine, build_job_request(**window, with_ended=ended))
        results = work_on_markets(jobs, partial(_read_report, engine, output_format))
        reports = list(results.results.values())
        warn_unused_names(engine)
        text = _format_reports(engine, reports, output_format) if output_format != "table" else ""
    warn_unknown_symbols(jobs.unknown)
    with _open_output(output) as file:
        if output_format == "table":
            _print_table(file, reports)
        elif output_format == "html":
            click.echo(text.encode("utf-8"), file=file)  # the page says that it is UTF-8, wherever it goes
        else:
            click.echo(text, file=file)
    if output_format != "table":
        _tell_notes(reports, with_notices=output_format in ("json", "csv"))
    for failure in results.describe_failures():
        click.echo(failure, err=True)
    if results.exit_code:
        sys.exit(results.exit_code)


def _report_whole(settings: "Settings", output_format: str, output: Path | None, window: dict[str, Any]) -> None:
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.cli.whole_report import format_whole_report, read_whole_report

    with open_engine(settings) as engine:
        histories = read_whole_report(engine, window)
    with _open_output(output) as file:
        if output_format == "table":
            from backfill_assets.cli.census_rendering import show_symbols  # not loaded for other formats

            show_symbols(make_console(file), histories)
        else:
            text = format_whole_report(histories, output_format)
            click.echo(text.encode("utf-8") if output_format == "html" else text, file=file)


def _print_table(file: IO[str], reports: "Sequence[WindowReport]") -> None:
    from backfill_assets.cli.report_rendering import print_report, print_reports  # not loaded for other formats

    if reports[0].is_us_alone:
        print_report(make_console(file), reports[0])
    else:
        print_reports(make_console(file), reports)


def _tell_notes(reports: "Sequence[WindowReport]", *, with_notices: bool) -> None:
    """Print what a person should know of the universe and of experimental exchanges to standard error, each once."""
    notices = [one.notice for one in reports] if with_notices else []
    for note in dict.fromkeys([*(one.job.universe_note for one in reports), *notices]):
        if note:
            click.echo(note, err=True)


def _read_report(engine: "Engine", output_format: str, job: "BackfillJob") -> "WindowReport":
    """The report of one exchange, as far as the format needs it."""
    from backfill_assets.cli.window_report import WindowReport
    from backfill_assets.market.calendar.moment_style import choose_moment_style
    from backfill_assets.quality.corporate_actions_listing import add_details, list_window_actions
    from backfill_assets.quality.experimental import describe_experimental, read_comparison
    from backfill_assets.quality.live_accuracy import read_live_accuracy, read_live_accuracy_by_symbol
    from backfill_assets.quality.price_units import read_units_by_symbol
    from backfill_assets.quality.symbol_reports import read_symbol_reports

    coverage = engine.measure(job)
    live = read_live_accuracy(engine.database, coverage) if output_format == "table" else None
    with engine.database.transaction() as connection:
        rows, actions = read_symbol_reports(connection, coverage), list_window_actions(connection, coverage)
        if output_format == "json":
            actions = add_details(connection, actions, coverage.now, coverage.grid.interval)
        units = read_units_by_symbol(connection, job.symbols, job.window.sessions)
    by_symbol = read_live_accuracy_by_symbol(engine.database, coverage) if output_format == "json" else {}
    return WindowReport(
        job=job,
        coverage=coverage,
        rows=rows,
        actions=actions,
        style=choose_moment_style(job.market, engine.settings.exchanges),
        live=live,
        live_by_symbol={s.ticker.symbol: by_symbol[s.symbol_id] for s in coverage.symbols if s.symbol_id in by_symbol},
        units=units,
        notice=describe_experimental(job.market, read_comparison(engine.database, job.market)),
    )


def _format_reports(engine: "Engine", reports: "Sequence[WindowReport]", output_format: str) -> str:
    from backfill_assets.quality import exchange_reports, report_formats

    first = reports[0]
    if output_format == "html":
        return _format_html(engine, reports)
    if not first.is_us_alone:
        by_exchange = [one.build_exchange_report() for one in reports]
        to_text = {
            "json": exchange_reports.to_json_of_exchanges,
            "csv": exchange_reports.to_csv_of_exchanges,
            "markdown": exchange_reports.to_markdown_of_exchanges,
        }
        return to_text[output_format](by_exchange).rstrip("\n")
    if output_format == "json":
        return report_formats.to_json(first.rows, first.live_by_symbol, first.actions)
    return {"csv": report_formats.to_csv, "markdown": report_formats.to_markdown}[output_format](first.rows).rstrip(
        "\n"
    )


def _format_html(engine: "Engine", reports: "Sequence[WindowReport]") -> str:
    from backfill_assets.backfill.decisions.inbox import refresh_inbox
    from backfill_assets.quality.html_report import to_html, to_html_of_exchanges
    from backfill_assets.quality.html_report_data import collect_report_data

    refresh_inbox(engine.database, engine.settings.now())
    outlook = _read_outlook(engine)
    pages = [
        collect_report_data(
            engine.database,
            engine.settings,
            one.coverage,
            one.job.window.description,
            one.job.source_interval,
            market=one.job.market,
            outlook=outlook,
        )
        for one in reports
    ]
    return to_html(pages[0]) if reports[0].is_us_alone else to_html_of_exchanges(pages)


def _read_outlook(engine: "Engine") -> "HistoryOutlook | None":
    from backfill_assets.backfill.history.estimate import describe_history
    from backfill_assets.quality.html_report_data import HistoryOutlook

    found = describe_history(engine)
    names = ("summary", "requests", "calls", "symbols", "symbols_done")
    return HistoryOutlook(**{name: found[name] for name in names if name in found}) if found else None


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
