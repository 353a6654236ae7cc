"""``live``: collect today's bars from live quotes without Dagster."""

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
    help="One round, or all rounds until 30 minutes after the close.  [default: once]",
)
@add_format_option("table", "json")
@add_common_options
def live(once: bool, output_format: str, as_of: datetime | None, debug: bool) -> None:
    """Read live quotes of all active symbols and write provisional bars (BACKFILL_LIVE=true).

    A round is due every BACKFILL_LIVE_SECONDS, from 15 minutes after the open to 30 minutes after the close, within
    BACKFILL_LIVE_BUDGET. When no round is due, the command makes no request and exits with 0. A later backfill
    replaces provisional bars with final ones.
    """
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.live.collector import collect_round, collect_until_close
    from backfill_assets.live.result import LiveRound

    settings = load_command_settings(as_of, debug=debug)
    if not settings.live:
        raise UsageError(
            f"live collection is off; set BACKFILL_LIVE=true to use it (up to {settings.live_budget:,} calls a day)"
        )
    if settings.as_of is not None and not once:
        raise UsageError("--until-close needs a running clock; remove --as-of and BACKFILL_AS_OF")
    console = make_console()

    def show_round(live_round: LiveRound) -> None:
        if output_format == "json":
            click.echo(json.dumps(live_round.as_dict()))
        else:
            console.print(f"{live_round.called_at:%Y-%m-%d %H:%M} UTC  {live_round}", highlight=False, markup=False)

    with open_engine(settings) as engine:
        if once:
            made = collect_round(engine)
            show_round(made)
        else:
            made = collect_until_close(lambda: collect_round(engine), settings.now, time.sleep, show_round)
    sys.exit(made.exit_code)
