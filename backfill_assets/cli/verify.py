"""``verify``: all checks, those of Dagster, evaluated on the stored bars of a window; no vendor calls."""

import json
import sys
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from rich.console import Console

    from backfill_assets.backfill.engine import BackfillJob
    from backfill_assets.backfill.exchange_loop import MarketResults
    from backfill_assets.quality.criteria import Criterion


@click.command()
@add_window_options
@add_format_option("table", "json")
def verify(output_format: str, as_of: datetime | None, debug: bool, **window: Any) -> None:
    """Evaluate all checks on the stored bars, as Dagster does; those of severity warning never change the exit code."""
    from backfill_assets.backfill.exchange_loop import work_on_markets
    from backfill_assets.backfill.job_request import collect_jobs, open_engine
    from backfill_assets.cli.market_rendering import show_exchange, show_failures
    from backfill_assets.cli.rendering import show_short_histories
    from backfill_assets.quality.checks import evaluate_all, is_failure
    from backfill_assets.quality.short_histories import find_short_histories

    settings = load_command_settings(as_of, debug=debug)
    console = None if output_format == "json" else make_console()
    with open_engine(settings) as engine:
        jobs = collect_jobs(engine, build_job_request(**window))

        def evaluate(job: "BackfillJob") -> "list[Criterion]":
            coverage = engine.measure(job)
            criteria = evaluate_all(engine.database, settings, coverage, job.source_interval)
            if console is not None:
                show_exchange(console, engine.database, job.market, is_several=jobs.is_several)
            _show(console, job, criteria, settings.exchanges, coverage.now)
            return criteria

        results = work_on_markets(jobs, evaluate)
        histories = find_short_histories(engine.database, settings, jobs.jobs[0].interval)
        warn_unused_names(engine)
    warn_unknown_symbols(jobs.unknown)
    if console is None:
        click.echo(json.dumps(_describe(results), indent=1))
    else:
        show_short_histories(console, histories)
    show_failures(console or make_console(stderr=True), results)
    due = {job.market.exchange for job in jobs.jobs if job.window.sessions}.intersection(results.results)
    failed = [one for exchange in due for one in results.results[exchange] if is_failure(one)]
    is_failed = bool(due) and bool(jobs.unknown or failed)
    sys.exit(max(results.exit_code, 3 if is_failed else 0))


def _show(
    console: "Console | None", job: "BackfillJob", criteria: "list[Criterion]", enabled: Collection[str], now: datetime
) -> None:
    from backfill_assets.cli.rendering import show_criteria, show_window
    from backfill_assets.market.calendar.moment_style import choose_moment_style

    if console is None:
        show_past_universe(job)
        return
    show_window(console, job.window, now, choose_moment_style(job.market, enabled))
    show_past_universe(job, console)
    if job.window.sessions:
        show_criteria(console, criteria)


def _describe(results: "MarketResults[list[Criterion]]") -> list[dict[str, Any]]:
    """The checks as JSON; of several exchanges each names its own."""
    from backfill_assets.quality.checks import describe_criterion

    return [
        {**({"exchange": exchange} if results.is_several else {}), **describe_criterion(criterion)}
        for exchange, criteria in results.results.items()
        for criterion in criteria
    ]
