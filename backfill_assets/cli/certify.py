"""``certify`` and ``certificates``: sessions that are proven complete, on request and as a list."""

import json
import sys
from datetime import date, datetime

import click

from backfill_assets.cli.options import (
    DateType,
    UniverseType,
    add_common_options,
    add_format_option,
    add_interval_option,
    load_command_settings,
    make_console,
)
from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE

EXIT_NOT_CERTIFIABLE = 3
DEFAULT_LIMIT = 20


@click.command()
@click.argument("session", type=DateType())
@click.option("--universe", type=UniverseType(), default="all", show_default=True, help="Name of the universe.")
@click.option("--accept-changes", is_flag=True, help="Also if something else than this program changed certified bars.")
@click.option(
    "--current-members",
    is_flag=True,
    help="Ask anew who belongs to the session, although its first certificate has settled that.",
)
@add_interval_option
@add_format_option("table", "json")
@add_common_options
def certify(
    session: date,
    universe: str,
    accept_changes: bool,
    current_members: bool,
    interval: str,
    output_format: str,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Certify SESSION (a date) of a universe now, also an old one: exit code 0, or 3 and what it lacks."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.certification.request import CertifyRequest, certify_session
    from backfill_assets.cli.certificate_rendering import show_certified_session

    request = CertifyRequest(
        session, universe, interval, accept_changes=accept_changes, current_members=current_members
    )
    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        answer = certify_session(engine, request)
    if output_format == "json":
        click.echo(json.dumps(answer.as_dict(), indent=1))
    else:
        show_certified_session(make_console(), answer)
    sys.exit(0 if answer.is_certifiable else EXIT_NOT_CERTIFIABLE)


@click.group()
def certificates() -> None:
    """Certificates: what was found complete when, with a hash of its bars."""


@certificates.command("list")
@click.option("--universe", type=UniverseType(), help="Only of this universe.  [default: all of them]")
@click.option("--start", type=DateType(), help="First session date, included.")
@click.option("--end", type=DateType(), help="Last session date, included.")
@click.option(
    "--limit", type=click.IntRange(1), default=DEFAULT_LIMIT, show_default=True, help="The newest sessions, so many."
)
@add_interval_option
@add_format_option("table", "json")
@add_common_options
def certificates_list(
    universe: str | None,
    start: date | None,
    end: date | None,
    limit: int,
    interval: str,
    output_format: str,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Show the newest certificate of each session, the newest session first."""
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.cli.certificate_rendering import show_certificates
    from backfill_assets.market.calendar.intervals import parse_interval
    from backfill_assets.store.certificates import list_newest_certificates
    from backfill_assets.store.universes import find_universe

    name = parse_interval(interval).name
    with open_engine(load_command_settings(as_of, debug=debug)) as engine, engine.database.transaction() as connection:
        found = list_newest_certificates(connection, DEFAULT_EXCHANGE, name, None, universe)
        if universe is not None and not found:
            find_universe(
                connection, DEFAULT_EXCHANGE, universe
            )  # says that there is none; one removed has certificates
    is_empty = not found
    found = [c for c in found if (start is None or c.session_day >= start) and (end is None or c.session_day <= end)]
    newest = sorted({certificate.session_day for certificate in found})[-limit:]
    shown = [certificate for certificate in reversed(found) if certificate.session_day in newest]
    if output_format == "json":
        click.echo(json.dumps([certificate.as_dict() for certificate in shown], indent=1))
    elif shown or is_empty:
        show_certificates(make_console(), shown)
    else:
        click.echo("no certificates of these sessions; without --start and --end all are listed")
