"""The jobs that evaluate the checks of all exchanges' bars without a materialization, one an interval."""

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from backfill_assets.backfill.engine import Engine
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL, parse_interval
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.orchestration import checks
from backfill_assets.orchestration.assets import CHECKS_WINDOW_DESCRIPTION
from backfill_assets.orchestration.certificates import certify_and_log
from backfill_assets.orchestration.exchange_loop import Attempts
from backfill_assets.orchestration.exchange_names import build_bars_key
from backfill_assets.orchestration.history_asset import record_complete_months
from backfill_assets.quality.census.upkeep import update_census


class VerifyConfig(dg.Config):
    """The window of the checks; the past 48 hours if unset."""

    hours_back: float | None = Field(None, description=CHECKS_WINDOW_DESCRIPTION)


def build_verify_job(interval: str) -> dg.JobDefinition:
    """The job of an interval. One for all exchanges: every run is a process, and it starts each quarter of an hour."""
    suffix = "" if interval == DEFAULT_INTERVAL else f"_{interval}"

    # not in the pool: it makes no vendor calls, and must report gaps while a backfill runs
    @dg.op(name=f"judge_window{suffix}", out=dg.Out(dg.Nothing))
    def judge_window(
        context: dg.OpExecutionContext, config: VerifyConfig, backfill_engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.AssetCheckEvaluation]:
        """Evaluate the checks on what the store holds now; certify what is complete, and show months that are."""
        attempts = Attempts(backfill_engine.settings.markets, context.log)
        update_census(backfill_engine.database, backfill_engine.settings, attempts.markets, parse_interval(interval))
        record_complete_months(context, backfill_engine, interval)

        def judge(market: MarketProfile) -> list[dg.AssetCheckEvaluation]:
            certify_and_log(context, backfill_engine, market, interval)
            return build_check_evaluations(backfill_engine, market, interval, config.hours_back)

        for market in attempts.markets:
            yield from attempts.attempt(market, judge) or []
        attempts.raise_failures()

    @dg.job(
        name=f"verify_window{suffix}",
        executor_def=dg.in_process_executor,
        description="Evaluate the checks on what the store holds now.",
    )
    def verify() -> None:
        judge_window()

    return verify


def build_check_evaluations(
    engine: Engine, market: MarketProfile, interval: str, hours_back: float | None = None
) -> list[dg.AssetCheckEvaluation]:
    """The results of the checks of an exchange's bars, for a step outside their asset."""
    key = build_bars_key(interval, market.exchange)
    live = market.has_live_quotes and parse_interval(interval) in engine.settings.list_live_intervals()
    selected = [check.key for check in checks.build_check_specs(key, market, live=live)]
    evaluation = checks.evaluate(engine, market, interval, hours_back)
    return [
        dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=str(result.check_name),
            passed=result.passed,
            metadata=result.metadata or {},
            severity=result.severity,
            description=result.description,
        )
        for result in checks.build_check_results(key, evaluation, selected)
    ]
