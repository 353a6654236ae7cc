"""``status``: symbols, newest bar, missing bars, running backfills and the remaining quota."""

import json
from datetime import datetime

import click

from backfill_assets.cli.options import (
    add_common_options,
    add_format_option,
    load_command_settings,
    make_console,
)


@click.command()
@click.option("--all", "show_all", is_flag=True, help="Every finding, and those resolved in the past week.")
@add_format_option("table", "json")
@add_common_options
def status(output_format: str, show_all: bool, as_of: datetime | None, debug: bool) -> None:
    """Show symbols, newest bar, missing bars, running backfills and the remaining quota."""
    from backfill_assets.backfill.history.estimate import describe_history
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.cli.status_rendering import show_status
    from backfill_assets.quality.status import read_status

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        current_status = read_status(engine.database, engine.settings)
        if line := describe_history(engine):
            current_status["history"] = line
    if output_format == "json":
        click.echo(json.dumps(current_status, indent=1))
    else:
        show_status(make_console(), current_status, show_all=show_all)
