"""How complete the history is, and on which day it will be done: by the calls that were really left over lately.

No vendor calls. The date rests on the mean of the past days: what each had left over when the history looked last,
or, where it never looked, what the ledger of calls says. Where nothing says so, there is no date, and a reason.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from backfill_assets.backfill.engine import Engine
from backfill_assets.backfill.history.frontier import MarketHistory, explain_plan_limits, read_histories
from backfill_assets.backfill.history.spending import explain_history_standstill
from backfill_assets.backfill.history.waiting import find_failing, name_position
from backfill_assets.backfill.spare_calls import count_spare_requests
from backfill_assets.config.counts import format_count
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.moment_style import UTC_STYLE
from backfill_assets.market.calendar.timestamps import format_optional_timestamp
from backfill_assets.market.purposes import Purpose
from backfill_assets.market.vendor_errors import TokenRefused
from backfill_assets.store.history_state import read_history_calls, read_past_days

DAYS_LOOKED_AT = 7  # a week, since weekends need fewer calls


@dataclass(frozen=True, slots=True)
class HistoryEstimate:
    """How far the history has come, and when it will be done.

    Attributes:
        symbols: with a history.
        symbols_done: those of them of which all was requested, in every interval.
        sessions: of all these symbols and intervals, as far as is known since when they are listed.
        sessions_done: those of them that were walked over.
        requests: intraday requests that are left, as few as possible; those repeated after faults come on top.
        calls: what they cost, and the daily histories that are read before.
        calls_left_today: how many calls the day has left over now.
        calls_a_day: how many a day has left over; None: unknown.
        days_known: how many past days that rests on; 0: on today alone.
        done_on: the UTC day on which the last request is sent; None: it is done, or cannot be known.
        reason: why it cannot be known; empty if it can.
        waiting: how many symbols wait, because their newest requests failed.
        waits_until: when the last of them may be requested again (UTC); None: nobody waits.
        ends_before: the first session that is no history, but healed by itself, of the exchange with the oldest one.
    """

    symbols: int
    symbols_done: int
    sessions: int
    sessions_done: int
    requests: int
    calls: int
    calls_left_today: int = 0
    calls_a_day: int | None = None
    days_known: int = 0
    done_on: date | None = None
    reason: str = ""
    waiting: int = 0
    waits_until: datetime | None = None
    ends_before: date | None = None

    @property
    def percent(self) -> float:
        """The share of sessions that were walked over, in per cent, rounded down to one digit."""
        return math.floor(1000 * self.sessions_done / max(1, self.sessions)) / 10 if self.symbols else 100.0

    @property
    def is_complete(self) -> bool:
        """Whether all of it was requested."""
        return self.symbols_done == self.symbols

    def describe(self) -> str:
        """The estimate in one line, such as ``97.3 % complete, done 2026-12-03 at 38,000 calls a day``."""
        if self.is_complete:
            return "complete"
        share = f"{self.percent:.1f} % complete"
        if self.done_on is None:
            return f"{share}, end unknown: {self.reason}"
        rate = "" if self.calls_a_day is None else f" at {self.calls_a_day:,} calls a day"
        return f"{share}, done {self.done_on}{rate}{self._describe_waiting()}"

    def _describe_waiting(self) -> str:
        if self.waits_until is None:
            return ""
        waiting = format_count(self.waiting, "symbol waits", "symbols wait")
        return f"; after failed requests {waiting} until {UTC_STYLE.format_minute(self.waits_until)}"

    def as_dict(self) -> dict[str, Any]:
        """The estimate as JSON."""
        return {
            "complete": self.is_complete,
            "percent": self.percent,
            "symbols": self.symbols,
            "symbols_done": self.symbols_done,
            "sessions": self.sessions,
            "sessions_done": self.sessions_done,
            "requests": self.requests,
            "calls": self.calls,
            "calls_left_today": self.calls_left_today,
            "calls_a_day": self.calls_a_day,
            "days_known": self.days_known,
            "done_on": self.done_on.isoformat() if self.done_on else None,
            "reason": self.reason or None,
            "waiting": self.waiting,
            "waits_until": format_optional_timestamp(self.waits_until),
            "ends_before": self.ends_before.isoformat() if self.ends_before else None,
            "summary": self.describe(),
        }


def estimate_history(engine: Engine) -> HistoryEstimate | None:
    """How complete the history of all exchanges is, and when it will be done; None if there is no history to fill.

    Raises:
        UsageError: BACKFILL_HISTORY_FROM is before everything that the vendor has.
    """
    histories = read_histories(engine)
    if not histories:
        return None
    sessions, done = (sum(column) for column in zip(*map(_count, histories), strict=True))
    symbols = {one.symbol.symbol_id for history in histories for one in history.symbols}
    left = {one.symbol.symbol_id for history in histories for one in history.symbols if not one.is_complete}
    requests, unread = _count_requests(histories), _count_unread(histories)
    calls = requests * engine.prices.intraday + unread * engine.prices.daily
    estimate = HistoryEstimate(len(symbols), len(symbols - left), sessions, done, requests, calls)
    estimate = replace(estimate, ends_before=min(history.end for history in histories))
    if estimate.is_complete:
        return estimate
    waits = list(_list_waits(engine, histories))
    last = max((moment for _, moment in waits), default=None)
    estimate = replace(estimate, waiting=len({symbol_id for symbol_id, _ in waits}), waits_until=last)
    return _add_date(engine, estimate, explain_plan_limits(histories))


def describe_history(engine: Engine) -> dict[str, Any] | None:
    """The estimate as JSON; where it cannot be made, ``summary`` says why. None if there is no history to fill."""
    try:
        estimate = estimate_history(engine)
    except UsageError as error:
        return {"summary": str(error)}
    return estimate.as_dict() if estimate else None


def _count(history: MarketHistory) -> tuple[int, int]:
    """How many sessions all symbols have, and how many were walked over, for one exchange and interval."""
    sessions = done = 0
    for one in history.symbols:
        before = history.end if one.last is None else min(history.end, one.last + timedelta(days=1))
        sessions += history.count_sessions(one.first, before)
        done += history.count_sessions(max(one.first, one.oldest), before)
    return sessions, done


def _count_requests(histories: Sequence[MarketHistory]) -> int:
    """How many requests are left, if the store lacks all; one brings all intervals of its feed."""
    most: dict[tuple[str, int], int] = {}
    for history in histories:
        for one in history.symbols:
            key = history.source.name, one.symbol.symbol_id
            most[key] = max(most.get(key, 0), history.count_requests(one))
    return sum(most.values())


def _count_unread(histories: Sequence[MarketHistory]) -> int:
    """Of how many symbols the daily history is read before."""
    return len(
        {
            one.symbol.symbol_id
            for history in histories
            for one in history.symbols
            if history.market.uses_daily_data and not one.is_listing_known and not one.is_complete
        }
    )


def _list_waits(engine: Engine, histories: Sequence[MarketHistory]) -> Iterator[tuple[int, datetime]]:
    """Symbols whose newest requests failed, of those that something is left of, and until when each waits."""
    until = find_failing(engine, histories)
    for history in histories:
        for one in history.symbols:
            if not one.is_complete and (moment := until.get(name_position(history, one))):
                yield one.symbol.symbol_id, moment


def _add_date(engine: Engine, estimate: HistoryEstimate, limit: str) -> HistoryEstimate:
    now = engine.settings.now()
    try:
        reason = _explain_unknown(engine) or limit
        left, rate, days = _read_rate(engine, now)
    except TokenRefused as error:
        return replace(estimate, reason=str(error))
    known = replace(estimate, calls_left_today=left, calls_a_day=rate, days_known=days)
    if reason:
        return replace(known, reason=reason)
    rest = estimate.calls - left
    if rest > 0 and rate < engine.prices.intraday:
        return replace(known, reason=f"no calls were left over on {format_count(days or 1, 'day')}")
    spent_on = now.astimezone(UTC).date() + timedelta(days=math.ceil(rest / rate) if rest > 0 else 0)
    waited_until = (estimate.waits_until or now).astimezone(UTC).date()
    return replace(known, done_on=max(spent_on, waited_until))


def _explain_unknown(engine: Engine) -> str:
    """Why nobody can say how it goes on: a pause, or runs that fail; that the day's calls are spent is no reason."""
    left = engine.create_budget().read_status(engine.settings.now()).calls_left_today
    return explain_history_standstill(engine) if left >= engine.prices.intraday else ""


def _read_rate(engine: Engine, now: datetime) -> tuple[int, int, int]:
    """Calls that are left over today, those that a day has left over, and how many past days say so."""
    left = count_spare_requests(engine) * engine.prices.intraday
    status = engine.create_budget(Purpose.HISTORY).read_status(now)
    token = engine.require_token()
    with engine.database.transaction() as connection:
        past = read_past_days(connection, token, now, DAYS_LOOKED_AT)
        spent = read_history_calls(connection, token, now)
    if past.left_over:
        return left, round(sum(past.left_over) / len(past.left_over)), len(past.left_over)
    if past.spent_by_others:
        usable = status.calls_left_today + status.calls_spent_today
        rates = [max(0, usable - calls) for calls in past.spent_by_others]
        return left, round(sum(rates) / len(rates)), len(rates)
    return left, spent + left, 0
