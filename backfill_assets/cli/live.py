"""``live``: collect today's bars from live quotes, for who does not let Dagster do it."""

import json
import sys
import time
from datetime import datetime

import click

from backfill_assets.cli.options import add_common_options, add_format_option, load_command_settings, make_console
from backfill_assets.errors import UsageError


@click.command()
@click.option(
    "--once/--until-close",
    default=True,
    help="One round, or round after round until 30 minutes after the close.  [default: once]",
)
@add_format_option("table", "json")
@add_common_options
def live(once: bool, form: str, as_of: datetime | None, debug: bool) -> None:
    """Read live quotes of all active symbols and write provisional bars (BACKFILL_LIVE=true).

    A round is made when one is due, every BACKFILL_LIVE_SECONDS from 15 minutes after the open to 30 minutes after the
    close, within BACKFILL_LIVE_BUDGET; at other times nothing is asked. Final bars replace provisional ones when
    a backfill brings them. Exits with 0 also when no round was due.
    """
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.live.collector import collect_round, collect_until_close
    from backfill_assets.live.result import LiveRound

    settings = load_command_settings(as_of, debug=debug)
    if not settings.live:
        raise UsageError(
            f"live collection is off; BACKFILL_LIVE=true switches it on (up to {settings.live_budget:,} calls a day)"
        )
    if settings.as_of is not None and not once:
        raise UsageError("--until-close waits for the clock, which --as-of or BACKFILL_AS_OF has stopped")
    console = make_console()

    def show_round(live_round: LiveRound) -> None:
        if form == "json":
            click.echo(json.dumps(live_round.as_dict()))
        else:
            console.print(f"{live_round.called_at:%Y-%m-%d %H:%M} UTC  {live_round}", highlight=False)

    with open_engine(settings) as engine:
        if once:
            made = collect_round(engine)
            show_round(made)
        else:
            made = collect_until_close(lambda: collect_round(engine), settings.now, time.sleep, show_round)
    sys.exit(made.exit_code)
