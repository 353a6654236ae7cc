"""The sensors that look at all exchanges in one tick: daily data that are due, and the symbol partitions."""

from collections.abc import Mapping
from datetime import date

import dagster as dg

from backfill_assets.backfill.daily_reading import find_due_reading
from backfill_assets.backfill.engine import Engine
from backfill_assets.config.counts import format_count
from backfill_assets.config.settings import Settings
from backfill_assets.market.exchanges.labels import format_exchange_day
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.vendor_errors import TokenRefused
from backfill_assets.orchestration.catalog import ROW_COUNT
from backfill_assets.orchestration.definitions_renewal import DefinitionsRenewal
from backfill_assets.orchestration.exchange_loop import Attempts
from backfill_assets.orchestration.partitions import compute_first_day, sync_symbol_partitions
from backfill_assets.orchestration.sensors import get_default_sensor_status
from backfill_assets.orchestration.universe_asset import UNIVERSE_KEY, build_universe_metadata
from backfill_assets.store.job_universe import read_job_universe
from backfill_assets.store.relations import count_universe_rows


def build_daily_data_sensor(settings: Settings, job: dg.JobDefinition) -> dg.SensorDefinition:
    """The sensor that has daily data read when they are due and no other run has read them, as without gaps."""

    @dg.sensor(
        name="daily_data_sensor",
        description="Has the daily data of settled sessions read, if no other run has read them.",
        job_name=job.name,
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=get_default_sensor_status(settings),
    )
    def daily_data(
        context: dg.SensorEvaluationContext, backfill_engine: dg.ResourceParam[Engine]
    ) -> dg.RunRequest | dg.SkipReason:
        """Request a run for all exchanges, and an hour later another one if daily data are still due."""
        markets = backfill_engine.settings.markets
        attempts = Attempts(markets, context.log)
        try:
            tried = [
                attempts.attempt(market, lambda market: find_due_reading(backfill_engine, market)) for market in markets
            ]
        except TokenRefused as error:
            return dg.SkipReason(str(error))
        due = [reading for reading in tried if reading]
        if not due:
            attempts.raise_failures()
            return dg.SkipReason("the daily data of every settled session are read, or wait for the next morning")
        # It is due no longer once it was requested: a pause or a spent budget has stopped the run of the hour before.
        sessions = ", ".join(format_exchange_day(one.settled[-1].exchange, one.settled[-1].day) for one in due)
        return dg.RunRequest(run_key=f"{sessions} at {backfill_engine.settings.now():%Y-%m-%d %H} h UTC")

    return daily_data


def build_symbol_partitions_sensor(settings: Settings, renewal: DefinitionsRenewal) -> dg.SensorDefinition:
    """The sensor that keeps the symbol partitions equal to the symbols of the retained sessions, of each exchange.

    Those are the active ones. A ticker that has ended keeps its partition, with its history, until its last session is
    no partition any more. Then it renews the definitions if their days are outdated.
    """

    @dg.sensor(
        name="symbol_partitions_sensor",
        description="Keeps the symbol partitions equal to the universe, and their days up to date; starts no run.",
        minimum_interval_seconds=settings.sensor_seconds,
        default_status=get_default_sensor_status(settings),
    )
    def symbol_partitions(
        context: dg.SensorEvaluationContext, backfill_engine: dg.ResourceParam[Engine]
    ) -> dg.SensorResult:
        """Add and delete partitions; starts no run, but records a materialization of the universe if it changed."""
        markets = backfill_engine.settings.markets
        attempts = Attempts(markets, context.log)
        active, changes, first_days = {}, {}, {}
        for market in markets:
            synced = attempts.attempt(market, lambda market: _sync(context.instance, backfill_engine, market))
            if synced is not None:
                active[market.exchange], changes[market.exchange], first_days[market.exchange] = synced
        if not any(map(any, changes.values())):
            attempts.raise_failures()
        renewed, cursor = renewal.renew(context, first_days, backfill_engine.settings.now())
        return _build_result(backfill_engine, active, changes, renewed, cursor)

    return symbol_partitions


def _sync(instance: dg.DagsterInstance, engine: Engine, market: MarketProfile) -> tuple[int, tuple[int, int], date]:
    """How many symbols are active, how many partitions were added and removed, and the first day that is one now."""
    with engine.database.transaction() as connection:
        universe = read_job_universe(connection, market.exchange, engine.settings.as_of)
    active = len(universe.active)
    first = compute_first_day(engine.settings, market, active)
    listed = universe.list_since(first)
    return active, sync_symbol_partitions(instance, [str(s.ticker) for s in listed], market.exchange), first


def _build_result(
    engine: Engine, active: Mapping[str, int], changes: Mapping[str, tuple[int, int]], renewed: str, cursor: str | None
) -> dg.SensorResult:
    events = []
    if any(map(any, changes.values())):
        with engine.database.transaction() as connection:
            row_count = count_universe_rows(connection)
        figures = {**build_universe_metadata(dict(active), list(changes.values())), ROW_COUNT: row_count}
        events.append(dg.AssetMaterialization(UNIVERSE_KEY, metadata=figures))
    messages = {
        exchange: f"{format_count(active[exchange], 'symbol')}:"
        f" {format_count(added, 'partition')} added, {removed} removed"
        for exchange, (added, removed) in changes.items()
    }
    several = len(messages) > 1
    message = "; ".join(f"{exchange}: {text}" if several else text for exchange, text in messages.items())
    message = "; ".join(filter(None, (message, renewed)))
    return dg.SensorResult(skip_reason=message, asset_events=events, cursor=cursor)
