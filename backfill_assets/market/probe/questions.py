"""The requests that show what the vendor's data of an exchange are like. Pure.

Which ones they are depends on fields of the profile alone. How they are sent is in ``backfill.market_probe``, what the
answers show in ``report``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from backfill_assets.market.calendar.sessions import Session, limit_to_calendar, list_sessions
from backfill_assets.market.exchanges.profile import MarketProfile, VolumeKind

WEEK_SESSIONS = 5
LOOKBACK_DAYS = 400  # a year and a month: every exchange with half days has had one
SETTLED_DAYS = 3  # what is younger may not be published yet
TAIL_DAYS = 3  # rows this old show whether a series goes on; one that ended before has none
CHRISTMAS = (12, 25)  # the day on which currencies rest, if they do
_MIC = re.compile(r"[A-Z]{4}")
# Large and small ones, with more decimals than six and more characters than ten. Rows of gold come at 1m only.
FAMILIAR_PAIRS = ("BTC-USD", "SHIB-USD", "BABYDOGE-USD")
FAMILIAR_CURRENCIES = ("EURUSD", "XAUUSD")


class QuestionKind(StrEnum):
    """An endpoint, as recordings name it."""

    EXCHANGES = "exchanges"
    HOURS = "hours"
    SYMBOLS = "symbols"
    ROWS = "rows"
    DAILY = "daily"


@dataclass(frozen=True, slots=True)
class ProbeQuestion:
    """One request.

    Attributes:
        kind: which endpoint.
        purpose: what the answer shows, in words.
        subject: the ticker or the code that is asked for; empty: none, or the symbol that the list will show.
        otherwise: the code to ask for if the vendor does not know ``subject``; empty: none.
        interval: of rows.
        first: the first day (UTC) of daily rows, and of rows their first moment (aware).
        last: the same of the last one.
    """

    kind: QuestionKind
    purpose: str
    subject: str = ""
    otherwise: str = ""
    interval: str = ""
    first: datetime | None = None
    last: datetime | None = None


def list_questions(market: MarketProfile, symbols: Sequence[str], now: datetime) -> list[ProbeQuestion]:
    """The requests about an exchange, in the order in which they are sent.

    Args:
        market: its profile.
        symbols: to ask for, without the exchange; empty: familiar pairs, or one of the vendor's list.
        now: the current time (aware).

    Raises:
        UsageError: the calendar has ended, or cannot be built.
    """
    first = ProbeQuestion(QuestionKind.EXCHANGES, f"whether the plan holds {market.exchange}")
    if market.is_around_the_clock:
        return [first, *_ask_about_tails(symbols or FAMILIAR_PAIRS, now)]
    if market.volume_kind is VolumeKind.NONE:
        return [first, *_ask_about_currencies(symbols or FAMILIAR_CURRENCIES, now)]
    return [first, *_ask_about_sessions(market, symbols, now)]


def count_symbols(market: MarketProfile) -> int:
    """How many symbols are asked for unless a person names others."""
    if market.is_around_the_clock:
        return len(FAMILIAR_PAIRS)
    return len(FAMILIAR_CURRENCIES) if market.volume_kind is VolumeKind.NONE else 1


def _ask_about_tails(symbols: Sequence[str], now: datetime) -> list[ProbeQuestion]:
    start = now - timedelta(days=TAIL_DAYS)
    rows = [
        ProbeQuestion(QuestionKind.ROWS, "age of the newest row, volumes", symbol, "", interval, start, now)
        for symbol in symbols
        for interval in ("5m", "1m")
    ]
    return [*rows, _ask_daily(symbols[0], start - timedelta(days=SETTLED_DAYS), now)]


def _ask_about_currencies(symbols: Sequence[str], now: datetime) -> list[ProbeQuestion]:
    """Both intervals at Christmas and over the last days, a weekend among them."""
    christmas = find_christmas(now)
    spans = {
        "rows of 25 December": (christmas - timedelta(days=1), christmas + timedelta(days=2)),
        "weekend rows, age of the newest row": (now - timedelta(days=7), now),
    }
    rows = [
        ProbeQuestion(QuestionKind.ROWS, purpose, symbol, "", interval, first, last)
        for symbol in symbols
        for purpose, (first, last) in spans.items()
        for interval in ("1m", "5m")
    ]
    return [*rows, _ask_daily(symbols[0], now - timedelta(days=14), now)]


def find_christmas(now: datetime) -> datetime:
    """The midnight (UTC) at which the latest 25 December began that is settled."""
    year = now.year if now.date() >= date(now.year, *CHRISTMAS) + timedelta(days=SETTLED_DAYS) else now.year - 1
    return datetime(year, *CHRISTMAS, tzinfo=UTC)


def _ask_about_sessions(market: MarketProfile, symbols: Sequence[str], now: datetime) -> list[ProbeQuestion]:
    week = find_week(market, now)
    chosen = list(symbols[:1]) or [""]
    code = next((name for name in sorted(market.names) if _MIC.fullmatch(name) and name.startswith("X")), "")
    hours = ProbeQuestion(
        QuestionKind.HOURS, "hours, breaks and early closes", code or market.exchange, market.exchange if code else ""
    )
    listed = [] if symbols else [ProbeQuestion(QuestionKind.SYMBOLS, "a share to ask for", market.exchange)]
    first, last = week[0].open - timedelta(hours=1), week[-1].regular_close + timedelta(hours=2)
    half_day = next((f", a half day on {session.day}" for session in week if session.is_early_close), "")
    rows = [
        ProbeQuestion(QuestionKind.ROWS, f"rows of a week{half_day}", symbol, "", "5m", first, last)
        for symbol in chosen
    ]
    return [hours, *listed, *rows, *(_ask_daily(symbol, first, last) for symbol in chosen)]


def _ask_daily(symbol: str, first: datetime, last: datetime) -> ProbeQuestion:
    return ProbeQuestion(QuestionKind.DAILY, "whether daily volumes are 0, null or absent", symbol, "", "", first, last)


def open_for_probe(market: MarketProfile) -> MarketProfile:
    """The profile with the calendar's hours although its breaks are not known: they are what is asked for."""
    return replace(market, needs_breaks=False)


def find_week(market: MarketProfile, now: datetime) -> tuple[Session, ...]:
    """The latest five settled sessions with a half day among them; without one the latest five.

    Raises:
        UsageError: the calendar has ended, or cannot be built.
    """
    known = open_for_probe(market)
    today = now.astimezone(market.zone).date()
    earliest = max(today - timedelta(days=LOOKBACK_DAYS), market.data_from or date.min)
    last = limit_to_calendar(known, today - timedelta(days=SETTLED_DAYS), now)
    sessions = list_sessions(known, earliest, last)
    halves = [at for at, session in enumerate(sessions) if session.is_early_close]
    end = min(len(sessions), halves[-1] + 2) if halves else len(sessions)
    return sessions[max(0, end - WEEK_SESSIONS) : end]


def to_day(moment: datetime) -> date:
    """The day of a moment in UTC."""
    return moment.astimezone(UTC).date()


def is_weekend(moment: datetime) -> bool:
    """Whether a moment (aware) lies between Friday 22:00 and Sunday 21:00 UTC, when no currency is traded anywhere."""
    utc = moment.astimezone(UTC)
    friday_closed, sunday_closed = time(22), time(21)
    return (
        utc.weekday() == 5
        or (utc.weekday() == 4 and utc.time() >= friday_closed)
        or (utc.weekday() == 6 and utc.time() < sunday_closed)
    )
