"""What the rows of each symbol and session show: how far they reach, whether it is published, its official close.

Bars are built in ``bar_builder``, rows are classified in ``source_rows``.
"""

import numpy as np
import pandas as pd

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.bars.source_rows import ValidatedRows
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid

_PUBLISHED_SECONDS = 1800  # a row in a session's last half hour, or at its close, shows that it is published


def summarize_sessions(validated: ValidatedRows, grid: SlotGrid, source: Interval) -> pd.DataFrame:
    """One row per symbol and session with rows (see ``BuiltBars.sessions``).

    Rows before the close are absent if nothing came for longer than the symbol was silent anywhere else in the session.
    So quiet minutes at the end of a thinly traded session, which the vendor leaves out at 1m, are not taken for it.
    A market that never closes has no publication of a session at once: there, a session is published once the symbol's
    rows reach its end, in the same answer those of the next session, and ends before the close until then.
    """
    table = validated.table
    closes = grid.session_closes
    session = table["session"].to_numpy(np.int64)
    stamp = table["timestamp"].to_numpy(np.int64)
    in_session = (session >= 0) & (stamp < closes[session] + grid.sessions[0].market.closing_seconds)
    session_rows = pd.DataFrame(
        {
            "symbol_id": table["symbol_id"].to_numpy(np.int64)[in_session],
            "session": session[in_session],
            "data_until": np.minimum(stamp + source.seconds, closes[session])[in_session],
            "published": _is_published(table, closes[session], source, grid)[in_session],
        }
    )
    is_first = ~session_rows.duplicated(["symbol_id", "session"]).to_numpy()
    data_until = session_rows["data_until"].to_numpy()
    traded_until = data_until - grid.count_paused_seconds(data_until)  # a break is no silence
    silence = np.diff(traded_until, prepend=0) - source.seconds
    session_rows["silence"] = np.where(is_first, 0, silence)  # since the row before, in seconds
    summary = session_rows.groupby(["symbol_id", "session"], sort=True).agg(
        source_rows=("data_until", "size"),
        data_until=("data_until", "max"),
        published=("published", "max"),
        silence=("silence", "max"),
    )
    session_close = closes[summary.index.get_level_values("session").to_numpy(np.int64)]
    summary["ends_before_close"] = session_close - summary["data_until"] > summary["silence"].clip(lower=0)
    if grid.is_around_the_clock:
        summary["ends_before_close"] = ~summary["published"]
    return summary.drop(columns="silence").join(_find_official_closes(validated)).reset_index()


def _is_published(table: pd.DataFrame, close: Int64, source: Interval, grid: SlotGrid) -> Bools:
    """Whether each row shows that its session, which ends at ``close``, is published to its end; shape (rows,).

    Of a market that never closes, only if the symbol's rows reach that end: nothing comes all at once.
    """
    if grid.is_around_the_clock:
        until = table.groupby("symbol_id")["timestamp"].transform("max").to_numpy(np.int64) + source.seconds
        reached: Bools = until >= close
        return reached
    published: Bools = table["timestamp"].to_numpy(np.int64) >= close - _PUBLISHED_SECONDS
    return published


def _find_official_closes(validated: ValidatedRows) -> pd.DataFrame:
    """Official close and auction volume of each symbol and session whose closing rows show them.

    At 5m the close print is a flat row without volume. At 1m the auction is the largest row of the first five minutes
    (AAPL on 2025-01-15: 19.2 M shares in the row of 16:00, whose close of 237.87 was the official one).
    """
    rows = validated.table.loc[validated.is_closing].drop_duplicates(["symbol_id", "timestamp"], keep="last")
    ordered = rows.assign(size=rows["volume"].fillna(-1.0)).sort_values(
        ["symbol_id", "session", "size", "timestamp"], ascending=[True, True, False, True]
    )
    grouped = ordered.groupby(["symbol_id", "session"], sort=True)
    return pd.DataFrame(
        {"official_close": grouped["close"].first(), "auction_volume": grouped["volume"].sum(min_count=1)}
    )
