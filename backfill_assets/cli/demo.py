"""``demo``: all steps of a backfill, once. The steps are in ``demo_steps``."""

from datetime import datetime

import click

from backfill_assets.cli.options import add_common_options, load_command_settings, make_console


@click.command()
@add_common_options
def demo(as_of: datetime | None, debug: bool) -> None:
    """Show all steps once: report, plan, backfill with proof, report, success criteria.

    Without EODHD_API_TOKEN it starts the bundled sandbox and works on simulated bars in a separate database.
    """
    from backfill_assets.cli.demo_steps import run_demo

    run_demo(load_command_settings(as_of, debug=debug), make_console())
