"""The check that an exchange's calendar is known: it does not end soon, and agrees with what is stored.

A session after the end of a calendar is an error by name wherever it is asked for (``market.calendar.sessions``).
"""

from collections.abc import Sequence
from datetime import date, datetime

from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.moment_style import MomentStyle
from backfill_assets.market.calendar.sessions import find_last_known_day, is_near_end
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.quality.criteria import MAX_OFFENDERS, Criterion
from backfill_assets.store.evidence.session_fingerprints import ContradictingSession, find_contradicting_sessions
from backfill_assets.store.postgres.connection import Database

CALENDAR_IS_KNOWN = "calendar_is_known"


def evaluate_calendar(database: Database, coverage: Coverage) -> Criterion:
    """Evaluate ``calendar_is_known`` for the exchange of a coverage, and for the sessions of its window."""
    if not coverage.grid.sessions:
        return Criterion.create_not_judged(CALENDAR_IS_KNOWN, "the window has no session")
    session = coverage.grid.sessions[-1]
    last_day = find_last_known_day(session.market, session.day)
    with database.transaction() as connection:
        contradicting = find_contradicting_sessions(connection, coverage.grid.sessions)
    style = MomentStyle(session.market)
    contradictions = [_describe_contradiction(found, style) for found in contradicting]
    return check_calendar_is_known(session.market, coverage.now, last_day, contradictions)


def _describe_contradiction(found: ContradictingSession, style: MomentStyle) -> str:
    stored = f"{style.format_without_zone(found.opened_at)} to {style.format_without_zone(found.closed_at)}"
    if found.session is None:
        return f"{found.exchange} {found.day}: stored as a session of {stored}, and no session any more"
    if found.has_other_slots_only:
        return f"{found.exchange} {found.day}: stored as a session of {stored}, now with other breaks or slots"
    hours = (style.format_without_zone(moment) for moment in (found.session.open, found.session.close))
    return f"{found.exchange} {found.day}: stored as a session of {stored}, now {' to '.join(hours)}"


def check_calendar_is_known(
    market: MarketProfile, now: datetime, last_day: date | None, contradictions: Sequence[str] = ()
) -> Criterion:
    """The calendar does not end within 60 days, and no session that was stored contradicts it.

    Args:
        market: the exchange.
        now: UTC; today is its day in the exchange's zone.
        last_day: the last day that the calendar knows; None: it has no end.
        contradictions: sessions whose hours in the store are others than those of the calendar, in words.
    """
    today = now.astimezone(market.zone).date()
    ends_soon = is_near_end(last_day, today)
    offenders = [f"{market.exchange} ends on {last_day}"] if ends_soon else []
    offenders += contradictions
    return Criterion(
        name=CALENDAR_IS_KNOWN,
        passed=not offenders,
        figure=len(offenders),
        threshold=0,
        meaning="; ".join(_describe(market, today, last_day, len(contradictions), ends_soon=ends_soon)),
        offenders=tuple(offenders[:MAX_OFFENDERS]),
    )


def _describe(
    market: MarketProfile, today: date, last_day: date | None, contradictions: int, *, ends_soon: bool
) -> list[str]:
    name = f"the calendar {market.calendar} of {market.exchange}"
    texts = [f"{name} has no end" if last_day is None else f"{name} is known until {last_day}"]
    if ends_soon and last_day is not None:
        days = format_count((last_day - today).days, "day")
        texts = [
            f"{name} ends on {last_day}, in {days}: install a newer exchange_calendars, or add the sessions after it to"
            " BACKFILL_MARKETS_FILE"
        ]
    if contradictions:
        texts.append(f"{format_count(contradictions, 'stored session contradicts', 'stored sessions contradict')} it")
    return texts
