"""``plan``: the requests that ``run`` would send for a window, and what they cost."""

import json
import sys
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
)

if TYPE_CHECKING:
    from rich.console import Console

    from backfill_assets.backfill.engine import BackfillJob, Engine
    from backfill_assets.backfill.exchange_loop import MarketResults
    from backfill_assets.backfill.planner import Plan


@click.command()
@add_window_options
@add_format_option("table", "json")
def plan(output_format: str, as_of: datetime | None, debug: bool, **window: Any) -> None:
    """Show the requests a run would make, their cost and duration. No vendor calls."""
    from backfill_assets.backfill.exchange_loop import work_on_markets
    from backfill_assets.backfill.job_request import collect_jobs, open_engine
    from backfill_assets.cli.market_rendering import show_exchange, show_failures

    settings = load_command_settings(as_of, debug=debug)
    console = None if output_format == "json" else make_console()
    with open_engine(settings) as engine:
        jobs = collect_jobs(engine, build_job_request(**window, will_request=True))

        def plan_one(job: "BackfillJob") -> "Plan":
            planned = engine.plan(job, engine.measure(job))
            if console is not None:
                show_exchange(console, engine.database, job.market, is_several=jobs.is_several)
            _show(engine, job, planned, console)
            return planned

        results = work_on_markets(jobs, plan_one)
    warn_unknown_symbols(jobs.unknown)
    if console is None:
        click.echo(json.dumps(_describe(engine, results), indent=1))
    else:
        _show_total(engine, results, console)
        show_failures(console, results)
    sys.exit(results.exit_code)


def _show(engine: "Engine", job: "BackfillJob", planned: "Plan", console: "Console | None") -> None:
    from backfill_assets.backfill.ask_costs import compute_ask_costs
    from backfill_assets.cli.rendering import show_plan, show_window
    from backfill_assets.market.calendar.moment_style import choose_moment_style

    if console is None:
        show_past_universe(job)
        return
    style = choose_moment_style(job.market, engine.settings.exchanges)
    show_window(console, job.window, engine.settings.now(), style)
    show_past_universe(job, console)
    show_plan(console, planned, engine.estimate_seconds(planned))
    if costs := compute_ask_costs(engine, job.market):
        console.print(costs.describe(len(job.symbols)), soft_wrap=True)


def _show_total(engine: "Engine", results: "MarketResults[Plan]", console: "Console") -> None:
    from backfill_assets.config.counts import format_count

    if results.is_several:
        plans = results.results.values()
        seconds = sum(engine.estimate_seconds(planned) for planned in plans)
        console.print(
            f"{format_count(len(plans), 'exchange')}: {format_count(sum(len(p.requests) for p in plans), 'request')}"
            f" · {format_count(sum(p.calls for p in plans), 'call')} · about {seconds:.0f} s"
        )


def _describe(engine: "Engine", results: "MarketResults[Plan]") -> dict[str, Any]:
    """The plan as JSON; of several exchanges their sum, with each one's own in ``exchanges``."""
    described = [
        {
            "exchange": exchange,
            **planned.as_dict(),
            "estimated_seconds": round(engine.estimate_seconds(planned), 1),
        }
        for exchange, planned in results.results.items()
    ]
    if not results.is_several:
        return {name: value for name, value in described[0].items() if name != "exchange"}
    first, *others = described
    total = {name: sum((one[name] for one in others), first[name]) for name in first if name != "exchange"}
    return {**total, "exchanges": described, "failures": results.describe_errors()}
