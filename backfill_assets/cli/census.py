"""``census``: whether the whole store is complete, month by month, and whether its count is that of the bars."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.exchange_choice import add_exchange_choice, list_chosen
from backfill_assets.cli.options import (
    add_common_options,
    add_format_option,
    add_interval_option,
    load_command_settings,
    make_console,
)

if TYPE_CHECKING:
    from backfill_assets.backfill.engine import Engine
    from backfill_assets.quality.census.report import WholeHistory
    from backfill_assets.store.census.comparison import CensusDifference

EXIT_DIFFERS = 3
MAX_BLOCKS = 1_000_000  # of symbols, more than any store has


@click.command()
@click.option("--update", is_flag=True, help="First count, add up and explain all that is left to do.")
@click.option(
    "--recount", is_flag=True, help="Count all stored bars again, and say whether the census differs (exit code 3)."
)
@add_exchange_choice("those of BACKFILL_EXCHANGES")
@add_interval_option
@add_format_option("table", "json", "csv")
@add_common_options
def census(
    update: bool,
    recount: bool,
    exchange: str | None,
    interval: str,
    output_format: str,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Show whether the whole store is complete, by month, from the census of its bars. No vendor calls."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.cli.census_rendering import show_differences, show_months
    from backfill_assets.market.calendar.intervals import parse_interval
    from backfill_assets.quality.census.report import MONTH_COLUMNS, list_month_rows, read_whole_histories, to_csv
    from backfill_assets.quality.census.upkeep import complete_census

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        database, settings = engine.database, engine.settings
        markets = [settings.get_market(code) for code in list_chosen(settings, exchange)]
        differences = _recount(engine) if recount else None
        if update or differences:
            complete_census(database, settings, markets, parse_interval(interval))
        histories = read_whole_histories(database, settings, markets, interval)
    if output_format == "json":
        click.echo(json.dumps(_describe(histories, differences), indent=1))
    elif output_format == "csv":
        click.echo(to_csv(list_month_rows(histories), MONTH_COLUMNS).rstrip("\n"))
    else:
        show_months(make_console(), histories)
    if differences is not None and output_format != "json":
        show_differences(partial(click.echo, err=output_format == "csv"), differences)
    sys.exit(EXIT_DIFFERS if differences else 0)


def _describe(histories: "Sequence[WholeHistory]", differences: "Sequence[CensusDifference] | None") -> dict[str, Any]:
    from backfill_assets.cli.census_rendering import describe_difference

    recount = None if differences is None else [describe_difference(one) for one in differences]
    return {"exchanges": {one.answer.exchange: one.describe() for one in histories}, "recount": recount}


def _recount(engine: "Engine") -> "list[CensusDifference]":
    from backfill_assets.store.census.upkeep import keep_census
    from backfill_assets.store.census.verification import verify_census

    keep_census(engine.database, blocks=MAX_BLOCKS)
    return [one for block in verify_census(engine.database) for one in block]
