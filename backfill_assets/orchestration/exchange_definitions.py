"""What Dagster has once for each exchange: bars, their sensors, report and complete sessions, from one factory."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import dagster as dg

from backfill_assets.config.settings import Settings
from backfill_assets.market.calendar.windows import list_newest_known_sessions
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.orchestration.assets import ExchangeBars, build_bars_asset
from backfill_assets.orchestration.complete_sessions import build_complete_sessions_asset
from backfill_assets.orchestration.complete_sessions_sensor import build_complete_sessions_sensor
from backfill_assets.orchestration.exchange_names import describe_days
from backfill_assets.orchestration.healing_sensor import build_healing_sensor
from backfill_assets.orchestration.partitions import build_bars_partitions
from backfill_assets.orchestration.quality_report import build_report_asset
from backfill_assets.orchestration.schedules import build_morning_report_schedule
from backfill_assets.orchestration.sensors import build_gap_backfill_sensor
from backfill_assets.orchestration.timetable import build_morning
from backfill_assets.reading.dagster import build_session_days

Definition = dg.AssetsDefinition | dg.AssetSpec


@dataclass(frozen=True)
class ExchangeDefinitions:
    """The definitions of one exchange.

    Attributes:
        market: the exchange.
        bars: an asset for each interval.
        gates: an asset of complete sessions for each universe.
        report: the data-quality report.
        sensors: of gaps and of healing, for each interval, and of complete sessions if there are any.
        report_schedule: of the report, in the exchange's morning.
    """

    market: MarketProfile
    bars: Sequence[dg.AssetsDefinition]
    gates: Sequence[dg.AssetsDefinition]
    report: dg.AssetsDefinition
    sensors: Sequence[dg.SensorDefinition]
    report_schedule: dg.ScheduleDefinition

    @property
    def bars_keys(self) -> Sequence[dg.AssetKey]:
        """The keys of the assets of bars."""
        return [key for asset in self.bars for key in asset.keys]


def build_exchange_definitions(
    settings: Settings, market: MarketProfile, first_day: date, universes: Sequence[str]
) -> ExchangeDefinitions:
    """The definitions of an exchange.

    Args:
        settings: of the process.
        market: the exchange.
        first_day: the first session that is a partition of its bars.
        universes: those whose complete sessions are an asset.
    """
    partitions = build_bars_partitions(settings, market.exchange, first_day)
    morning = build_morning(settings, market)
    days = describe_days(list_newest_known_sessions(market, settings.now(), 1)[-1])
    bars = ExchangeBars(market, settings.exchanges, partitions, morning, days)
    live = {interval.name for interval in settings.list_live_intervals()} if market.has_live_quotes else set()
    sensors = [build_gap_backfill_sensor(settings, market, interval, partitions) for interval in settings.intervals]
    sensors += [build_healing_sensor(settings, market, interval, partitions) for interval in settings.intervals]
    if universes:
        sensors.append(build_complete_sessions_sensor(settings, market, universes))
    return ExchangeDefinitions(
        market=market,
        bars=[build_bars_asset(bars, interval, live=interval in live) for interval in settings.intervals],
        gates=_build_gates(settings, market, universes),
        report=build_report_asset(market, settings.exchanges),
        sensors=sensors,
        report_schedule=build_morning_report_schedule(settings, market, morning),
    )


def _build_gates(settings: Settings, market: MarketProfile, universes: Sequence[str]) -> list[dg.AssetsDefinition]:
    if not universes:
        return []
    days = build_session_days(settings, market.exchange, settings.sessions_start)
    return [build_complete_sessions_asset(settings, market, universe, days) for universe in universes]
