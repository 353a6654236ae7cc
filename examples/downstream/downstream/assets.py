"""A volume profile and a table of features for each session of a universe."""

import dagster as dg
import pandas as pd

from backfill_assets.reading.dagster import BarsResource, on_complete_session, session_partitions

COMPLETE_SESSIONS = dg.AssetKey(["complete_sessions", "US", "all"])  # exchange, universe
SESSIONS = session_partitions("all", exchange="US")


@dg.asset(
    deps=[COMPLETE_SESSIONS],
    partitions_def=SESSIONS,
    automation_condition=on_complete_session(universe="all", exchange="US"),
)
def volume_profile(context: dg.AssetExecutionContext, bars: BarsResource) -> dg.Output[pd.DataFrame]:
    """The share of each half hour in a symbol's volume of the day: a row a symbol, a column a slot (New York time)."""
    result = bars.read_session(context.partition_key, columns=["symbol", "timestamp", "volume"])
    frame = result.frame
    frame["slot"] = frame["timestamp"].dt.tz_convert("America/New_York").dt.strftime("%H:%M")
    volumes = frame.pivot_table(index="symbol", columns="slot", values="volume", aggfunc="sum").astype(float)
    profile = volumes.div(volumes.sum(axis=1), axis=0)
    return dg.Output(profile, metadata={"symbols": len(profile), "certificates": list(result.certificates)})


@dg.asset(
    deps=[COMPLETE_SESSIONS],
    partitions_def=SESSIONS,
    automation_condition=on_complete_session(universe="all", exchange="US"),
    # Splits are read with the daily data, which may come a little later than the session.
    retry_policy=dg.RetryPolicy(max_retries=5, delay=60),
)
def features(
    context: dg.AssetExecutionContext, bars: BarsResource, volume_profile: pd.DataFrame
) -> dg.Output[pd.DataFrame]:
    """What a model reads of a session: return, range, volume-weighted price, and the share of the last half hour."""
    result = bars.read_session(context.partition_key, adjustment="splits")
    frame = result.frame
    by_symbol = frame.groupby("symbol")
    first_open, last_close = by_symbol["open"].first(), by_symbol["close"].last()
    turnover = (frame["close"] * frame["volume"]).groupby(frame["symbol"]).sum()
    table = pd.DataFrame(
        {
            "return": last_close / first_open - 1,
            "range": by_symbol["high"].max() / by_symbol["low"].min() - 1,
            "vwap": turnover / by_symbol["volume"].sum(),
            "last_half_hour": volume_profile.iloc[:, -1],
        }
    )
    return dg.Output(table, metadata={"symbols": len(table), "health": str(result.health)})
