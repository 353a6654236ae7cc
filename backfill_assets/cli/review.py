"""``review``: read recent sessions again for the vendor's corrections."""

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.options import (
    add_common_options,
    add_exchange_option,
    add_format_option,
    add_interval_option,
    build_job_request,
    load_command_settings,
    make_console,
    warn_unknown_symbols,
)

if TYPE_CHECKING:
    from backfill_assets.backfill.engine import BackfillJob, Engine
    from backfill_assets.backfill.exchange_loop import MarketResults
    from backfill_assets.backfill.job_request import MarketJobs
    from backfill_assets.backfill.review_result import ReviewResult


@click.command()
@add_interval_option
@add_exchange_option
@click.option("--symbols", help="Only these symbols, even if they are not due.  [default: all that are due]")
@click.option(
    "--calls", type=click.IntRange(0), help="Use at most so many calls.  [default: all calls not needed today]"
)
@click.option("--quiet", is_flag=True, help="Print the summary only.")
@add_format_option("table", "json")
@add_common_options
def review(
    interval: str,
    exchange: str | None,
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
    from backfill_assets.backfill.job_request import collect_jobs, open_engine
    from backfill_assets.backfill.market_results import find_exit_code
    from backfill_assets.certification.certify import certify_due

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        jobs = collect_jobs(engine, build_job_request(interval, None, None, None, symbols, exchange))
        warn_unknown_symbols(jobs.unknown)
        results = _review_all(engine, jobs, calls, quiet=quiet)
        certified = [certify_due(engine, job.interval.name, exchange=job.market.exchange) for job in jobs.jobs]
        if output_format == "json":
            written = [certificate.as_dict() for one in certified for certificate in one.written]
            click.echo(json.dumps({**_describe(results), "certificates": written}, indent=1))
        else:
            for line in (line for one in certified for line in one.describe()):
                click.echo(line)
            _show(engine, results)
    exit_code = max(results.exit_code, find_exit_code(results.results.values()))
    sys.exit(exit_code or (3 if jobs.unknown else 0))


def _review_all(
    engine: "Engine", jobs: "MarketJobs", calls: int | None, *, quiet: bool
) -> "MarketResults[ReviewResult]":
    """Review the exchanges one after the other, within ``calls`` of all of them."""
    from backfill_assets.backfill import review
    from backfill_assets.backfill.exchange_loop import work_on_markets
    from backfill_assets.cli.progress import show_run_progress

    spent = 0

    def review_one(job: "BackfillJob") -> "ReviewResult":
        nonlocal spent
        exchange = job.market.exchange
        label = exchange if jobs.is_several else ""
        with show_run_progress(make_console(stderr=True), show_tickers=not quiet, exchange=label) as listen:
            left = None if calls is None else max(0, calls - spent)
            result = review.run_review(engine, job, listen, calls=left, later=jobs.list_later(exchange))
        spent += result.calls
        return result

    return work_on_markets(jobs, review_one)


def _show(engine: "Engine", results: "MarketResults[ReviewResult]") -> None:
    from backfill_assets.cli.market_rendering import show_exchange, show_failures
    from backfill_assets.cli.rendering import show_review

    console = make_console()
    for exchange, result in results.results.items():
        market = engine.settings.get_market(exchange)
        show_exchange(console, engine.database, market, is_several=results.is_several)
        show_review(console, result)
    show_failures(console, results)


def _describe(results: "MarketResults[ReviewResult]") -> dict[str, Any]:
    """The review as JSON; of several exchanges their sum, with each one's own in ``exchanges``."""
    from backfill_assets.backfill.market_results import sum_reviews

    total = sum_reviews(results.results.values()).as_dict()
    if not results.is_several:
        return total
    described = [{"exchange": exchange, **result.as_dict()} for exchange, result in results.results.items()]
    return {**total, "exchanges": described, "failures": results.describe_errors()}
