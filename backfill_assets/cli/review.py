"""``review``: read recent sessions again for the vendor's corrections."""

import json
import sys
from datetime import datetime

import click

from backfill_assets.cli.options import (
    add_common_options,
    add_format_option,
    add_interval_option,
    build_job_request,
    load_command_settings,
    make_console,
    warn_unknown_symbols,
)


@click.command()
@add_interval_option
@click.option("--symbols", help="Only these symbols, even if they are not due.  [default: all that are due]")
@click.option(
    "--calls", type=click.IntRange(0), help="Use at most so many calls.  [default: all calls not needed today]"
)
@click.option("--quiet", is_flag=True, help="Print the summary only.")
@add_format_option("table", "json")
@add_common_options
def review(
    interval: str,
    symbols: str | None,
    calls: int | None,
    quiet: bool,
    output_format: str,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Read the last 20 sessions of every symbol again, with calls that nothing else needs today.

    Each symbol is read again once a week, least recently reviewed first. Vendor corrections are stored as revisions.
    """
    from backfill_assets.backfill import review
    from backfill_assets.backfill.job_request import build_job, open_engine
    from backfill_assets.certification.certify import certify_due
    from backfill_assets.cli.progress import show_run_progress
    from backfill_assets.cli.rendering import show_review

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        job, unknown = build_job(engine, build_job_request(interval, None, None, None, symbols))
        warn_unknown_symbols(unknown)
        with show_run_progress(make_console(stderr=True), show_tickers=not quiet) as listen:
            result = review.run_review(engine, job, listen, calls=calls)
        certified = certify_due(engine, job.interval.name)
    if output_format == "json":
        written = [certificate.as_dict() for certificate in certified.written]
        click.echo(json.dumps({**result.as_dict(), "certificates": written}, indent=1))
    else:
        for line in certified.describe():
            click.echo(line)
        show_review(make_console(), result)
    sys.exit(result.exit_code or (3 if unknown else 0))
