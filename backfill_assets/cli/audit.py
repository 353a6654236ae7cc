"""``audit``: every rule about improbable bars, applied to what is stored; no vendor calls."""

import json
import sys
from collections.abc import Collection
from dataclasses import dataclass
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
    from rich.console import Console

    from backfill_assets.backfill.engine import BackfillJob, Engine
    from backfill_assets.backfill.plausibility.audit_result import AuditResult
    from backfill_assets.certification.verification import VerifiedCertificate
    from backfill_assets.market.calendar.windows import Window


@dataclass(frozen=True, slots=True)
class _MarketAudit:
    """What was found of one exchange; ``certificates`` is None if none were looked at.

    ``changed_hours`` says which stored sessions have other hours in the calendar of now; empty if none has.
    """

    job: "BackfillJob"
    window: "Window"
    result: "AuditResult"
    certificates: "list[VerifiedCertificate] | None"
    changed_hours: str

    def as_dict(self) -> dict[str, Any]:
        days = [session.day.isoformat() for session in self.window.sessions]
        described: dict[str, Any] = {"first_session": days[0], "last_session": days[-1]} if days else {}
        checked = None if self.certificates is None else _describe_certificates(self.certificates)
        described |= {"interval": self.job.interval.name, **self.result.as_dict(), "certificates": checked}
        return described | ({"session_hours_differ": self.changed_hours} if self.changed_hours else {})


@click.command()
@partial(add_window_options, default="all that is stored")
@add_format_option("table", "json")
@click.option("--write", is_flag=True, help="Also open the doubts: their bars become suspect. No request follows.")
def audit(output_format: str, write: bool, as_of: datetime | None, debug: bool, **window: Any) -> None:
    """Look for bars that are improbable among all stored ones, also those of other programs. Changes no bar.

    Certificates of the window are computed again: a bar that something else changed breaks the one of its session.
    """
    from backfill_assets.backfill.decisions.inbox import refresh_inbox
    from backfill_assets.backfill.exchange_loop import work_on_markets
    from backfill_assets.backfill.job_request import collect_jobs, open_engine
    from backfill_assets.cli.market_rendering import describe_markets, show_exchange, show_failures

    settings = load_command_settings(as_of, debug=debug)
    is_whole_store = all(window[name] is None for name in ("hours_back", "start", "end"))
    console = None if output_format == "json" else make_console()
    with open_engine(settings) as engine:
        jobs = collect_jobs(engine, build_job_request(**window))
        results = work_on_markets(jobs, partial(_audit, engine, is_whole_store=is_whole_store, write=write))
        if write:
            refresh_inbox(engine.database, settings.now())
        warn_unused_names(engine)
        for found in results.results.values():
            if console is not None:
                show_exchange(console, engine.database, found.job.market, is_several=results.is_several)
                _show(console, found, settings.exchanges, settings.now())
    warn_unknown_symbols(jobs.unknown)
    if console is None:
        click.echo(json.dumps(describe_markets(results), indent=1))
    else:
        show_failures(console, results)
    sys.exit(results.exit_code)


def _audit(engine: "Engine", job: "BackfillJob", *, is_whole_store: bool, write: bool) -> _MarketAudit:
    from backfill_assets.backfill.plausibility.audit import AuditOptions, audit_bars
    from backfill_assets.backfill.plausibility.audit_sessions import choose_audit_sessions
    from backfill_assets.backfill.session_hours import find_changed_hours

    chosen = None if is_whole_store else job.window
    settings = engine.settings
    sessions = choose_audit_sessions(engine.database, settings, job.market, job.symbols, job.interval, chosen)
    options = AuditOptions(settings.now(), sessions.first_session, writes=write)
    result = audit_bars(engine.database, job.symbols, sessions.grid, options)
    certificates = None if job.user_selected else _verify_certificates(engine, job, chosen)
    return _MarketAudit(
        job, sessions.window, result, certificates, find_changed_hours(engine, sessions.window.sessions)
    )


def _show(console: "Console", found: _MarketAudit, enabled: Collection[str], now: datetime) -> None:
    from backfill_assets.cli.audit_rendering import show_audit
    from backfill_assets.cli.certificate_rendering import show_verified
    from backfill_assets.cli.rendering import show_window
    from backfill_assets.market.calendar.moment_style import choose_moment_style

    show_window(console, found.window, now, choose_moment_style(found.job.market, enabled))
    if found.window.sessions:
        show_audit(console, found.result)
    if found.changed_hours:
        console.print(found.changed_hours, style="red", highlight=False, markup=False)
    if found.certificates:
        show_verified(console, found.certificates)


def _verify_certificates(engine: "Engine", job: "BackfillJob", chosen: "Window | None") -> "list[VerifiedCertificate]":
    """The newest certificate of each session of the window, or of all, computed again."""
    from backfill_assets.certification.verification import verify_newest

    days = None if chosen is None else [session.day for session in chosen.sessions]
    return verify_newest(engine, job.market.exchange, job.interval, days)


def _describe_certificates(verified: "list[VerifiedCertificate]") -> dict[str, Any]:
    broken = [one.as_dict() for one in verified if not one.holds]
    return {"verified": len(verified), "broken": broken}
