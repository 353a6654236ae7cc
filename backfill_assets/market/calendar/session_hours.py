"""The hours of each session of a year: those of the calendar's table, with a profile's breaks and corrections.

Pure arithmetic with days and times; ``sessions`` makes sessions of it.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.calendar_tables import NO_BREAK, CalendarTable
from backfill_assets.market.exchanges.profile import MarketProfile

Hours = tuple[datetime, datetime]  # from and until, UTC
ROW_MINUTES = 5  # of the vendor's longest rows that bars are built from; they lie on the clock's grid
_DAY = timedelta(days=1)


def list_hours(market: MarketProfile, table: CalendarTable) -> list[tuple[date, tuple[Hours, ...], datetime]]:
    """Day, segments and regular close of each session of a year, oldest first.

    Raises:
        UsageError: an extra session of the user overlaps another session, or its hours are none on that day; breaks of
            the user leave nothing of a session.
    """
    overrides = market.overrides
    sessions = []
    for day, hours, regular_close, breaks in _iterate_table(table):
        if day in overrides.closures:
            continue
        if day.weekday() in market.weekday_hours:
            hours, regular_close, breaks = _apply_weekday(market, day, hours, regular_close)
        hours = _correct_hours(market, day, hours)
        segments = _cut_breaks(market, day, hours, breaks)
        if not segments:
            raise UsageError(
                f"breaks of {market.exchange} in BACKFILL_MARKETS_FILE leave nothing of the session of {day}; give the"
                " breaks within a session, and days without one as closures"
            )
        sessions.append((day, segments, max(regular_close, hours[1])))
    known = {*table.days, *overrides.closures}
    for day, (opens, closes) in overrides.extra_sessions.items():
        if day.year == table.year and day not in known:
            hours = _correct_hours(market, day, _place_hours(market, day, opens, closes))
            breaks = _list_weekday_breaks(market, day)
            segments = _cut_breaks(market, day, hours, breaks) or (hours,)  # a session at noon has no break
            sessions.append((day, segments, _find_regular_close(market, table, day, hours)))
    sessions.sort()
    if overrides.extra_sessions:
        refuse_overlaps(market, sessions)
    return sessions


def refuse_overlaps(market: MarketProfile, sessions: Sequence[tuple[date, tuple[Hours, ...], datetime]]) -> None:
    """Raise a UsageError if one of the sessions, oldest first, opens before the one before it closes.

    What counts is the row of the vendor in which it opens: the first slot begins with it.
    """
    for (day, segments, _), (next_day, next_segments, _) in pairwise(sessions):
        opened = next_segments[0][0]
        if opened.replace(minute=opened.minute // ROW_MINUTES * ROW_MINUTES, second=0) < segments[-1][1]:
            opens, closes = opened.astimezone(market.zone), segments[-1][1].astimezone(market.zone)
            raise UsageError(
                f"extra_sessions of {market.exchange} cannot be used: the session of {next_day} opens on"
                f" {opens:%Y-%m-%d %H:%M}, before that of {day} closes, {closes:%Y-%m-%d %H:%M}, or in the same"
                f" {ROW_MINUTES} minutes; an open that is not before its close is on the evening before"
                " (docs/markets.md)"
            )


def _iterate_table(table: CalendarTable) -> Iterator[tuple[date, Hours, datetime, list[Hours]]]:
    columns = (table.days, table.opens, table.closes, table.regular_closes, table.break_starts, table.break_ends)
    for day, opens, closes, regular_close, start, end in zip(*columns, strict=True):
        breaks = [] if start == NO_BREAK else [(_to_utc(start), _to_utc(end))]
        yield day, (_to_utc(opens), _to_utc(closes)), _to_utc(regular_close), breaks


def _to_utc(epoch_seconds: int) -> datetime:
    return datetime.fromtimestamp(epoch_seconds, UTC)


def _localize(market: MarketProfile, day: date, at: time) -> datetime:
    return datetime.combine(day, at.replace(microsecond=0), market.zone).astimezone(UTC)


def _correct_hours(market: MarketProfile, day: date, hours: Hours) -> Hours:
    """The hours with the profile's corrections of that day; a time outside the session changes nothing."""
    overrides = market.overrides
    if day in overrides.extra_sessions:
        hours = _place_hours(market, day, *overrides.extra_sessions[day])
    late_open, early_close = overrides.late_opens.get(day), overrides.early_closes.get(day)
    if late_open and (moment := _find_within(market, day, hours, late_open)):
        hours = moment, hours[1]
    if early_close and (moment := _find_within(market, day, hours, early_close)):
        hours = hours[0], moment
    return hours


def _apply_weekday(
    market: MarketProfile, day: date, hours: Hours, regular_close: datetime
) -> tuple[Hours, datetime, list[Hours]]:
    """Hours, regular close and breaks of a day whose weekday has hours of its own; an early close stays one."""
    parts = market.weekday_hours[day.weekday()]
    opens, closes = _localize(market, day, parts[0][0]), _localize(market, day, parts[-1][1])
    close = min(hours[1], closes) if hours[1] < regular_close else closes
    return (opens, max(close, opens + timedelta(minutes=ROW_MINUTES))), closes, _list_weekday_breaks(market, day)


def _list_weekday_breaks(market: MarketProfile, day: date) -> list[Hours]:
    parts = market.weekday_hours.get(day.weekday(), ())
    return [
        (_localize(market, day, closed), _localize(market, day, opened)) for (_, closed), (opened, _) in pairwise(parts)
    ]


def _place_hours(market: MarketProfile, day: date, opens: time, closes: time) -> Hours:
    """Hours of a day; an open that is not before the close is on the evening before."""
    hours = _localize(market, day if opens < closes else day - _DAY, opens), _localize(market, day, closes)
    if hours[0] >= hours[1]:
        raise UsageError(
            f"extra_sessions of {market.exchange} cannot be used: on {day} the clock of {market.zone} does not go from"
            f" {opens:%H:%M:%S} to {closes:%H:%M:%S}, because it is put forward in between, or they are the same"
            " second; write other hours (docs/markets.md)"
        )
    return hours


def _find_within(market: MarketProfile, day: date, hours: Hours, at: time) -> datetime | None:
    """The moment within a session when its zone's clock shows ``at``; the session may open on the evening before."""
    moments = (_localize(market, day + days * _DAY, at) for days in (0, -1))
    return next((moment for moment in moments if hours[0] < moment < hours[1]), None)


def _find_regular_close(market: MarketProfile, table: CalendarTable, day: date, hours: Hours) -> datetime:
    """The regular close of a day that the calendar does not have: that of the session before it, or after it."""
    if not table.days:
        return hours[1]
    position = max(0, bisect_left(table.days, day) - 1)
    close = _to_utc(table.regular_closes[position]).astimezone(market.zone)
    shifted = day + (close.date() - table.days[position])
    return max(hours[1], _localize(market, shifted, close.timetz().replace(tzinfo=None)))


def _cut_breaks(market: MarketProfile, day: date, hours: Hours, breaks: list[Hours]) -> tuple[Hours, ...]:
    """The segments of a session: without the calendar's breaks and those of the profile, which may leave none."""
    of_every_day = () if day.weekday() in market.weekday_hours else market.breaks
    of_profile = [(_localize(market, day, start), _localize(market, day, end)) for start, end in of_every_day]
    segments: tuple[Hours, ...] = (hours,)
    for start, end in (*breaks, *of_profile):
        if start >= end:  # the clock is put forward in between
            continue
        segments = tuple(part for segment in segments for part in _cut(segment, start, end))
    return segments


def _cut(segment: Hours, start: datetime, end: datetime) -> Iterator[Hours]:
    """What a break leaves of a segment."""
    if segment[0] < min(start, segment[1]):
        yield segment[0], min(start, segment[1])
    if max(end, segment[0]) < segment[1]:
        yield max(end, segment[0]), segment[1]
