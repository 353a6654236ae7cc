"""``resume``: end a pause of all spending."""

from datetime import datetime

import click

from backfill_assets.cli.options import add_common_options, load_command_settings


@click.command()
@add_common_options
def resume(as_of: datetime | None, debug: bool) -> None:
    """End a pause of all requests; if there is none, nothing happens."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.store.quota.spending_pause import end_pause

    with open_engine(load_command_settings(as_of, debug=debug)) as engine, engine.database.transaction() as connection:
        ended = end_pause(connection)
    click.echo(f"resumed; {ended.describe_ended()}" if ended else "spending was not paused; nothing to do")
