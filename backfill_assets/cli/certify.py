"""``certify`` and ``certificates``: sessions that are proven complete, on request and as a list."""

import json
import sys
from datetime import date, datetime

import click

from backfill_assets.cli.command_group import CommandGroup
from backfill_assets.cli.exchange_choice import add_exchange_choice, choose_of_universe, list_chosen
from backfill_assets.cli.options import (
    DateType,
    UniverseType,
    add_common_options,
    add_format_option,
    add_interval_option,
    load_command_settings,
    make_console,
)

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
@add_exchange_choice("the one that has the universe")
@add_interval_option
@add_format_option("table", "json")
@add_common_options
def certify(
    session: date,
    universe: str,
    exchange: str | None,
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

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        with engine.database.transaction() as connection:
            code = choose_of_universe(connection, engine.settings, exchange, universe)
        request = CertifyRequest(
            session, universe, interval, code, accept_changes=accept_changes, current_members=current_members
        )
        answer = certify_session(engine, request)
    if output_format == "json":
        click.echo(json.dumps(answer.as_dict(), indent=1))
    else:
        show_certified_session(make_console(), answer)
    sys.exit(0 if answer.is_certifiable else EXIT_NOT_CERTIFIABLE)


@click.group(cls=CommandGroup)
def certificates() -> None:
    """Certificates: what was found complete when, with a hash of its bars."""


@certificates.command("list")
@click.option("--universe", type=UniverseType(), help="Only of this universe.  [default: all of them]")
@click.option("--start", type=DateType(), help="First session date, included.")
@click.option("--end", type=DateType(), help="Last session date, included.")
@click.option(
    "--limit", type=click.IntRange(1), default=DEFAULT_LIMIT, show_default=True, help="The newest sessions, so many."
)
@add_exchange_choice("those of BACKFILL_EXCHANGES")
@add_interval_option
@add_format_option("table", "json")
@add_common_options
def certificates_list(
    exchange: str | None,
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
    settings = load_command_settings(as_of, debug=debug)
    with open_engine(settings) as engine, engine.database.transaction() as connection:
        codes = list_chosen(settings, exchange)
        found = [one for code in codes for one in list_newest_certificates(connection, code, name, None, universe)]
        found.sort(key=lambda certificate: certificate.session_day)
        if universe is not None and not found:  # says that there is none; one that was removed has certificates
            find_universe(connection, choose_of_universe(connection, settings, exchange, universe), universe)
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
