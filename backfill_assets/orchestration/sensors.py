"""The sensors that start runs for gaps of partitions, one for each exchange and interval.

Gaps of sessions and symbols that are no partitions are found in ``healing_sensor``; the sensors that look at all
exchanges are in ``shared_sensors``.
"""

from collections.abc import Collection, Iterator, Sequence

import dagster as dg

from backfill_assets.backfill.due_work import DueWork, find_due_work
from backfill_assets.backfill.engine import Engine
from backfill_assets.config.counts import format_count
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.market.calendar.windows import MAX_PARTITIONS
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.vendor_errors import TokenRefused
from backfill_assets.orchestration.exchange_names import (
    add_exchange,
    build_bars_key,
    build_symbol_dimension,
    describe_market,
)
from backfill_assets.orchestration.heal_ranges import find_active_heals
from backfill_assets.orchestration.partition_ranges import (
    PartitionRange,
    clip_to_known_days,
    cover_spans,
    find_active_ranges,
    list_unfinished_runs,
)
from backfill_assets.orchestration.partitions import list_day_keys
from backfill_assets.quality.session_counts import count_by_session
from backfill_assets.store.sensor_looks import record_look

# Dagster repeats a run whose worker is lost within seconds; else it waits for the sensor's next tick. Only runs of the
# sensor: they request what is missing by then, while one that a person forces would pay for all of it again.
_RETRIED_ONCE = {"dagster/max_retries": "1"}
PARTITION_EXCESS_FACTOR = 1.1  # of MAX_PARTITIONS: a code server gains a day with each session


def get_default_sensor_status(settings: Settings) -> dg.DefaultSensorStatus:
    """RUNNING unless BACKFILL_AUTO is off."""
    return dg.DefaultSensorStatus.RUNNING if settings.auto else dg.DefaultSensorStatus.STOPPED


def build_gap_backfill_sensor(
    settings: Settings, market: MarketProfile, interval: str, partitions: dg.MultiPartitionsDefinition
) -> dg.SensorDefinition:
    """The sensor of an exchange's bars: requests the fewest runs that fill all due gaps.

    Each exchange has one, with a cursor and a switch of its own. It requests partitions that its code server knows.
    """
    exchange = market.exchange
    key, dimension = build_bars_key(interval, exchange), build_symbol_dimension(exchange)
    name = "gap_backfill_sensor" if interval == DEFAULT_INTERVAL else f"gap_backfill_sensor_{interval}"

    @dg.sensor(
        name=add_exchange(name, exchange),
        description=f"Starts the fewest runs that fill all gaps that are due.{describe_market(market)}",
        asset_selection=[key],
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=get_default_sensor_status(settings),
    )
    def gap_backfill(
        context: dg.SensorEvaluationContext, backfill_engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Request runs for due gaps, else for complete partitions that Dagster does not show as materialized."""
        try:
            due_work = find_due_work(backfill_engine, backfill_engine.settings.get_market(exchange), interval)
        except TokenRefused as error:
            yield dg.SkipReason(str(error))
            return
        record_look(backfill_engine.database, exchange, interval, due_work.coverage)
        order, days = context.instance.get_dynamic_partitions(dimension), list_day_keys(partitions)
        ranges, reason = find_due_ranges(due_work, order, days, backfill_engine.settings), due_work.reason
        if not ranges:
            ranges = find_unrecorded_ranges(due_work, order, days, context.instance, key, backfill_engine.settings)
        if reload_warning := build_reload_warning(due_work, days):
            context.log.warning(reload_warning)
        yield from build_run_requests(ranges, "; ".join(filter(None, (reason, reload_warning))), order, context, key)

    return gap_backfill


def find_due_ranges(
    due_work: DueWork, order: Sequence[str], known_days: Collection[str], settings: Settings
) -> list[PartitionRange]:
    """Partition ranges over the due gaps; symbols and days that are no partitions yet are left out."""
    position = {ticker: index for index, ticker in enumerate(order)}
    spans = [
        (position[str(span.symbol.ticker)], span.first_session, span.last_session)
        for span in due_work.ranges
        if str(span.symbol.ticker) in position
    ]
    days = _list_days(due_work)
    return cover_spans(
        clip_to_known_days(spans, [day in known_days for day in days]), order, days, settings.partitions_per_run
    )


def find_unrecorded_ranges(
    due_work: DueWork,
    order: Sequence[str],
    known_days: Collection[str],
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    settings: Settings,
) -> list[PartitionRange]:
    """Ranges over settled partitions that are not green: filled by the command line or by an external writer."""
    position = {ticker: index for index, ticker in enumerate(order)}
    days = _list_days(due_work)
    if not days:  # before the vendor's first data of the exchange
        return []
    is_settled = count_by_session(due_work.coverage).is_complete & [day in known_days for day in days]
    recorded = instance.get_materialized_partitions(key)
    spans = []
    for row, symbol in enumerate(due_work.coverage.symbols):
        ticker = str(symbol.ticker)
        unrecorded = [day for day in is_settled[row].nonzero()[0].tolist() if f"{days[day]}|{ticker}" not in recorded]
        if unrecorded and ticker in position:
            spans.append((position[ticker], unrecorded[0], unrecorded[-1]))
    return cover_spans(spans, order, days, settings.partitions_per_run)


def build_reload_warning(due_work: DueWork, known_days: Collection[str]) -> str:
    """Why the definitions should be reloaded; empty if not needed. Their days are fixed when they are loaded."""
    unknown_days = [day for day in _list_days(due_work) if day not in known_days]
    if unknown_days:
        return (
            f"{format_count(len(unknown_days), 'session')} ({unknown_days[0]} to {unknown_days[-1]})"
            f" {'is no partition' if len(unknown_days) == 1 else 'are not partitions'} until the"
            " definitions are reloaded"
        )
    partition_count = len(known_days) * len(due_work.coverage.symbols)
    if partition_count > MAX_PARTITIONS * PARTITION_EXCESS_FACTOR:
        return (
            f"{partition_count:,} partitions, more than {MAX_PARTITIONS:,}: reload the definitions to drop the oldest"
            " days"
        )
    return ""


def _list_days(due_work: DueWork) -> list[str]:
    return [session.day.isoformat() for session in due_work.coverage.grid.sessions]


def build_run_requests(
    ranges: list[PartitionRange],
    reason: str,
    order: Sequence[str],
    context: dg.SensorEvaluationContext,
    key: dg.AssetKey,
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run request for each range that does not overlap an unfinished run."""
    position = {ticker: index for index, ticker in enumerate(order)}
    runs = list_unfinished_runs(context.instance)
    active_ranges, active_heals = find_active_ranges(runs, key), find_active_heals(runs, key)
    startable = [
        r
        for r in ranges
        if not any(r.overlaps(active, position) for active in active_ranges)
        and not any(heal.overlaps_partitions(r, order) for heal in active_heals)
    ]
    attempt = int(context.cursor or 0) + 1
    retries = _RETRIED_ONCE if _retries_only_tagged_runs(context.instance) else {}
    for partition_range in startable:
        tags = {**partition_range.tags, **retries}
        yield dg.RunRequest(run_key=f"{partition_range} #{attempt}", asset_selection=[key], tags=tags)
    if startable:
        context.update_cursor(str(attempt))
    elif ranges:
        yield dg.SkipReason(f"an unfinished run covers {', '.join(map(str, [*active_ranges, *active_heals][:3]))}")
    else:
        yield dg.SkipReason(reason or "the symbols with gaps are not partitions yet")


def _retries_only_tagged_runs(instance: dg.DagsterInstance) -> bool:
    return instance.run_retries_enabled and instance.run_retries_max_retries == 0
