"""``verify``: all checks, those of Dagster, evaluated on the stored bars of a window; no vendor calls."""

import json
import sys
from datetime import datetime
from typing import Any

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


@click.command()
@add_window_options
@add_format_option("table", "json")
def verify(output_format: str, as_of: datetime | None, debug: bool, **window: Any) -> None:
    """Evaluate all checks on the stored bars, as Dagster does; those of severity warning never change the exit code."""
    from backfill_assets.backfill.job_request import build_job, open_engine
    from backfill_assets.cli.rendering import show_criteria, show_short_histories, show_window
    from backfill_assets.quality.checks import describe_criterion, evaluate_all, is_failure
    from backfill_assets.quality.short_histories import find_short_histories

    settings = load_command_settings(as_of, debug=debug)
    with open_engine(settings) as engine:
        job, unknown = build_job(engine, build_job_request(**window))
        coverage = engine.measure(job)
        criteria = evaluate_all(engine.database, settings, coverage, job.source_interval)
        histories = find_short_histories(engine.database, settings, job.interval)
        warn_unused_names(engine)
    warn_unknown_symbols(unknown)
    if output_format == "json":
        click.echo(json.dumps([describe_criterion(c) for c in criteria], indent=1))
        show_past_universe(job)
    else:
        console = make_console()
        show_window(console, job.window, coverage.now)
        show_past_universe(job, console)
        if job.window.sessions:
            show_criteria(console, criteria)
        show_short_histories(console, histories)
    due = bool(job.window.sessions)
    sys.exit(3 if due and (unknown or any(map(is_failure, criteria))) else 0)
