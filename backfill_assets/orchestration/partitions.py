"""The partitions of an exchange: its active symbols × its sessions. Which one run covers is in ``partition_ranges``."""

from collections.abc import Iterable
from datetime import date

import dagster as dg

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.windows import limit_partition_sessions, list_newest_known_sessions
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE
from backfill_assets.orchestration.exchange_names import DAY_DIMENSION, SYMBOL_DIMENSION, build_symbol_dimension
from backfill_assets.reading.dagster import build_session_days


def build_bars_partitions(settings: Settings, exchange: str, first: date) -> dg.MultiPartitionsDefinition:
    """Symbol × day: dynamic keys such as ``AAPL.US``, and the exchange's sessions from ``first`` on as ISO dates."""
    dimension = build_symbol_dimension(exchange)
    return dg.MultiPartitionsDefinition(
        {
            dimension: dg.DynamicPartitionsDefinition(name=dimension),
            DAY_DIMENSION: build_day_partitions(settings, exchange, first),
        }
    )


def compute_first_day(settings: Settings, market: MarketProfile, symbols: int) -> date:
    """The oldest session that is a partition now, for an exchange with ``symbols`` symbols."""
    session_count = limit_partition_sessions(settings.partition_days, symbols)
    return list_newest_known_sessions(market, settings.now(), session_count)[0].day


def build_day_partitions(settings: Settings, exchange: str, first: date) -> dg.DailyPartitionsDefinition:
    """The sessions from ``first`` on, without weekends and holidays; today is a partition from midnight on.

    With BACKFILL_AS_OF they end with that moment's newest session, else a day is added with each session.
    """
    return build_session_days(settings, exchange, first)


def list_day_keys(partitions: dg.MultiPartitionsDefinition) -> frozenset[str]:
    """The keys of the days that are partitions now."""
    return frozenset(partitions.get_partitions_def_for_dimension(DAY_DIMENSION).get_partition_keys())


def sync_symbol_partitions(
    instance: dg.DagsterInstance, tickers: Iterable[str], exchange: str = DEFAULT_EXCHANGE
) -> tuple[int, int]:
    """Add and delete an exchange's symbol partitions so that they match ``tickers``; returns how many of each."""
    dimension = build_symbol_dimension(exchange)
    wanted = list(dict.fromkeys(tickers))
    existing = set(instance.get_dynamic_partitions(dimension))
    added = [ticker for ticker in wanted if ticker not in existing]
    if added:
        instance.add_dynamic_partitions(dimension, added)
    removed = existing - set(wanted)
    for ticker in removed:
        instance.delete_dynamic_partition(dimension, ticker)
    return len(added), len(removed)


__all__ = [
    "DAY_DIMENSION",
    "SYMBOL_DIMENSION",
    "build_bars_partitions",
    "build_day_partitions",
    "compute_first_day",
    "list_day_keys",
    "sync_symbol_partitions",
]
