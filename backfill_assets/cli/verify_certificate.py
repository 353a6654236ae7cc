"""``verify-certificate``: certificates computed again from the stored bars."""

import json
import sys
from datetime import date, datetime
from typing import TYPE_CHECKING

import click

from backfill_assets.cli.exchange_choice import add_exchange_choice, list_chosen
from backfill_assets.cli.options import (
    DateType,
    UniverseType,
    add_common_options,
    add_format_option,
    add_interval_option,
    load_command_settings,
    make_console,
)
from backfill_assets.errors import UsageError

if TYPE_CHECKING:
    from backfill_assets.backfill.engine import Engine
    from backfill_assets.certification.verification import VerifiedCertificate

EXIT_BROKEN = 3
MAX_DIGITS = 18  # of an id, which is a bigint
ALL = "all"


@click.command("verify-certificate")
@click.argument("certificate", required=False)
@click.option("--session", type=DateType(), help="The newest certificates of this session, instead of an id.")
@click.option("--universe", type=UniverseType(), help="Only of this universe.  [default: all of them]")
@add_exchange_choice("those of BACKFILL_EXCHANGES")
@add_interval_option
@add_format_option("table", "json")
@add_common_options
def verify_certificate(
    certificate: str | None,
    session: date | None,
    universe: str | None,
    exchange: str | None,
    interval: str,
    output_format: str,
    as_of: datetime | None,
    debug: bool,
) -> None:
    """Compute CERTIFICATE (an id, or all: the newest of each session) again from the stored bars.

    Exit code 0: the bars are those that were certified. 3: not; the output says which bars differ. Without an id, all.
    """
    from backfill_assets.backfill.job_request import open_engine
    from backfill_assets.cli.certificate_rendering import show_verified

    with open_engine(load_command_settings(as_of, debug=debug)) as engine:
        verified = _verify(engine, certificate, session, universe, exchange, interval)
    if output_format == "json":
        click.echo(json.dumps([one.as_dict() for one in verified], indent=1))
    else:
        show_verified(make_console(), verified)
    sys.exit(0 if all(one.holds for one in verified) else EXIT_BROKEN)


def _verify(
    engine: "Engine",
    certificate: str | None,
    session: date | None,
    universe: str | None,
    exchange: str | None,
    interval: str,
) -> "list[VerifiedCertificate]":
    from backfill_assets.certification import verification
    from backfill_assets.market.calendar.intervals import parse_interval
    from backfill_assets.store.bars.interval_spellings import adopt_spellings

    if certificate not in (None, ALL):
        if session is not None or universe is not None or exchange is not None:
            raise UsageError("give either an id, or --session and --universe")
        if not (certificate or "").isdecimal() or len(certificate or "") > MAX_DIGITS:
            raise UsageError(
                f"{(certificate or '')[:20]!r} is no id of a certificate; see: backfill-assets certificates list"
            )
        return [verification.verify_certificate(engine, int(certificate or ""))]
    with engine.database.transaction() as connection:
        (known,) = adopt_spellings(connection, [parse_interval(interval)])
    days = None if session is None else [session]
    codes = list_chosen(engine.settings, exchange)
    verified = [one for code in codes for one in verification.verify_newest(engine, code, known, days, universe)]
    if not verified and (session, universe, exchange) != (None, None, None):  # nothing that was asked about holds
        of = " ".join(filter(None, [exchange, universe, session.isoformat() if session else None]))
        raise UsageError(f"there is no certificate of {of} ({known.name}); see: backfill-assets certificates list")
    return verified
