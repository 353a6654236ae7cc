"""What the partitions are: active symbols × sessions. How many of them a run takes is in ``rectangles``."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.sessions import sessions_between
from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE
from backfill_assets.market.calendar.windows import sessions_kept, window_of_sessions

SYMBOL, DAY = "symbol", "day"
SYMBOLS = dg.DynamicPartitionsDefinition(name=SYMBOL)
ZONE = ZoneInfo("America/New_York")
WEEKENDS = ("0 0 * * 6", "0 0 * * 0")
AHEAD = timedelta(days=400)  # a process that runs longer must be reloaded to know of later holidays


def bars_partitions(settings: Settings, first: date) -> dg.MultiPartitionsDefinition:
    """Symbol × day: dynamic keys ``AAPL.US``, sessions from ``first`` on as ISO dates."""
    return dg.MultiPartitionsDefinition({SYMBOL: SYMBOLS, DAY: day_partitions(settings, first)})


def first_day_for(settings: Settings, symbols: int) -> date:
    """The oldest of the sessions that are kept now for a universe of so many symbols."""
    kept = sessions_kept(settings.partition_days, symbols)
    return window_of_sessions(DEFAULT_EXCHANGE, settings.now(), kept, settings.calendar_exceptions()).sessions[0].day


def day_partitions(settings: Settings, first: date) -> dg.DailyPartitionsDefinition:
    """The sessions from ``first`` on; weekends and holidays are no partitions, today is one from midnight on.

    With a fixed clock they end with its newest session, else they grow by themselves.
    """
    now, exceptions = settings.now(), settings.calendar_exceptions()
    last = window_of_sessions(DEFAULT_EXCHANGE, now, 1, exceptions).sessions[-1].day
    today = datetime.now(ZONE).date()
    end = last + timedelta(days=1) if settings.as_of else None
    return dg.DailyPartitionsDefinition(
        start_date=first.isoformat(),
        end_date=end.isoformat() if end else None,
        end_offset=max(0, (end - today).days + 1) if end else 1,
        timezone=str(ZONE),
        exclusions=[*WEEKENDS, *_holidays(first, max(last, today) + AHEAD, exceptions.closures)],
    )


def day_keys(partitions: dg.MultiPartitionsDefinition) -> frozenset[str]:
    """The days that are partitions now."""
    return frozenset(partitions.get_partitions_def_for_dimension(DAY).get_partition_keys())


def _holidays(first: date, last: date, closures: frozenset[date]) -> list[datetime]:
    held = {session.day for session in sessions_between(DEFAULT_EXCHANGE, first, last)} - closures
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return [datetime(d.year, d.month, d.day, tzinfo=ZONE) for d in days if d.weekday() < 5 and d not in held]


def sync_symbols(instance: dg.DagsterInstance, tickers: Iterable[str]) -> tuple[int, int]:
    """Make the symbol partitions those of ``tickers``; returns how many were added and removed."""
    wanted = list(dict.fromkeys(tickers))
    held = set(instance.get_dynamic_partitions(SYMBOL))
    added = [ticker for ticker in wanted if ticker not in held]
    if added:
        instance.add_dynamic_partitions(SYMBOL, added)
    removed = held - set(wanted)
    for ticker in removed:
        instance.delete_dynamic_partition(SYMBOL, ticker)
    return len(added), len(removed)
