"""What heals and keeps in step by itself: gaps become runs, the universe becomes partitions."""

from collections.abc import Collection, Iterator, Sequence

import dagster as dg

from backfill_assets.backfill.due_work import Outlook, look_ahead
from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import Settings
from backfill_assets.eodhd.errors import TokenRefused
from backfill_assets.market.calendar.tickers import DEFAULT_EXCHANGE
from backfill_assets.market.calendar.windows import MOST_PARTITIONS
from backfill_assets.orchestration.active_runs import rectangles_in_flight
from backfill_assets.orchestration.assets import UNIVERSE, bars_key
from backfill_assets.orchestration.partition_ranges import Rectangle, covering, within
from backfill_assets.orchestration.partitions import SYMBOL, day_keys, sync_symbols
from backfill_assets.quality.session_counts import session_figures
from backfill_assets.store.symbols import list_symbols

TOO_MANY = 1.1  # times the number that is advised: a server gains a day with each session


def status_of(settings: Settings) -> dg.DefaultSensorStatus:
    """Whether sensors run by default."""
    return dg.DefaultSensorStatus.RUNNING if settings.auto else dg.DefaultSensorStatus.STOPPED


def gap_backfill_sensor(
    settings: Settings, interval: str, partitions: dg.MultiPartitionsDefinition
) -> dg.SensorDefinition:
    """Looks at every open session and asks for as few runs as heal it, over partitions that its server knows."""
    key = bars_key(interval)

    @dg.sensor(
        name="gap_backfill_sensor" if interval == "30m" else f"gap_backfill_sensor_{interval}",
        asset_selection=[key],
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=status_of(settings),
    )
    def gap_backfill(
        context: dg.SensorEvaluationContext, engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Start runs for gaps that are due, and for complete sessions that Dagster does not show yet."""
        try:
            outlook = look_ahead(engine, interval)
        except TokenRefused as error:
            yield dg.SkipReason(str(error))
            return
        order, days = context.instance.get_dynamic_partitions(SYMBOL), day_keys(partitions)
        wanted, reason = rectangles_due(outlook, order, days, engine.settings), outlook.reason
        if not wanted:
            wanted = rectangles_unrecorded(outlook, order, days, context.instance, key, engine.settings)
        if stale := to_be_reloaded(outlook, days):
            context.log.warning(stale)
        yield from requests(wanted, "; ".join(filter(None, (reason, stale))), order, context, key)

    return gap_backfill


def rectangles_due(
    outlook: Outlook, order: Sequence[str], known: Collection[str], settings: Settings
) -> list[Rectangle]:
    """Rectangles over the gaps that are to be asked for; symbols and days without a partition wait for theirs."""
    position = {ticker: at for at, ticker in enumerate(order)}
    spans = [
        (position[str(span.symbol.ticker)], span.first, span.last)
        for span in outlook.spans
        if str(span.symbol.ticker) in position
    ]
    days = _days(outlook)
    return covering(within(spans, [day in known for day in days]), order, days, settings.partitions_per_run)


def rectangles_unrecorded(
    outlook: Outlook,
    order: Sequence[str],
    known: Collection[str],
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    settings: Settings,
) -> list[Rectangle]:
    """Rectangles over settled partitions that are not green: filled by the command line or somebody else."""
    position = {ticker: at for at, ticker in enumerate(order)}
    days = _days(outlook)
    settled = (session_figures(outlook.coverage).unsettled == 0) & [day in known for day in days]
    green = instance.get_materialized_partitions(key)
    spans = []
    for row, symbol in enumerate(outlook.coverage.symbols):
        ticker = str(symbol.ticker)
        lacking = [at for at in settled[row].nonzero()[0].tolist() if f"{days[at]}|{ticker}" not in green]
        if lacking and ticker in position:
            spans.append((position[ticker], lacking[0], lacking[-1]))
    return covering(spans, order, days, settings.partitions_per_run)


def to_be_reloaded(outlook: Outlook, known: Collection[str]) -> str:
    """Why the definitions should be loaded again, if they should: their days are those of when they were."""
    beyond = [day for day in _days(outlook) if day not in known]
    if beyond:
        return (
            f"{len(beyond)} sessions ({beyond[0]} to {beyond[-1]}) are no partitions until the definitions are reloaded"
        )
    held = len(known) * len(outlook.coverage.symbols)
    if held > MOST_PARTITIONS * TOO_MANY:
        return f"{held:,} partitions, more than {MOST_PARTITIONS:,}: reload the definitions to drop the oldest days"
    return ""


def _days(outlook: Outlook) -> list[str]:
    return [session.day.isoformat() for session in outlook.coverage.grid.sessions]


def requests(
    wanted: list[Rectangle], reason: str, order: Sequence[str], context: dg.SensorEvaluationContext, key: dg.AssetKey
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run a rectangle, but never one that overlaps a run in flight."""
    position = {ticker: at for at, ticker in enumerate(order)}
    busy = rectangles_in_flight(context.instance, key)
    free = [w for w in wanted if not any(w.overlaps(b, position) for b in busy)]
    attempt = int(context.cursor or 0) + 1
    for rectangle in free:
        yield dg.RunRequest(run_key=f"{rectangle} #{attempt}", asset_selection=[key], tags=rectangle.tags)
    if free:
        context.update_cursor(str(attempt))
    elif wanted:
        yield dg.SkipReason(f"a run is at work on {', '.join(map(str, busy[:3]))}")
    else:
        yield dg.SkipReason(reason or "the symbols with gaps have no partitions yet")


def symbol_partitions_sensor(settings: Settings) -> dg.SensorDefinition:
    """Keeps the symbol partitions those of the active symbols."""

    @dg.sensor(
        name="symbol_partitions_sensor",
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=status_of(settings),
    )
    def symbol_partitions(context: dg.SensorEvaluationContext, engine: dg.ResourceParam[Engine]) -> dg.SensorResult:
        """Add and remove partitions; starts no run, but shows the universe as materialised when it changed."""
        with engine.database.transaction() as connection:
            active = [str(s.ticker) for s in list_symbols(connection, DEFAULT_EXCHANGE)]
        added, removed = sync_symbols(context.instance, active)
        figures = {"active": len(active), "partitions added": added, "partitions removed": removed}
        shown = [dg.AssetMaterialization(UNIVERSE, metadata=figures)] if added or removed else []
        told = f"{len(active)} symbols: {added} partitions added, {removed} removed"
        return dg.SensorResult(skip_reason=told, asset_events=shown)

    return symbol_partitions
