"""The corporate actions as an asset, and the adjusted bars that they and the raw bars make."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.orchestration.assets import GROUP, POOL, UNIVERSE_KEY, build_bars_key
from backfill_assets.orchestration.daily_data import CORPORATE_ACTIONS, build_actions_metadata, read_due_data

ADJUSTED_BARS = dg.AssetKey("adjusted_bars")


@dg.asset(key=CORPORATE_ACTIONS, group_name=GROUP, kinds={"postgres", "eodhd"}, deps=[UNIVERSE_KEY], pool=POOL)
def corporate_actions(
    context: dg.AssetExecutionContext, backfill_engine: dg.ResourceParam[Engine]
) -> dg.MaterializeResult[Any]:
    """Splits, dividends and spin-offs. Read with the daily data, each morning by whatever run comes first."""
    recorded = read_due_data(context, backfill_engine)
    if recorded.reading.stopped is not None:
        raise dg.Failure(f"{recorded.reading.stopped}; what was read is stored", allow_retries=False)
    return dg.MaterializeResult(metadata=build_actions_metadata(backfill_engine, recorded))


def build_adjusted_bars_spec(intervals: Sequence[str]) -> dg.AssetSpec:
    """The adjusted bars, which SQL computes when they are read: Dagster shows what they come from, and runs nothing.

    They are why no ``bars`` asset depends on the actions: raw bars stay the same when an action is read or revised.
    """
    return dg.AssetSpec(
        ADJUSTED_BARS,
        deps=[*map(build_bars_key, intervals), CORPORATE_ACTIONS],
        description="backfill.adjusted_bars(adjustment, point_in_time): raw bars times the factors of the corporate"
        " actions. A function in Postgres, computed when it is read; nothing to materialize.",
        group_name=GROUP,
        kinds={"postgres", "view"},
    )
