"""``review``: recent sessions read again for the vendor's corrections."""

import json
import sys
from datetime import datetime

import click

from backfill_assets.cli.options import common, console_of, formats, settings_of, warn_unknown, wish_of


@click.command()
@click.option("--interval", default="30m", show_default=True, help="1m 5m 15m 30m 1h.")
@click.option("--symbols", help="Only these, however lately they were reviewed.  [default: all that are due]")
@click.option("--calls", type=click.IntRange(0), help="Spend at most so many.  [default: what is left over today]")
@click.option("--quiet", is_flag=True, help="Only the summary.")
@formats("table", "json")
@common
def review(
    interval: str,
    symbols: str | None,
    calls: int | None,
    quiet: bool,
    form: str,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Read the last 20 sessions of every ticker again, with calls that nothing else needs today.

    Everybody's turn comes once a week, whoever waited longest first; what the vendor corrected is stored.
    """
    from backfill_assets.backfill import review
    from backfill_assets.backfill.job_request import job_of, opened_engine
    from backfill_assets.cli.progress import progress_of_run
    from backfill_assets.cli.rendering import show_review

    with opened_engine(settings_of(as_of, debug=debug)) as engine:
        job, unknown = job_of(engine, wish_of(interval, None, None, None, symbols))
        warn_unknown(unknown)
        with progress_of_run(console_of(stderr=True), each=not quiet) as listen:
            done = review.review(engine, job, listen, calls=calls)
    if form == "json":
        click.echo(json.dumps(done.as_dict(), indent=1))
    else:
        show_review(console_of(), done)
    sys.exit(done.exit_code or (3 if unknown else 0))
