"""Builds the Dagster definitions from the settings. What others call is ``definitions.build_backfill_definitions``.

Which exchanges there are says the setting, never the database: what is there must not come and go with rows.
"""

import logging
import warnings
from collections.abc import Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Any

import dagster as dg

from backfill_assets.config.calendar_cache import use_calendar_cache
from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.market.calendar.sessions import SessionsUnknown
from backfill_assets.market.calendar.windows import list_newest_known_sessions
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.orchestration.action_assets import build_adjusted_bars_spec, corporate_actions
from backfill_assets.orchestration.alert_sensor import build_alert_sensor
from backfill_assets.orchestration.catalog import describe_assets, read_asset_relations
from backfill_assets.orchestration.complete_sessions_sensor import verify_sessions
from backfill_assets.orchestration.dagster_internals.partition_start import (
    compute_first_partition_days,
    resolve_first_partition_days,
)
from backfill_assets.orchestration.definitions_renewal import DefinitionsRenewal
from backfill_assets.orchestration.exchange_definitions import (
    Definition,
    ExchangeDefinitions,
    build_exchange_definitions,
)
from backfill_assets.orchestration.exchange_names import build_bars_key
from backfill_assets.orchestration.gated_universes import list_gated_universes
from backfill_assets.orchestration.heal_job import heal_sessions
from backfill_assets.orchestration.history import build_history_schedule, fill_history
from backfill_assets.orchestration.history_asset import build_history_specs
from backfill_assets.orchestration.jobs import backfill_gaps
from backfill_assets.orchestration.live_assets import build_live_schedule, live_quotes
from backfill_assets.orchestration.purge import add_purge
from backfill_assets.orchestration.quality_report import build_overview_asset
from backfill_assets.orchestration.reading_jobs import daily_data, review_bars
from backfill_assets.orchestration.resources import RESOURCE_KEY, build_engine_resource
from backfill_assets.orchestration.schedules import build_review_schedule, build_window_checks_schedule
from backfill_assets.orchestration.shared_sensors import build_daily_data_sensor, build_symbol_partitions_sensor
from backfill_assets.orchestration.universe_asset import market_symbols
from backfill_assets.orchestration.verify_jobs import build_verify_job

_SHARED_JOBS = (backfill_gaps, heal_sessions, fill_history, review_bars)
_log = logging.getLogger(__name__)


def build_definitions(
    settings: Settings,
    overrides: Mapping[str, Any] = MappingProxyType({}),
    *,
    renews: bool = False,
    first_days: Mapping[str, date] | None = None,
) -> dg.Definitions:
    """Assets, checks, sensors, schedules and jobs for the settings; no executor, so that they merge into any project.

    Args:
        settings: what is shown, and when it starts.
        overrides: of the settings that runs and ticks read; by field name.
        renews: whether the code server is asked to load them again once their days are outdated.
        first_days: by exchange the first day that is a partition; None: as the code server computed it.

    Raises:
        UsageError: a universe cannot be used, or of no exchange sessions can be told.
        DatabaseUnavailable: no database; the number of symbols decides how many days are partitions.
    """
    use_calendar_cache(settings)
    markets = list_known_markets(settings)
    days = resolve_first_partition_days(settings, markets) if first_days is None else first_days
    parts = _build_parts(settings, markets, days)
    renewal = DefinitionsRenewal(days, (lambda: _rehearse(overrides)) if renews else None)
    verify_jobs, daily_jobs = [build_verify_job(interval) for interval in settings.intervals], _list_daily_jobs(parts)
    has_live = settings.live and any(part.market.has_live_quotes for part in parts)
    live_schedules = [build_live_schedule(settings, overrides)] if has_live else []
    definitions = dg.Definitions(
        assets=_describe_assets(settings, _build_assets(settings, parts, has_live=has_live)),
        jobs=[*_SHARED_JOBS, *daily_jobs, *verify_jobs, *_list_gate_jobs(parts)],
        sensors=[build_symbol_partitions_sensor(settings, renewal), *_build_sensors(settings, parts, daily_jobs)],
        schedules=[*_build_schedules(settings, parts, verify_jobs), *live_schedules],
        resources={RESOURCE_KEY: build_engine_resource(overrides)},
    )
    bars = {key: days[part.market.exchange] for part in parts for key in part.bars_keys}
    return add_purge(definitions, settings, bars)


def _rehearse(overrides: Mapping[str, Any]) -> dg.Definitions:
    """Load the definitions as a new process would, with today's settings and database."""
    settings = load_settings(**overrides)
    first_days = compute_first_partition_days(settings, list_known_markets(settings))
    return build_definitions(settings, overrides, first_days=first_days)


def _build_parts(
    settings: Settings, markets: Sequence[MarketProfile], first_days: Mapping[str, date]
) -> list[ExchangeDefinitions]:
    gated = list_gated_universes(settings)
    return [
        build_exchange_definitions(settings, market, first_days[market.exchange], gated[market.exchange])
        for market in markets
    ]


def list_known_markets(settings: Settings) -> list[MarketProfile]:
    """The exchanges whose sessions can be told; the log names the others, whose days would be no partitions.

    Runs for all exchanges that need their sessions fail for them, so that nobody takes them for collected.

    Raises:
        SessionsUnknown: of no exchange.
    """
    known: list[MarketProfile] = []
    unknown: list[SessionsUnknown] = []
    for market in settings.markets:
        try:
            list_newest_known_sessions(market, settings.now(), 1)
            known.append(market)
        except SessionsUnknown as error:
            unknown.append(error)
            _log.error("no assets are defined for exchange %s: %s", market.exchange, error)
    if not known:
        raise unknown[0]
    return known


def _reads_mornings(market: MarketProfile) -> bool:
    """Whether there is anything to read about an exchange besides its bars: daily data, or corporate actions."""
    return market.uses_daily_data or market.has_actions


def _list_daily_jobs(parts: Sequence[ExchangeDefinitions]) -> list[dg.JobDefinition]:
    """The job that reads daily data and actions; none where no exchange has either, as with currencies alone."""
    return [daily_data] if any(_reads_mornings(part.market) for part in parts) else []


def _list_gate_jobs(parts: Sequence[ExchangeDefinitions]) -> list[dg.JobDefinition]:
    return [verify_sessions] if any(part.gates for part in parts) else []


def _describe_assets(settings: Settings, assets: Sequence[Definition]) -> list[Definition]:
    relations = read_asset_relations(settings)
    with warnings.catch_warnings():
        for kind in (dg.BetaWarning, dg.PreviewWarning):  # of code references and partitioned checks; the pin covers it
            warnings.simplefilter("ignore", kind)
        return describe_assets(assets, relations, settings.owners, settings.code_url)


def _build_assets(settings: Settings, parts: Sequence[ExchangeDefinitions], *, has_live: bool) -> list[Definition]:
    markets = [part.market for part in parts]
    return [
        market_symbols,
        *(asset for part in parts for asset in part.bars),
        *([live_quotes] if has_live else []),
        *_build_action_assets(settings, markets),
        *(part.report for part in parts),
        *([build_overview_asset(markets)] if len(settings.exchanges) > 1 else []),
        *(asset for part in parts for asset in part.gates),
        *(spec for market in markets for spec in build_history_specs(settings, market)),
    ]


def _build_action_assets(settings: Settings, markets: Sequence[MarketProfile]) -> list[Definition]:
    """Corporate actions and adjusted bars; none where no exchange has actions, as with currencies alone."""
    with_actions = [market for market in markets if market.has_actions]
    if not with_actions:
        return []
    bars = [build_bars_key(interval, market.exchange) for market in with_actions for interval in settings.intervals]
    return [corporate_actions, build_adjusted_bars_spec(bars)]


def _build_schedules(
    settings: Settings, parts: Sequence[ExchangeDefinitions], verify_jobs: Sequence[dg.JobDefinition]
) -> list[dg.ScheduleDefinition]:
    return [
        *(build_window_checks_schedule(settings, job) for job in verify_jobs),
        *(part.report_schedule for part in parts),
        build_review_schedule(settings, review_bars),
        build_history_schedule(settings),
    ]


def _build_sensors(
    settings: Settings, parts: Sequence[ExchangeDefinitions], daily_jobs: Sequence[dg.JobDefinition]
) -> list[dg.SensorDefinition]:
    return [
        build_alert_sensor(settings),
        *(build_daily_data_sensor(settings, job) for job in daily_jobs),
        *(sensor for part in parts for sensor in part.sensors),
    ]
