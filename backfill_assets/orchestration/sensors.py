"""The sensors that start runs for gaps and that keep the symbol partitions equal to the universe."""

from collections.abc import Collection, Iterator, Sequence

import dagster as dg

from backfill_assets.backfill.daily_reading import find_due_reading
from backfill_assets.backfill.due_work import DueWork, find_due_work
from backfill_assets.backfill.engine import Engine
from backfill_assets.config.counts import format_count
from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.exchanges import DEFAULT_EXCHANGE
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL
from backfill_assets.market.calendar.windows import MAX_PARTITIONS
from backfill_assets.market.vendor_errors import TokenRefused
from backfill_assets.orchestration.assets import UNIVERSE_KEY, build_bars_key
from backfill_assets.orchestration.catalog import ROW_COUNT
from backfill_assets.orchestration.partition_ranges import (
    PartitionRange,
    clip_to_known_days,
    cover_spans,
    find_active_ranges,
)
from backfill_assets.orchestration.partitions import (
    SYMBOL_DIMENSION,
    compute_first_day,
    list_day_keys,
    sync_symbol_partitions,
)
from backfill_assets.quality.session_counts import count_by_session
from backfill_assets.store.job_universe import read_job_universe
from backfill_assets.store.relations import count_universe_rows

PARTITION_EXCESS_FACTOR = 1.1  # of MAX_PARTITIONS: a code server gains a day with each session


def get_default_sensor_status(settings: Settings) -> dg.DefaultSensorStatus:
    """RUNNING unless BACKFILL_AUTO is off."""
    return dg.DefaultSensorStatus.RUNNING if settings.auto else dg.DefaultSensorStatus.STOPPED


def build_gap_backfill_sensor(
    settings: Settings, interval: str, partitions: dg.MultiPartitionsDefinition
) -> dg.SensorDefinition:
    """The sensor that requests the fewest runs that fill all due gaps, over partitions that its code server knows."""
    key = build_bars_key(interval)

    @dg.sensor(
        name="gap_backfill_sensor" if interval == DEFAULT_INTERVAL else f"gap_backfill_sensor_{interval}",
        description="Starts the fewest runs that fill all gaps that are due.",
        asset_selection=[key],
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=get_default_sensor_status(settings),
    )
    def gap_backfill(
        context: dg.SensorEvaluationContext, backfill_engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Request runs for due gaps, else for complete partitions that Dagster does not show as materialized."""
        try:
            due_work = find_due_work(backfill_engine, interval)
        except TokenRefused as error:
            yield dg.SkipReason(str(error))
            return
        order, days = context.instance.get_dynamic_partitions(SYMBOL_DIMENSION), list_day_keys(partitions)
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
    active_ranges = find_active_ranges(context.instance, key)
    startable = [r for r in ranges if not any(r.overlaps(active, position) for active in active_ranges)]
    attempt = int(context.cursor or 0) + 1
    for partition_range in startable:
        yield dg.RunRequest(run_key=f"{partition_range} #{attempt}", asset_selection=[key], tags=partition_range.tags)
    if startable:
        context.update_cursor(str(attempt))
    elif ranges:
        yield dg.SkipReason(f"an unfinished run covers {', '.join(map(str, active_ranges[:3]))}")
    else:
        yield dg.SkipReason(reason or "the symbols with gaps are not partitions yet")


def build_daily_data_sensor(settings: Settings, job: dg.JobDefinition) -> dg.SensorDefinition:
    """The sensor that has daily data read when they are due and no other run has read them, as without gaps."""

    @dg.sensor(
        name="daily_data_sensor",
        description="Has the daily data of settled sessions read, if no other run has read them.",
        job_name=job.name,
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=get_default_sensor_status(settings),
    )
    def daily_data(backfill_engine: dg.ResourceParam[Engine]) -> dg.RunRequest | dg.SkipReason:
        """Request a run, and an hour later another one if daily data are still due."""
        try:
            due = find_due_reading(backfill_engine)
        except TokenRefused as error:
            return dg.SkipReason(str(error))
        if not due:
            return dg.SkipReason("the daily data of every settled session are read, or wait for the next morning")
        # It is due no longer once it was requested: a pause or a spent budget has stopped the run of the hour before.
        return dg.RunRequest(run_key=f"{due.settled[-1].day} at {backfill_engine.settings.now():%Y-%m-%d %H} h UTC")

    return daily_data


def build_symbol_partitions_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor that keeps the symbol partitions equal to the symbols of the retained sessions.

    Those are the active ones. A ticker that has ended keeps its partition, with its history, until its last session is
    no partition any more.
    """

    @dg.sensor(
        name="symbol_partitions_sensor",
        description="Keeps the symbol partitions equal to the universe; starts no run.",
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=get_default_sensor_status(settings),
    )
    def symbol_partitions(
        context: dg.SensorEvaluationContext, backfill_engine: dg.ResourceParam[Engine]
    ) -> dg.SensorResult:
        """Add and delete partitions; starts no run, but records a materialization of the universe if it changed."""
        with backfill_engine.database.transaction() as connection:
            universe = read_job_universe(connection, DEFAULT_EXCHANGE, backfill_engine.settings.as_of)
            row_count = count_universe_rows(connection)
        active = [str(s.ticker) for s in universe.active]
        listed = universe.list_since(compute_first_day(backfill_engine.settings, len(active)))
        added, removed = sync_symbol_partitions(context.instance, [str(s.ticker) for s in listed])
        figures = {
            "active": len(active),
            "partitions added": added,
            "partitions removed": removed,
            ROW_COUNT: row_count,
        }
        events = [dg.AssetMaterialization(UNIVERSE_KEY, metadata=figures)] if added or removed else []
        message = f"{format_count(len(active), 'symbol')}: {format_count(added, 'partition')} added, {removed} removed"
        return dg.SensorResult(skip_reason=message, asset_events=events)

    return symbol_partitions
