"""``plan``: the requests that ``run`` would send for a window, and what they cost."""

import json
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
)


@click.command()
@add_window_options
@add_format_option("table", "json")
def plan(output_format: str, as_of: datetime | None, debug: bool, **window: Any) -> None:
    """Show the requests a run would make, their cost and duration. No vendor calls."""
    from backfill_assets.backfill.job_request import build_job, open_engine
    from backfill_assets.cli.rendering import show_plan, show_window

    settings = load_command_settings(as_of, debug=debug)
    with open_engine(settings) as engine:
        job, unknown = build_job(engine, build_job_request(**window))
        coverage = engine.measure(job)
        planned = engine.plan(job, coverage)
    warn_unknown_symbols(unknown)
    seconds = engine.estimate_seconds(planned)
    if output_format == "json":
        show_past_universe(job)
        click.echo(json.dumps({**planned.as_dict(), "estimated_seconds": round(seconds, 1)}, indent=1))
        return
    console = make_console()
    show_window(console, job.window, coverage.now)
    show_past_universe(job, console)
    show_plan(console, planned, seconds)
