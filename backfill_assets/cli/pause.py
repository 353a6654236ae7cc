"""``pause``: stop all spending, on every host that uses the database."""

from datetime import datetime, timedelta

import click

from backfill_assets.cli.caller import clean_text, describe_caller
from backfill_assets.cli.options import DurationType, InstantType, add_debug_option, load_command_settings
from backfill_assets.errors import UsageError


@click.command()
@click.option("--until", type=InstantType(), help="When the pause ends by itself (ISO 8601 with time zone).")
@click.option("--for", "duration", type=DurationType(), help="How long the pause lasts, for example 2h, 30m or 1d12h.")
@click.option("--reason", help="Shown wherever the pause is shown.")
@add_debug_option
def pause(until: datetime | None, duration: timedelta | None, reason: str | None, debug: bool) -> None:
    """Send no request to the vendor, from any host and with any token, until resume or --until.

    A pause begins and ends by the clock of the database server, whatever BACKFILL_AS_OF says.
    Runs that are under way end with exit code 4 after the requests in flight, and store what they received.
    """
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.store.bars.bar_writer import read_server_time
    from backfill_assets.store.quota.spending_pause import start_pause

    if until is not None and duration is not None:
        raise UsageError("give either --until or --for, not both")
    text = clean_text(reason, "--reason")
    with open_engine(load_command_settings(debug=debug)) as engine:
        with engine.database.transaction() as connection:
            now = read_server_time(connection)
        end = now + duration if duration is not None else until
        if end is not None and end <= now:
            raise UsageError(f"--until {end:%Y-%m-%d %H:%M} UTC is over; it is now {now:%Y-%m-%d %H:%M} UTC")
        started = start_pause(engine.database, end, describe_caller(), text)
    click.echo(f"{started}; to go on: backfill-assets resume")
