"""Live collection in Dagster, if BACKFILL_LIVE is on: the asset of its rounds and the schedule that starts them."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from backfill_assets.backfill.engine import Engine
from backfill_assets.config.settings import Settings, load_settings
from backfill_assets.market.exchanges.registry import US
from backfill_assets.market.live.sampling_schedule import CLOSING_ROUND_AFTER_CLOSE, FIRST_ROUND_AFTER_OPEN
from backfill_assets.orchestration.exchange_names import GROUP
from backfill_assets.orchestration.schedules import get_default_schedule_status
from backfill_assets.orchestration.universe_asset import UNIVERSE_KEY

_REGULAR_OPEN, _REGULAR_CLOSE = timedelta(hours=9, minutes=30), timedelta(hours=16)  # since midnight in New York
LIVE_QUOTES = dg.AssetKey("live_quotes")


# not in the pool: a round must not wait for a long backfill; both share one rate limiter
@dg.asset(key=LIVE_QUOTES, group_name=GROUP, kinds={"postgres", "eodhd"}, deps=[UNIVERSE_KEY])
def live_quotes(
    context: dg.AssetExecutionContext, backfill_engine: dg.ResourceParam[Engine]
) -> dg.MaterializeResult[Any]:
    """One round of live quotes of all active symbols, and today's provisional bars built from them."""
    from backfill_assets.live.collector import collect_round  # imports the vendor's client

    result = collect_round(backfill_engine)
    context.log.info(str(result))
    if result.kind == "failed":
        raise dg.Failure(str(result), allow_retries=False)
    return dg.MaterializeResult(metadata=result.as_dict())


def build_live_schedule(settings: Settings, overrides: Mapping[str, Any]) -> dg.ScheduleDefinition:
    """The schedule that starts a round every BACKFILL_LIVE_SECONDS during sampling hours.

    Args:
        settings: when the definitions are loaded.
        overrides: of settings that are read in each tick.
    """

    @dg.schedule(
        name="live_schedule",
        target=dg.AssetSelection.assets(LIVE_QUOTES),
        cron_schedule=build_rounds_cron(settings.live_seconds),
        execution_timezone=str(US.zone),
        default_status=get_default_schedule_status(settings),
    )
    def live() -> dg.RunRequest | dg.SkipReason:
        """A run during sampling hours, else a reason to skip."""
        from backfill_assets.live.collector import find_session_to_sample

        current = load_settings(**overrides)
        if find_session_to_sample(current, current.now()) is None:
            return dg.SkipReason("outside sampling hours (15 min after the open to 30 min after the close)")
        return dg.RunRequest()

    return live


def build_rounds_cron(seconds: int) -> str:
    """The cron line of the minutes in which rounds are due.

    Rounds are counted from the session's open, not from the full hour, and the last is due ten minutes after the close.
    At other minutes the samples would be too late to align with the edges of slots. Early closes are on the full hour,
    like regular ones.
    """
    minutes_between = seconds // 60 if seconds % 60 == 0 else 1
    first, closing_minute = (
        time.seconds // 60 % 60
        for time in (_REGULAR_OPEN + FIRST_ROUND_AFTER_OPEN, _REGULAR_CLOSE + CLOSING_ROUND_AFTER_CLOSE)
    )
    minutes = sorted({*range(first % minutes_between, 60, minutes_between), closing_minute})
    minute_field = (
        f"*/{minutes_between}"
        if len(minutes) * minutes_between == 60 and minutes[0] == 0
        else ",".join(map(str, minutes))
    )
    return f"{minute_field} 9-16 * * 1-5"
