"""The partitions: active symbols × sessions. Which of them one run covers is in ``partition_ranges``."""

from collections.abc import Iterable
from datetime import date

import dagster as dg

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE
from backfill_assets.market.calendar.windows import build_session_window, limit_partition_sessions
from backfill_assets.reading.dagster import build_session_days

SYMBOL_DIMENSION, DAY_DIMENSION = "symbol", "day"
SYMBOL_PARTITIONS = dg.DynamicPartitionsDefinition(name=SYMBOL_DIMENSION)


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
    return build_session_days(settings, DEFAULT_EXCHANGE, first)


def list_day_keys(partitions: dg.MultiPartitionsDefinition) -> frozenset[str]:
    """The keys of the days that are partitions now."""
    return frozenset(partitions.get_partitions_def_for_dimension(DAY_DIMENSION).get_partition_keys())


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
