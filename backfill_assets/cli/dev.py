"""``dev``: the Dagster UI on this machine. Starting and stopping its processes is in ``dev_server``."""

import sys
from datetime import datetime

import click

from backfill_assets.cli.options import add_common_options, load_command_settings, make_console


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port of the UI on 127.0.0.1."
)
@add_common_options
def dev(port: int, as_of: datetime | None, debug: bool) -> None:
    """Run the Dagster UI with sensors and schedules on this machine until interrupted.

    Starts an embedded PostgreSQL unless DATABASE_URL is set, and the sandbox unless EODHD_API_TOKEN is set.
    """
    from backfill_assets.cli.dev_server import run_dev_server

    sys.exit(run_dev_server(load_command_settings(as_of, debug=debug), port, make_console()))
