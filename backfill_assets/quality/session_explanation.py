"""The explanation of one session of one ticker: its requests, and what else is known of it as a whole.

Slots are explained in ``slot_explanation``.
"""

from datetime import datetime, timedelta

import numpy as np

from backfill_assets.config.counts import format_count
from backfill_assets.market.calendar.moment_style import UTC_STYLE, MomentStyle
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.gaps.coverage import Coverage
from backfill_assets.market.gaps.evidence import DayTrading

NEVER_REQUESTED = "never requested"
UNREADABLE = "the vendor's newest answer could not be read"
_HOUR = timedelta(hours=1)
_DAY_TRADING_TEXTS = {
    DayTrading.UNKNOWN: "not read, or without a row of that day",
    DayTrading.NO_VOLUME: "not traded on that day",
    DayTrading.TRADED: "traded on that day",
    DayTrading.NOT_IN_MARKET_FILE: "no row of that day, neither of its own nor in the daily file of the market",
    DayTrading.NO_ROW_AS_USUAL: "no row of that day, as on many of its last 250 sessions",
}


def describe_session(
    coverage: Coverage, unreadable_until: datetime | None = None, style: MomentStyle = UTC_STYLE
) -> list[str]:
    """What is known about the session as a whole, as sentences; arguments as those of ``explain_slots``."""
    facts = coverage.absence_evidence
    sentences = _describe_requests(coverage, unreadable_until, style)
    if len(coverage.open_slots.row):  # otherwise no slot is absent
        if facts.published_sessions[0]:
            sentences.append(
                f"{facts.incomplete_sessions[0]} of its last {facts.published_sessions[0]} published sessions had gaps"
            )
        traded = DayTrading(int(facts.traded[0, 0]))
        is_used = coverage.grid.sessions[0].market.uses_daily_data
        sentences.append(f"daily data: {_DAY_TRADING_TEXTS[traded] if is_used else 'not requested'}")
    if facts.is_unserved[0]:
        sentences.append("the vendor has no intraday data of this symbol: requested weekly, and not judged")
    if facts.closed[0]:
        sentences.append("the market was closed, although the calendar has this session")
    if not coverage.expected[0]:
        sentences.append("the ticker was not listed: no bars are expected")
    sentences += _describe_plan(coverage, style)
    sentences.append(_describe_times(coverage, style))
    return sentences


def _describe_plan(coverage: Coverage, style: MomentStyle) -> list[str]:
    """Why the session is requested when it is, while its publication is awaited by what is learned of it."""
    habits, states = coverage.absence_evidence.habits, coverage.slot_states
    requests = coverage.request_history
    is_here = len(requests.row) and requests.data_until[0] > 0
    if habits is None or is_here or not np.isfinite(states.next_request_at).any():
        return []
    name = coverage.symbols[0].ticker.symbol
    if habits.is_silent[0]:
        return [f"none of {name}'s newest sessions came, so it is requested ever less often"]
    session = coverage.grid.sessions[0]
    first, last = habits.find_usual_hours(0, session.day.weekday())
    next_at = to_datetime(int(states.next_request_at.min()))
    when = "now" if next_at <= coverage.now else style.format_moment(next_at)
    return [
        f"{name}'s sessions come {first:g} to {last:g} h after the close, by the last {habits.session_count};"
        f" next request {when}"
    ]


def _describe_requests(coverage: Coverage, unreadable_until: datetime | None, style: MomentStyle) -> list[str]:
    """How often the session was requested, and with what result."""
    requests, sentences = coverage.request_history, []
    if len(requests.row):
        data_end = (
            f"rows until {format_epoch(int(requests.data_until[0]), style)}" if requests.data_until[0] else "no rows"
        )
        published = "published completely" if requests.published[0] else "not known to be published completely"
        sentences.append(
            f"requested {format_count(int(requests.request_count[0]), 'time')},"
            f" last {format_epoch(int(requests.requested_at[0]), style)}: {data_end}; {published}"
        )
        if not np.isnan(requests.no_new_data_since[0]):
            sentences.append(
                f"requests have returned no new data since {format_epoch(int(requests.no_new_data_since[0]), style)}"
            )
    elif unreadable_until is None:
        sentences.append(NEVER_REQUESTED)
    if unreadable_until is not None:
        sentences.append(f"{UNREADABLE}; next try at {style.format_moment(unreadable_until)}")
    return sentences


def _describe_times(coverage: Coverage, style: MomentStyle) -> str:
    """From when slots of the session are requested and overdue; around the clock each slot has times of its own."""
    if not coverage.grid.is_around_the_clock:
        return (
            f"requested from {style.format_moment(coverage.askable_at[0])} on,"
            f" overdue from {style.format_moment(coverage.overdue_at[0])} at the latest"
        )
    session = coverage.grid.sessions[0]
    askable_after, overdue_after = coverage.askable_at[0] - session.open, coverage.overdue_at[0] - session.regular_close
    return (
        f"each slot is requested from {askable_after / _HOUR:g} h after its end on, at its symbol's next turn, and"
        f" overdue {overdue_after / _HOUR:g} h after its end at the latest"
    )


def format_epoch(epoch: int, style: MomentStyle = UTC_STYLE) -> str:
    """A moment in epoch seconds as a person reads it."""
    return style.format_moment(to_datetime(epoch))
