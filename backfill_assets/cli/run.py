"""``run``: fetch what is missing in a window, store it and measure again."""

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
    warn_unused_names,
)
from backfill_assets.errors import UsageError


@click.command()
@add_window_options
@click.option(
    "--strategy",
    type=click.Choice(["hybrid", "incremental", "targeted"]),
    default="hybrid",
    show_default=True,
    help="Which gaps to request: all in the window (targeted), the same with a second pass over failed requests"
    " (hybrid), or those after each symbol's newest final bar (incremental). For today's bars see --live.",
)
@click.option(
    "--live/--no-live",
    default=True,
    help="With BACKFILL_LIVE, first make a round of live samples if one is due; today's bars come from samples,"
    " older ones from intraday history.  [default: live]",
)
@click.option("--batch-size", type=click.IntRange(1), help="Symbols a batch.  [default: all at once]")
@click.option("--delay", type=click.FloatRange(0, 3600), default=0.0, help="Seconds to wait between batches.")
@click.option(
    "--force", is_flag=True, help="Request everything in the window, also complete sessions and recent requests."
)
@click.option(
    "--verify-existing",
    is_flag=True,
    help="Compare bars that another program wrote with the vendor's: mark equal ones as verified, replace the others.",
)
@click.option("--quiet", is_flag=True, help="Print the summary only.")
@add_format_option("table", "json")
def run(
    output_format: str, strategy: str, live: bool, quiet: bool, as_of: datetime | None, debug: bool, **options: Any
) -> None:
    """Find missing bars, fetch and store them, and prove the result."""
    from backfill_assets.backfill.daily_reading import read_daily_data
    from backfill_assets.backfill.job_request import build_job, open_engine
    from backfill_assets.backfill.planner import Strategy
    from backfill_assets.backfill.runner import run_backfill
    from backfill_assets.certification.certify import certify_due
    from backfill_assets.cli.progress import show_run_progress
    from backfill_assets.cli.rendering import show_run, show_short_histories, show_window
    from backfill_assets.live.collector import collect_today
    from backfill_assets.quality.short_histories import find_short_histories

    if options["delay"] and options["batch_size"] is None:
        raise UsageError("--delay applies between batches; add --batch-size")
    settings = load_command_settings(as_of, debug=debug)
    console = make_console()
    with open_engine(settings) as engine:
        job, unknown = build_job(engine, build_job_request(**options, strategy=Strategy(strategy)))
        warn_unknown_symbols(unknown)
        warn_unused_names(engine)
        if output_format == "table" and not (quiet and job.window.sessions):
            show_window(console, job.window, settings.now())
        live_round = collect_today(engine, job.window) if live else None
        with show_run_progress(make_console(stderr=True), show_tickers=not quiet) as listen:
            result = run_backfill(engine, job, listen)
        reading = None
        if result.stopped is None:
            chosen = job.symbols if job.user_selected else None
            reading = read_daily_data(engine, symbols=chosen, max_in_flight=job.batch_size)
        histories = find_short_histories(engine.database, settings, job.interval)
        certified = certify_due(engine, job.interval.name, sessions=job.window.sessions)
    if output_format == "json":
        described_live = live_round.as_dict() if live_round else None
        described_histories = [history.as_dict() for history in histories]
        described_daily = reading.as_dict() if reading else None
        described = {
            **result.as_dict(),
            "live": described_live,
            "daily": described_daily,
            "short_histories": described_histories,
            "certificates": [certificate.as_dict() for certificate in certified.written],
        }
        click.echo(json.dumps(described, indent=1))
    else:
        if reading and not quiet:
            console.print(f"daily data: {reading}", highlight=False, markup=False)
        for line in certified.describe():
            console.print(line, highlight=False, markup=False)
        show_run(console, result)  # its last line is the last of the output without live collection
        show_short_histories(console, histories)
        if live_round:
            console.print(f"live: {live_round}", highlight=False, markup=False)
    sys.exit(result.exit_code or (3 if unknown else 0))
