"""Sessions of a window in words, with what is unusual about them: early closes, late opens and days without one."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from backfill_assets.market.calendar.sessions import EARLIEST_DATE, Session, limit_to_calendar, list_sessions
from backfill_assets.market.exchanges.profile import MarketProfile

_NEXT_WITHIN = timedelta(days=14)  # longer than any holiday of an exchange
_USUAL_FROM = timedelta(days=35)  # of the days before a window, which show on which weekdays the exchange trades


def find_next_session(market: MarketProfile, now: datetime) -> Session | None:
    """The session that is open, else the next one; None without one in two weeks, or if the calendar ends before it."""
    today = now.astimezone(market.zone).date()
    last = limit_to_calendar(market, today + _NEXT_WITHIN, now)
    coming = list_sessions(market, today - timedelta(days=1), last)
    return next((session for session in coming if session.close > now), None)


def list_closed_weekdays(market: MarketProfile, sessions: Sequence[Session], now: datetime) -> list[date]:
    """The days of a window without a session although the exchange trades on that weekday, up to today; ascending.

    Args:
        market: the exchange.
        sessions: those of the window, oldest first.
        now: UTC; today is its day in the exchange's zone.
    """
    if not sessions:
        return []
    first, today = sessions[0].day, now.astimezone(market.zone).date()
    last = limit_to_calendar(market, max(sessions[-1].day, today), now)
    nearby = {session.day for session in list_sessions(market, max(EARLIEST_DATE, first - _USUAL_FROM), last)}
    counts = Counter(day.weekday() for day in nearby)
    weekdays = {weekday for weekday, count in counts.items() if count > 1}  # one is a session on an unusual day
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [day for day in days if day.weekday() in weekdays and day not in nearby]
