"""From the vendor's rows to valid bars, for many tickers at once.

Which rows count is decided in ``rows``; nothing here knows of the vendor's transport or of a store.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from backfill_assets.market.arrays import Bools
from backfill_assets.market.bars.cumulative_volume import find_cumulative_volumes
from backfill_assets.market.bars.source_rows import CLOSING_SECONDS, ROW_COLUMNS, ValidatedRows, validate_rows
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid

FULL_GRID_SECONDS = 300  # 5m answers have a row, null if need be, for every window; 1m omits quiet minutes
PUBLISHED_SECONDS = 1800  # a row in a session's last half hour, or at its close, shows it published


@dataclass(frozen=True, eq=False)
class BuiltBars:
    """What one batch of answers holds.

    Attributes:
        bars: one row a slot that has at least one good source row: ``ticker``, ``ordinal`` (of the
            grid), ``timestamp`` (epoch seconds UTC of the slot's open), ``open high low close``,
            ``volume``, ``source_rows``, ``is_final``.
        sessions: one row a ticker and session with any row at all: ``ticker``, ``session`` (index
            into the grid's sessions), ``source_rows``, ``reached`` (epoch seconds to which the
            rows reach), ``published``, ``official_close`` and ``auction_volume`` (NaN if unseen).
        rejects: the rows that broke a rule, as received, with ``reason``.
        extras: how many rows were expected but are no bars, by kind.
    """

    bars: pd.DataFrame
    sessions: pd.DataFrame
    rejects: pd.DataFrame
    ignored_rows: dict[str, int]


def build_bars(rows: pd.DataFrame, grid: SlotGrid, source: Interval) -> BuiltBars:
    """Build the bars of ``grid`` (at least one session) from ``rows`` (see ``rows``) at interval ``source``.

    Open and close are those of the slot's first and last good row, high and low its extremes,
    volume the sum. A bar is final only if its ticker's rows reach beyond the slot (decision 9).
    """
    validated = validate_rows(rows, grid, source)
    is_running_total = find_cumulative_volumes(validated.table, validated.usable, grid)
    reason = validated.reject_reason.copy()
    reason[is_running_total] = "volume_cumulative"
    sessions = _summarize_sessions(validated, grid, source)
    rejects = validated.received.loc[reason != "", list(ROW_COLUMNS)].assign(reason=reason[reason != ""])
    return BuiltBars(
        bars=_aggregate_bars(validated, is_running_total, sessions, grid, source),
        sessions=sessions,
        rejects=rejects.reset_index(drop=True),
        ignored_rows=validated.ignored_rows,
    )


def _aggregate_bars(
    validated: ValidatedRows,
    is_running_total: Bools,
    sessions: pd.DataFrame,
    grid: SlotGrid,
    source: Interval,
) -> pd.DataFrame:
    table = validated.table
    usable = validated.usable
    symbol_id = table["symbol_id"].to_numpy(np.int64)[usable]
    stamp = table["timestamp"].to_numpy(np.int64)[usable]
    ordinal = np.searchsorted(grid.starts, stamp, side="right").astype(np.int64) - 1
    volume = np.where(is_running_total, 0.0, table["volume"].to_numpy(float))[usable]
    start = np.flatnonzero(np.r_[True, (symbol_id[1:] != symbol_id[:-1]) | (ordinal[1:] != ordinal[:-1])][: len(stamp)])
    if not len(start):
        return _make_empty_bars()
    end = np.r_[start[1:], len(stamp)] - 1
    opened, high, low, close = (table[c].to_numpy(float)[usable] for c in ("open", "high", "low", "close"))
    bars = pd.DataFrame(
        {
            "symbol_id": symbol_id[start],
            "ordinal": ordinal[start],
            "timestamp": grid.starts[ordinal[start]],
            "open": opened[start],
            "high": np.maximum.reduceat(high, start),
            "low": np.minimum.reduceat(low, start),
            "close": close[end],
            "volume": np.add.reduceat(volume, start).astype(np.int64),
            "source_rows": np.add.reduceat((~is_running_total[usable]).astype(np.int64), start),
        }
    )
    bars["is_final"] = _is_final(bars, validated, sessions, grid, source)
    return bars


def _is_final(
    bars: pd.DataFrame, validated: ValidatedRows, sessions: pd.DataFrame, grid: SlotGrid, source: Interval
) -> Bools:
    symbol_data_until = validated.table.groupby("symbol_id")["timestamp"].max() + source.seconds
    data_until = symbol_data_until.reindex(bars["symbol_id"]).to_numpy(np.int64)
    is_complete: Bools = grid.ends[bars["ordinal"]] <= data_until
    if source.seconds < FULL_GRID_SECONDS:
        published = sessions.loc[sessions["published"], ["symbol_id", "session"]]
        symbol_sessions = pd.MultiIndex.from_arrays([bars["symbol_id"], grid.session_index[bars["ordinal"]]])
        is_complete |= symbol_sessions.isin(pd.MultiIndex.from_frame(published))
    return is_complete


def _summarize_sessions(validated: ValidatedRows, grid: SlotGrid, source: Interval) -> pd.DataFrame:
    """Per ticker and session, how far its rows reach and what its close was."""
    table = validated.table
    closes = grid.session_closes
    session = table["session"].to_numpy(np.int64)
    stamp = table["timestamp"].to_numpy(np.int64)
    in_session = (session >= 0) & (stamp < closes[session] + CLOSING_SECONDS)
    session_rows = pd.DataFrame(
        {
            "symbol_id": table["symbol_id"].to_numpy(np.int64)[in_session],
            "session": session[in_session],
            "data_until": np.minimum(stamp + source.seconds, closes[session])[in_session],
            "published": (stamp >= closes[session] - PUBLISHED_SECONDS)[in_session],
        }
    )
    summary = session_rows.groupby(["symbol_id", "session"], sort=True).agg(
        source_rows=("data_until", "size"), data_until=("data_until", "max"), published=("published", "max")
    )
    return summary.join(_find_official_closes(validated)).reset_index()


def _find_official_closes(validated: ValidatedRows) -> pd.DataFrame:
    """Official close and auction volume of each ticker and session that shows them.

    At 5m the flat print is the close; at 1m the auction is the largest of the first five minutes
    (AAPL 2025-01-15: 19.2 M shares in the 16:00 row, whose close 237.87 was the official one).
    """
    rows = validated.table.loc[validated.is_closing].drop_duplicates(["symbol_id", "timestamp"], keep="last")
    ordered = rows.assign(size=rows["volume"].fillna(-1.0)).sort_values(
        ["symbol_id", "session", "size", "timestamp"], ascending=[True, True, False, True]
    )
    grouped = ordered.groupby(["symbol_id", "session"], sort=True)
    return pd.DataFrame(
        {"official_close": grouped["close"].first(), "auction_volume": grouped["volume"].sum(min_count=1)}
    )


def _make_empty_bars() -> pd.DataFrame:
    integers = dict.fromkeys(("symbol_id", "ordinal", "timestamp", "volume", "source_rows"), np.int64)
    prices = dict.fromkeys(("open", "high", "low", "close"), np.float64)
    columns = ("symbol_id", "ordinal", "timestamp", "open", "high", "low", "close", "volume", "source_rows")
    empty = pd.DataFrame({name: np.zeros(0, {**integers, **prices}[name]) for name in columns})
    return empty.assign(is_final=np.zeros(0, bool))
