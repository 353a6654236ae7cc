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
    from backfill_assets.backfill.exchange_loop import work_on_markets
    from backfill_assets.backfill.job_request import collect_jobs, open_engine
    from backfill_assets.backfill.planner import Strategy
    from backfill_assets.cli.market_runs import MarketRunner, describe_runs, find_worst_code
    from backfill_assets.quality.short_histories import find_short_histories

    if options["delay"] and options["batch_size"] is None:
        raise UsageError("--delay applies between batches; add --batch-size")
    settings = load_command_settings(as_of, debug=debug)
    console = None if output_format == "json" else make_console()
    with open_engine(settings) as engine:
        jobs = collect_jobs(engine, build_job_request(**options, strategy=Strategy(strategy), will_request=True))
        warn_unknown_symbols(jobs.unknown)
        warn_unused_names(engine)
        runner = MarketRunner(engine, jobs, console, live=live, quiet=quiet)
        results = work_on_markets(jobs, runner.run)
        histories = find_short_histories(engine.database, settings, jobs.jobs[0].interval)
    runner.show_all(results, histories)
    if output_format == "json":
        click.echo(json.dumps(describe_runs(results, histories), indent=1))
    sys.exit(find_worst_code(results) or (3 if jobs.unknown else 0))
