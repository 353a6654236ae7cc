"""What a week of one share's rows, and the vendor's own hours, say about the profile of an exchange. Pure.

Rows are counted and judged by what learning uses (``market.learning``), over fewer sessions.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, time, timedelta
from itertools import pairwise

import numpy as np

from backfill_assets.market.bars.bar_builder import build_bars
from backfill_assets.market.bars.source_rows import build_row_table
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, INTERVALS
from backfill_assets.market.calendar.sessions import (
    Session,
    list_overlapping_sessions,
    list_sessions,
    select_regular_days,
)
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.market.exchanges.learned import NOTHING_COMPARED
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.learning.learned_rows import LearnedRows, count_learned_rows, sum_learned_rows
from backfill_assets.market.learning.proposed_settings import SeenAttribute, SeenMarket, list_seen
from backfill_assets.market.probe.answers import AnsweredRows, ProbeAnswers
from backfill_assets.market.probe.questions import open_for_probe
from backfill_assets.market.vendor import ExchangeHours

MIN_SESSIONS = 4  # a week with a holiday has as many
MIN_BREAK_ROWS = 6  # of 5m in a row without trading in any session: half an hour; shorter ones are chance
_LEARNED = ("closing_seconds", "null_volume")
_MAX_DAYS = 20  # shown and proposed; a year has fewer half days
Span = tuple[time, time]


def list_session_attributes(answers: ProbeAnswers) -> list[SeenAttribute]:
    """The fields that a week of rows and the vendor's hours show."""
    market, attributes = answers.market, [_see_breaks(answers)]
    for answer in answers.rows:
        seen = SeenMarket(_count_rows(answer, market), NOTHING_COMPARED, min_sessions=MIN_SESSIONS)
        attributes += [item for item in list_seen(market, seen) if item.name in _LEARNED]
    return [*attributes, *_see_days(market, answers.hours, answers.now)] if answers.hours else attributes


def list_session_facts(answers: ProbeAnswers) -> list[str]:
    """What was found beside the fields."""
    facts = [_describe_hours(answers.market, answers.hours, answers.now)] if answers.hours else []
    if answers.market.needs_breaks and answers.hours and answers.hours.lunch:
        weekday = f"{answers.market.exchange}.weekday_hours"
        facts.append(f"the vendor names one break for all days; a weekday with another one belongs into {weekday}")
    for answer in answers.rows:
        sessions = _list_asked(answer, answers.market)
        facts.append(f"{answer.symbol} {answer.interval}: {len(answer.rows):,} rows over {len(sessions)} sessions")
        facts += _describe_pauses(answer, sessions)
        facts += [_describe_half_day(answer, session) for session in sessions if session.is_early_close]
    return facts


def _list_asked(answer: AnsweredRows, market: MarketProfile) -> tuple[Session, ...]:
    return list_overlapping_sessions(open_for_probe(market), answer.first, answer.last)


def _build_grid(answer: AnsweredRows, market: MarketProfile) -> SlotGrid:
    return build_slot_grid(_list_asked(answer, market), INTERVALS[DEFAULT_INTERVAL])


def _count_rows(answer: AnsweredRows, market: MarketProfile) -> LearnedRows:
    grid = _build_grid(answer, market)
    table = build_row_table([(0, answer.rows)])
    if not grid.size or not len(table):
        return sum_learned_rows([], grid)
    rejects = build_bars(table, grid, INTERVALS[answer.interval]).rejects
    counted = [(0, at) for at, session in enumerate(grid.sessions) if _has_rows(answer, session)]
    return sum_learned_rows(count_learned_rows(table, rejects, counted, grid), grid)


def _has_rows(answer: AnsweredRows, session: Session) -> bool:
    stamps = answer.rows.timestamp
    return bool(((stamps >= session.open.timestamp()) & (stamps < session.close.timestamp())).any())


def _see_breaks(answers: ProbeAnswers) -> SeenAttribute:
    """The breaks of a full day: of the profile or the calendar, of the rows, and of the vendor's hours."""
    market = answers.market
    known = _find_known_breaks(market, answers.now)
    unknown = "not known: its calendar lacks them" if market.needs_breaks else "none"
    assumed = f"breaks: {_format_spans(known) if known else unknown}"
    parts = []
    if hours := answers.hours:
        parts.append(f"the vendor's hours have {_format_spans([hours.lunch]) if hours.lunch else 'no break'}")
    for answer in answers.rows:
        sessions = [s for s in select_regular_days(_list_asked(answer, market)) if _has_rows(answer, s)]
        if len(sessions) >= MIN_SESSIONS:
            empty = find_empty_spans(answer, sessions)
            parts.append(f"{answer.symbol} has no row at {_format_spans(empty)}" if empty else "rows at all times")
    told = [answers.hours.lunch] if answers.hours and answers.hours.lunch else []
    is_new = bool(told) and (market.needs_breaks or told != known)
    lines = ", ".join(f'["{_clock(start)}", "{_clock(end)}"]' for start, end in told)
    proposed = f"[{lines}]" if is_new else None
    return SeenAttribute("breaks", assumed, "; ".join(parts), proposed)


def _find_known_breaks(market: MarketProfile, now: datetime) -> list[Span]:
    """Of the newest full day before ``now``."""
    known, zone = open_for_probe(market), market.zone
    full = select_regular_days(list_overlapping_sessions(known, now - timedelta(days=30), now))
    if not full:
        return list(market.breaks)
    segments = full[-1].segments
    return [
        (before[1].astimezone(zone).time(), after[0].astimezone(zone).time()) for before, after in pairwise(segments)
    ]


def find_empty_spans(answer: AnsweredRows, sessions: Sequence[Session]) -> list[Span]:
    """The local times within full days at which no session has a row with a price, half an hour and longer."""
    seconds, zone = INTERVALS[answer.interval].seconds, sessions[0].market.zone
    traded = answer.rows.timestamp[~np.isnan(answer.rows.close)]
    length = int(max((s.close - s.open).total_seconds() for s in sessions)) // seconds
    is_used = np.zeros(length, bool)
    for session in sessions:
        position = (traded - int(session.open.timestamp())) // seconds
        is_used[position[(position >= 0) & (position < length)]] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (~is_used).astype(int), [0]])))
    opens = sessions[-1].open
    clocks = [(opens + timedelta(seconds=at * seconds)).astimezone(zone).time() for at in range(length + 1)]
    return [
        (clocks[start], clocks[end])
        for start, end in edges.reshape(-1, 2).tolist()
        if end - start >= MIN_BREAK_ROWS and start > 0 and end < length
    ]


def _see_days(market: MarketProfile, hours: ExchangeHours, now: datetime) -> list[SeenAttribute]:
    """Days from now on of which the vendor has other hours than the calendar."""
    today = now.astimezone(market.zone).date()
    days = sorted(day for day in {*hours.holidays, *hours.early_closes} if day >= today)[:_MAX_DAYS]
    if not days:
        return []
    sessions = {session.day: session for session in list_sessions(open_for_probe(market), days[0], days[-1])}
    closed = ", ".join(str(day) for day in days if day not in hours.early_closes and day in sessions)
    early = ", ".join(
        f'{day} = "{_clock(hours.early_closes[day])}"'
        for day in days
        if day in hours.early_closes and day in sessions and _read_close(sessions[day]) != hours.early_closes[day]
    )
    same = "the vendor's coming days are the same"
    return [
        SeenAttribute(
            "closures",
            "days without a session are those of the calendar",
            f"the vendor has holidays on days with a session: {closed}" if closed else same,
            f"[{closed}]" if closed else None,
        ),
        SeenAttribute(
            "early_closes",
            "half days are those of the calendar",
            f"the vendor has others: {early}" if early else same,
            f"{{ {early} }}" if early else None,
        ),
    ]


def _read_close(session: Session) -> time:
    return session.close.astimezone(session.market.zone).time()


def _describe_hours(market: MarketProfile, hours: ExchangeHours, now: datetime) -> str:
    told = f"{_clock(hours.opens)} to {_clock(hours.closes)}" if hours.opens and hours.closes else "none"
    recent = list_overlapping_sessions(open_for_probe(market), now - timedelta(days=30), now)
    full = select_regular_days(recent)
    if not full:
        return f"hours of the vendor: {told} {hours.zone or ''}".strip()
    opens, closes = (moment.astimezone(market.zone).time() for moment in (full[-1].open, full[-1].regular_close))
    same = (opens, closes) == (hours.opens, hours.closes)
    return (
        f"hours of the vendor: {told}; the calendar {'agrees' if same else f'has {_clock(opens)} to {_clock(closes)}'}"
    )


def _describe_pauses(answer: AnsweredRows, sessions: Sequence[Session]) -> Iterable[str]:
    """Rows in breaks that the calendar or the profile knows."""
    paused = [
        (before[1].timestamp(), after[0].timestamp())
        for session in sessions
        for before, after in pairwise(session.segments)
    ]
    if paused:
        stamps = answer.rows.timestamp
        inside = sum(int(((stamps >= start) & (stamps < end)).sum()) for start, end in paused)
        yield f"{answer.symbol} {answer.interval}: {inside:,} rows in {len(paused)} breaks; they feed no bar"


def _describe_half_day(answer: AnsweredRows, session: Session) -> str:
    stamps, closes = answer.rows.timestamp, session.close.timestamp()
    after = stamps[(stamps >= closes) & (stamps < session.regular_close.timestamp())]
    newest = f", the last at {_clock_of(int(after.max()), session)}" if len(after) else ""
    return f"half day {session.day}: {len(after):,} rows from its close at {_clock_of(int(closes), session)} on{newest}"


def _clock_of(stamp: int, session: Session) -> str:
    return _clock(to_datetime(stamp).astimezone(session.market.zone).time())


def _format_spans(spans: Iterable[Span]) -> str:
    return ", ".join(f"{_clock(start)} to {_clock(end)}" for start, end in spans)


def _clock(moment: time) -> str:
    return f"{moment:%H:%M}"
