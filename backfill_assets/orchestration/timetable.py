"""When an exchange's morning is, as cron lines in its time zone: bars of its last session are overdue then."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, parse_interval
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.windows import list_newest_known_sessions
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.market.gaps.gap_rules import GapRules

REPORT_AFTER_DEADLINE = timedelta(minutes=15)
_REGULAR_SHARE = 0.5  # of the weeks of a year: on such weekdays an exchange trades, but for holidays
_LONGEST_REACH = timedelta(hours=23)  # Dagster wants it shorter than the time between two deadlines


@dataclass(frozen=True, slots=True)
class Morning:
    """The moments after each session, in the exchange's time zone.

    Attributes:
        deadline_cron: when bars of the session are overdue.
        report_cron: when the report is made.
        reach: a materialization this long before the deadline counts for it: the time since data could be requested.
    """

    deadline_cron: str
    report_cron: str
    reach: timedelta


# As it always was, whatever the settings of gaps say: the defaults give the same.
_MORNING_IN_NEW_YORK = Morning("0 8 * * 2-6", "15 8 * * 2-6", timedelta(hours=13))


def build_morning(settings: Settings, market: MarketProfile) -> Morning:
    """The morning of an exchange, from its regular close and the hours until its bars are overdue.

    A market without a close has its days end at midnight in UTC. A day of it is complete with the first request after
    the vendor has its last bar, and requests go out some hours apart.
    """
    if market.exchange == DEFAULT_EXCHANGE:
        return _MORNING_IN_NEW_YORK
    session = list_newest_known_sessions(market, settings.now(), 1)[-1]
    rules = settings.build_gap_rules(market, settings.choose_source(market, parse_interval(DEFAULT_INTERVAL)))
    close = session.regular_close.astimezone(market.zone).replace(tzinfo=None)  # wall clock, as cron lines are
    waiting = _compute_waiting(market, rules)
    deadline = close + waiting
    weekdays = _list_trading_weekdays(market, session.day)
    report = deadline + REPORT_AFTER_DEADLINE
    return Morning(
        _build_cron(deadline, session.day, weekdays),
        _build_cron(report, session.day, weekdays),
        min(max(waiting - rules.askable_after, timedelta(hours=1)), _LONGEST_REACH),
    )


def _compute_waiting(market: MarketProfile, rules: GapRules) -> timedelta:
    """How long after a session's end its last bar is waited for: until it is overdue, or for the next request."""
    if market.is_around_the_clock:
        return max(rules.overdue_after, rules.askable_after + rules.ask_every)
    return rules.overdue_after


def _list_trading_weekdays(market: MarketProfile, until: date) -> list[int]:
    """The weekdays (Monday is 0) on which the exchange trades; an extra session on another day does not count."""
    sessions = list_sessions(market, until - timedelta(days=364), until)
    counts = [sum(session.day.weekday() == weekday for session in sessions) for weekday in range(7)]
    return [weekday for weekday, count in enumerate(counts) if count > 52 * _REGULAR_SHARE]


def _build_cron(moment: datetime, session_day: date, weekdays: list[int]) -> str:
    """The cron line of the same moment after each session; cron counts weekdays from Sunday."""
    later = (moment.date() - session_day).days
    days = sorted((weekday + 1 + later) % 7 for weekday in weekdays)
    if len(days) == 7:
        return f"{moment.minute} {moment.hour} * * *"
    return f"{moment.minute} {moment.hour} * * {_format_days(days)}"


def _format_days(days: list[int]) -> str:
    """Ascending days as in ``2-6`` or ``0,3-6``."""
    parts: list[str] = []
    for day in days:
        first, _, last = (parts[-1] if parts else "").partition("-")
        if first and int(last or first) == day - 1:
            parts[-1] = f"{first}-{day}"
        else:
            parts.append(str(day))
    return ",".join(parts)
