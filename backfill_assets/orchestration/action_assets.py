"""The corporate actions as an asset, and the adjusted bars that they and the raw bars make."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.orchestration.daily_data import (
    CORPORATE_ACTIONS,
    build_actions_metadata,
    raise_failures,
    read_due_data,
)
from backfill_assets.orchestration.exchange_names import GROUP
from backfill_assets.orchestration.universe_asset import POOL, UNIVERSE_KEY

ADJUSTED_BARS = dg.AssetKey("adjusted_bars")


@dg.asset(key=CORPORATE_ACTIONS, group_name=GROUP, kinds={"postgres", "eodhd"}, deps=[UNIVERSE_KEY], pool=POOL)
def corporate_actions(
    context: dg.AssetExecutionContext, backfill_engine: dg.ResourceParam[Engine]
) -> dg.MaterializeResult[Any]:
    """Splits, dividends and spin-offs. Read with the daily data, each morning by whatever run comes first."""
    markets = [market for market in backfill_engine.settings.markets if market.has_actions]
    recorded = read_due_data(context, backfill_engine, markets)
    raise_failures(recorded)
    return dg.MaterializeResult(metadata=build_actions_metadata(backfill_engine, recorded))


def build_adjusted_bars_spec(bars: Sequence[dg.AssetKey]) -> dg.AssetSpec:
    """The adjusted bars, which SQL computes when they are read: Dagster shows what they come from, and runs nothing.

    They are why no ``bars`` asset depends on the actions: raw bars stay the same when an action is read or revised.
    """
    return dg.AssetSpec(
        ADJUSTED_BARS,
        deps=[*bars, CORPORATE_ACTIONS],
        description="backfill.adjusted_bars(adjustment, point_in_time): raw bars times the factors of the corporate"
        " actions. A function in Postgres, computed when it is read; nothing to materialize.",
        group_name=GROUP,
        kinds={"postgres", "view"},
    )
