"""Today's bars in Dagster, where live collection is on: an asset of its rounds and the schedule that makes them."""

from datetime import timedelta
from typing import Any

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.market.live.sampling_schedule import CLOSING_ROUND_AFTER_CLOSE, FIRST_ROUND_AFTER_OPEN
from backfill_assets.orchestration.assets import GROUP, UNIVERSE_KEY
from backfill_assets.orchestration.partitions import TIME_ZONE
from backfill_assets.orchestration.schedules import get_default_schedule_status

LIVE_QUOTES = dg.AssetKey("live_quotes")
_OPEN_TIME, _CLOSE_TIME = timedelta(hours=9, minutes=30), timedelta(hours=16)  # half past and full, early closes, too


# not in the pool of the backfills: a round must not wait until a long run is over, the shared budget paces both
@dg.asset(key=LIVE_QUOTES, group_name=GROUP, kinds={"postgres", "eodhd"}, deps=[UNIVERSE_KEY])
def live_quotes(context: dg.AssetExecutionContext, engine: dg.ResourceParam[Engine]) -> dg.MaterializeResult[Any]:
    """One round of live quotes of all active symbols, and the provisional bars that they make of today."""
    from backfill_assets.live.collector import collect_round  # brings the vendor's client

    result = collect_round(engine)
    context.log.info(str(result))
    if result.kind == "failed":
        raise dg.Failure(str(result), allow_retries=False)
    return dg.MaterializeResult(metadata=result.as_dict())


def build_live_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """A round every so often while the market is sampled; at other times nothing runs."""

    @dg.schedule(
        name="live_schedule",
        target=dg.AssetSelection.assets(LIVE_QUOTES),
        cron_schedule=build_rounds_cron(settings.live_seconds),
        execution_timezone=str(TIME_ZONE),
        default_status=get_default_schedule_status(settings),
    )
    def live() -> dg.RunRequest | dg.SkipReason:
        """Whether the market is in its sampling hours."""
        from backfill_assets.live.collector import find_session_to_sample

        current = load_settings()
        if find_session_to_sample(current, current.now()) is None:
            return dg.SkipReason("out of sampling hours (15 min after the open to 30 min after the close)")
        return dg.RunRequest()

    return live


def build_rounds_cron(seconds: int) -> str:
    """When to look: in the minutes in which rounds are due; a look in between finds none due.

    Rounds count from a session's open, not from the full hour, and one is due ten minutes after its close: looking
    elsewhere would be so late that the samples meet no edge of a slot.
    """
    minutes_between = seconds // 60 if seconds % 60 == 0 else 1
    first, closing_minute = (
        at.seconds // 60 % 60 for at in (_OPEN_TIME + FIRST_ROUND_AFTER_OPEN, _CLOSE_TIME + CLOSING_ROUND_AFTER_CLOSE)
    )
    minutes = sorted({*range(first % minutes_between, 60, minutes_between), closing_minute})
    minute_field = (
        f"*/{minutes_between}"
        if len(minutes) * minutes_between == 60 and minutes[0] == 0
        else ",".join(map(str, minutes))
    )
    return f"{minute_field} 9-16 * * 1-5"
