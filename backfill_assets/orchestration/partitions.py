"""The partitions: active symbols × sessions. Which of them one run covers is in ``partition_ranges``."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta

import dagster as dg

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE, TIME_ZONE
from backfill_assets.market.calendar.sessions import list_sessions
from backfill_assets.market.calendar.windows import build_session_window, limit_partition_sessions

SYMBOL_DIMENSION, DAY_DIMENSION = "symbol", "day"
SYMBOL_PARTITIONS = dg.DynamicPartitionsDefinition(name=SYMBOL_DIMENSION)
WEEKEND_CRONS = ("0 0 * * 6", "0 0 * * 0")
HOLIDAY_HORIZON = timedelta(days=400)  # a code server that runs longer must be reloaded to exclude later holidays


def build_bars_partitions(settings: Settings, first: date) -> dg.MultiPartitionsDefinition:
    """Symbol × day: dynamic keys such as ``AAPL.US``, and the sessions from ``first`` on as ISO dates."""
    return dg.MultiPartitionsDefinition(
        {SYMBOL_DIMENSION: SYMBOL_PARTITIONS, DAY_DIMENSION: build_day_partitions(settings, first)}
    )


def compute_first_day(settings: Settings, symbols: int) -> date:
    """The oldest session that is a partition now, for a universe of ``symbols`` symbols."""
    session_count = limit_partition_sessions(settings.partition_days, symbols)
    return (
        build_session_window(DEFAULT_EXCHANGE, settings.now(), session_count, settings.load_calendar_overrides())
        .sessions[0]
        .day
    )


def build_day_partitions(settings: Settings, first: date) -> dg.DailyPartitionsDefinition:
    """The sessions from ``first`` on, without weekends and holidays; today is a partition from midnight on.

    With BACKFILL_AS_OF they end with that moment's newest session, else a day is added with each session.
    """
    now, exceptions = settings.now(), settings.load_calendar_overrides()
    last = build_session_window(DEFAULT_EXCHANGE, now, 1, exceptions).sessions[-1].day
    today = datetime.now(TIME_ZONE).date()
    end = last + timedelta(days=1) if settings.as_of else None
    return dg.DailyPartitionsDefinition(
        start_date=first.isoformat(),
        end_date=end.isoformat() if end else None,
        end_offset=max(0, (end - today).days + 1) if end else 1,
        timezone=str(TIME_ZONE),
        exclusions=[*WEEKEND_CRONS, *_list_holidays(first, max(last, today) + HOLIDAY_HORIZON, exceptions.closures)],
    )


def list_day_keys(partitions: dg.MultiPartitionsDefinition) -> frozenset[str]:
    """The keys of the days that are partitions now."""
    return frozenset(partitions.get_partitions_def_for_dimension(DAY_DIMENSION).get_partition_keys())


def _list_holidays(first: date, last: date, closures: frozenset[date]) -> list[datetime]:
    session_days = {session.day for session in list_sessions(DEFAULT_EXCHANGE, first, last)} - closures
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return [
        datetime(d.year, d.month, d.day, tzinfo=TIME_ZONE) for d in days if d.weekday() < 5 and d not in session_days
    ]


def sync_symbol_partitions(instance: dg.DagsterInstance, tickers: Iterable[str]) -> tuple[int, int]:
    """Add and delete symbol partitions so that they match ``tickers``; returns the numbers added and deleted."""
    wanted = list(dict.fromkeys(tickers))
    existing = set(instance.get_dynamic_partitions(SYMBOL_DIMENSION))
    added = [ticker for ticker in wanted if ticker not in existing]
    if added:
        instance.add_dynamic_partitions(SYMBOL_DIMENSION, added)
    removed = existing - set(wanted)
    for ticker in removed:
        instance.delete_dynamic_partition(SYMBOL_DIMENSION, ticker)
    return len(added), len(removed)
