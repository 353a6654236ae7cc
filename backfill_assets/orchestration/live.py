"""Today's bars in Dagster, where live collection is on: an asset of its rounds and the schedule that makes them."""

from typing import Any

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.orchestration.assets import GROUP, UNIVERSE
from backfill_assets.orchestration.partitions import ZONE
from backfill_assets.orchestration.schedules import status_of
from backfill_assets.settings import Settings, load_settings

LIVE_QUOTES = dg.AssetKey("live_quotes")


# not in the pool of the backfills: a round must not wait until a long run is over, the shared budget paces both
@dg.asset(key=LIVE_QUOTES, group_name=GROUP, kinds={"postgres", "eodhd"}, deps=[UNIVERSE])
def live_quotes(context: dg.AssetExecutionContext, engine: dg.ResourceParam[Engine]) -> dg.MaterializeResult[Any]:
    """One round of live quotes of all active symbols, and the provisional bars that they make of today."""
    from backfill_assets.backfill.live import sample_round  # brings the vendor's client

    made = sample_round(engine)
    context.log.info(str(made))
    if made.kind == "failed":
        raise dg.Failure(str(made), allow_retries=False)
    return dg.MaterializeResult(metadata=made.as_dict())


def live_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """A round every so often while the market is sampled; at other times nothing runs."""

    @dg.schedule(
        name="live_schedule",
        target=dg.AssetSelection.assets(LIVE_QUOTES),
        cron_schedule=rounds_cron(settings.live_seconds),
        execution_timezone=str(ZONE),
        default_status=status_of(settings),
    )
    def live() -> dg.RunRequest | dg.SkipReason:
        """Whether the market is in its sampling hours."""
        from backfill_assets.backfill.live import session_to_sample

        current = load_settings()
        if session_to_sample(current, current.now()) is None:
            return dg.SkipReason("out of sampling hours (15 min after the open to 30 min after the close)")
        return dg.RunRequest()

    return live


def rounds_cron(seconds: int) -> str:
    """When to look: as often as rounds come, in whole minutes; a look in between finds no round due."""
    minutes = seconds // 60 if seconds % 60 == 0 else 1
    return f"*/{minutes} 9-16 * * 1-5"
