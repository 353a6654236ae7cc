"""``audit``: every rule about improbable bars, applied to what is stored; no vendor calls."""

import json
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.options import (
    add_format_option,
    add_window_options,
    build_job_request,
    load_command_settings,
    make_console,
    warn_unknown_symbols,
    warn_unused_names,
)

if TYPE_CHECKING:
    from backfill_assets.backfill.engine import BackfillJob, Engine
    from backfill_assets.certification.verification import VerifiedCertificate
    from backfill_assets.market.calendar.windows import Window


@click.command()
@partial(add_window_options, default="all that is stored")
@add_format_option("table", "json")
@click.option("--write", is_flag=True, help="Also open the doubts: their bars become suspect. No request follows.")
def audit(output_format: str, write: bool, as_of: datetime | None, debug: bool, **window: Any) -> None:
    """Look for bars that are improbable among all stored ones, also those of other programs. Changes no bar.

    Certificates of the window are computed again: a bar that something else changed breaks the one of its session.
    """
    from backfill_assets.backfill.decisions.inbox import refresh_inbox
    from backfill_assets.backfill.job_request import build_job, open_engine
    from backfill_assets.backfill.plausibility.audit import AuditOptions, audit_bars
    from backfill_assets.backfill.plausibility.audit_sessions import choose_audit_sessions
    from backfill_assets.cli.audit_rendering import show_audit
    from backfill_assets.cli.certificate_rendering import show_verified
    from backfill_assets.cli.rendering import show_window

    settings = load_command_settings(as_of, debug=debug)
    is_whole_store = all(window[name] is None for name in ("hours_back", "start", "end"))
    with open_engine(settings) as engine:
        job, unknown = build_job(engine, build_job_request(**window))
        chosen = None if is_whole_store else job.window
        sessions = choose_audit_sessions(engine.database, settings, job.symbols, job.interval, chosen)
        options = AuditOptions(settings.now(), sessions.first_session, writes=write)
        result = audit_bars(engine.database, job.symbols, sessions.grid, options)
        if write:
            refresh_inbox(engine.database, settings.now())
        certificates = None if job.user_selected else _verify_certificates(engine, job, chosen)
        warn_unused_names(engine)
    warn_unknown_symbols(unknown)
    if output_format == "json":
        days = [session.day.isoformat() for session in sessions.window.sessions]
        described = {"first_session": days[0], "last_session": days[-1]} if days else {}
        described |= {"interval": job.interval.name, **result.as_dict()}
        checked = None if certificates is None else _describe_certificates(certificates)
        click.echo(json.dumps({**described, "certificates": checked}, indent=1))
        return
    console = make_console()
    show_window(console, sessions.window, settings.now())
    if sessions.window.sessions:
        show_audit(console, result)
    if certificates:
        show_verified(console, certificates)


def _verify_certificates(engine: "Engine", job: "BackfillJob", chosen: "Window | None") -> "list[VerifiedCertificate]":
    """The newest certificate of each session of the window, or of all, computed again."""
    from backfill_assets.certification.verification import verify_newest
    from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE

    days = None if chosen is None else [session.day for session in chosen.sessions]
    return verify_newest(engine, DEFAULT_EXCHANGE, job.interval, days)


def _describe_certificates(verified: "list[VerifiedCertificate]") -> dict[str, Any]:
    broken = [one.as_dict() for one in verified if not one.holds]
    return {"verified": len(verified), "broken": broken}
