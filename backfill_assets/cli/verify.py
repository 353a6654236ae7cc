"""``verify``: the success criteria, evaluated on the stored bars of a window."""

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
    warn_unknown_symbols,
)


@click.command()
@add_window_options
@add_format_option("table", "json")
def verify(output_format: str, as_of: datetime | None, debug: bool, **window: Any) -> None:
    """Evaluate the success criteria on the stored bars; with BACKFILL_LIVE also the delay of live bars."""
    from backfill_assets.backfill.job_request import build_job, open_engine
    from backfill_assets.cli.rendering import show_criteria, show_window
    from backfill_assets.quality.checks import evaluate_window

    settings = load_command_settings(as_of, debug=debug)
    with open_engine(settings) as engine:
        job, unknown = build_job(engine, build_job_request(**window))
        coverage = engine.measure(job)
        live = job.interval in settings.list_live_intervals()
        criteria = evaluate_window(engine.database, coverage, tolerance=settings.missing_tolerance, live=live)
    warn_unknown_symbols(unknown)
    if output_format == "json":
        click.echo(json.dumps([c.as_dict() for c in criteria], indent=1))
    else:
        console = make_console()
        show_window(console, job.window, coverage.now)
        if job.window.sessions:
            show_criteria(console, criteria)
    due = bool(job.window.sessions)
    sys.exit(3 if due and (unknown or not all(c.passed for c in criteria)) else 0)
