"""Stored sessions whose hours are others in the calendar of now: a finding, and how it ends.

Evidence numbers the slots of a session, so with other hours it means other slots. A newer version of the calendars'
library, another ``grid_anchor`` or breaks, or a correction that was taken back, may bring that about. How hours are
kept is in ``store.evidence.session_fingerprints``.
"""

from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version

from backfill_assets.backfill.engine import BackfillJob, Engine
from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.sessions import Session, list_sessions
from backfill_assets.market.calendar.windows import build_session_window, limit_partition_sessions
from backfill_assets.market.exchanges.labels import format_exchange_option
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.store.evidence.findings import (
    SESSION_HOURS_DIFFER,
    Finding,
    record_finding,
    resolve_findings,
)
from backfill_assets.store.evidence.session_fingerprints import (
    ContradictingSession,
    find_contradicting_sessions,
    replace_session_fingerprints,
)

LIBRARY = "exchange_calendars"
MAX_NAMED = 5  # sessions in the finding


def note_session_hours(engine: Engine, job: BackfillJob, findings: Sequence[Finding], *, is_read_anew: bool) -> None:
    """Record which retained sessions, or sessions of the job, have other hours than their evidence; or resolve it.

    Args:
        engine: the parts to work with.
        job: of the exchange.
        findings: the open ones.
        is_read_anew: whether every symbol's rows of the job's sessions were just read again, so that the hours of now
            count for these.
    """
    if not job.window.sessions:
        return
    sessions = list_kept_sessions(engine, job)
    with engine.database.transaction() as connection:
        if is_read_anew:  # of corrected days, too: their correction may be taken back once the library has it
            renewed = find_contradicting_sessions(connection, job.window.sessions, with_corrected=True)
            chosen = [one.session for one in renewed if one.session is not None]
            replace_session_fingerprints(connection, job.market.exchange, chosen)
        if found := find_contradicting_sessions(connection, sessions):
            detail = describe_hours(job.market, found)
            now = engine.settings.now()
            record_finding(connection, Finding(SESSION_HOURS_DIFFER, job.market.exchange, detail, now))
        elif any((f.kind, f.subject) == (SESSION_HOURS_DIFFER, job.market.exchange) for f in findings):
            resolve_findings(connection, SESSION_HOURS_DIFFER, [job.market.exchange], engine.settings.now())


def find_changed_hours(engine: Engine, sessions: Sequence[Session]) -> str:
    """In words, which of all sessions from one day to another have other hours than their evidence; empty if none."""
    with engine.database.transaction() as connection:
        found = find_contradicting_sessions(connection, sessions)
    return describe_hours(sessions[0].market, found) if found else ""


def describe_hours(market: MarketProfile, found: Sequence[ContradictingSession]) -> str:
    """Which sessions have other hours now than when their bars were stored, and what to do."""
    named = "; ".join(_describe(market, one) for one in found[:MAX_NAMED])
    more = f"; and {len(found) - MAX_NAMED:,} more" if len(found) > MAX_NAMED else ""
    chosen = format_exchange_option(market.exchange)
    held = [one.day for one in found if one.session is not None]
    remedies = []
    if any(one.has_other_slots_only for one in found):  # what is read again neither replaces nor removes them
        remedies.append("delete the bars of the sessions with other breaks or slots")
    if held:
        remedies.append(f"read them again: backfill-assets run --force{chosen} --start {held[0]} --end {held[-1]}")
    if len(held) < len(found):  # nothing is left to be read again
        remedies.append("write days that are no sessions any more into closures of BACKFILL_MARKETS_FILE")
    return (
        f"{format_count(len(found), 'stored session has', 'stored sessions have')} other hours in the calendar"
        f" {market.calendar} of {LIBRARY} {version(LIBRARY)} than when the bars were stored: {named}{more}. If the"
        f" calendar is wrong, correct these days (docs/markets.md); if it is right, {', and '.join(remedies)}"
    )


def _describe(market: MarketProfile, one: ContradictingSession) -> str:
    was = _format_hours(market, one.opened_at, one.closed_at)
    if one.has_other_slots_only:
        return f"{one.day} is {was} as before, with other breaks or slots"
    now = "none" if one.session is None else _format_hours(market, one.session.open, one.session.close)
    return f"{one.day} was {was}, is {now}"


def _format_hours(market: MarketProfile, opened: datetime, closed: datetime) -> str:
    """Hours in the exchange's time zone."""
    return f"{opened.astimezone(market.zone):%H:%M} to {closed.astimezone(market.zone):%H:%M}"


def list_kept_sessions(engine: Engine, job: BackfillJob) -> tuple[Session, ...]:
    """Every session from the first retained one, or the job's first one, to the last that has opened."""
    settings = engine.settings
    kept = limit_partition_sessions(settings.partition_days, len(job.symbols))
    retained = build_session_window(job.market, settings.now(), kept).sessions
    first = min(session.day for session in (*retained[:1], job.window.sessions[0]))
    last = max(session.day for session in (*retained[-1:], job.window.sessions[-1]))
    return list_sessions(job.market, first, last)
