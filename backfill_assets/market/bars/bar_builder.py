"""From the vendor's rows to valid bars, for many tickers at once.

Which rows count is decided in ``rows``; nothing here knows of the vendor's transport or of a store.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backfill_assets.market.bars.cumulative_volume import cumulative_volumes
from backfill_assets.market.bars.source_rows import CLOSING_SECONDS, COLUMNS, SortedRows, sort_rows
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
    extras: dict[str, int]


def build_bars(rows: pd.DataFrame, grid: SlotGrid, source: Interval) -> BuiltBars:
    """Build the bars of ``grid`` (at least one session) from ``rows`` (see ``rows``) at interval ``source``.

    Open and close are those of the slot's first and last good row, high and low its extremes,
    volume the sum. A bar is final only if its ticker's rows reach beyond the slot (decision 9).
    """
    found = sort_rows(rows, grid, source)
    running_total = cumulative_volumes(found.table, found.good, grid)
    reason = found.reason.copy()
    reason[running_total] = "volume_cumulative"
    sessions = _sessions_seen(found, grid, source)
    rejects = found.received.loc[reason != "", list(COLUMNS)].assign(reason=reason[reason != ""])
    return BuiltBars(
        bars=_aggregate(found, running_total, sessions, grid, source),
        sessions=sessions,
        rejects=rejects.reset_index(drop=True),
        extras=found.extras,
    )


def _aggregate(
    found: SortedRows,
    running_total: NDArray[np.bool_],
    sessions: pd.DataFrame,
    grid: SlotGrid,
    source: Interval,
) -> pd.DataFrame:
    table = found.table
    good = found.good
    ticker = table["ticker"].to_numpy(np.int64)[good]
    stamp = table["timestamp"].to_numpy(np.int64)[good]
    ordinal = np.searchsorted(grid.starts, stamp, side="right").astype(np.int64) - 1
    volume = np.where(running_total, 0.0, table["volume"].to_numpy(float))[good]
    start = np.flatnonzero(np.r_[True, (ticker[1:] != ticker[:-1]) | (ordinal[1:] != ordinal[:-1])][: len(stamp)])
    if not len(start):
        return _no_bars()
    end = np.r_[start[1:], len(stamp)] - 1
    opened, high, low, close = (table[c].to_numpy(float)[good] for c in ("open", "high", "low", "close"))
    bars = pd.DataFrame(
        {
            "ticker": ticker[start],
            "ordinal": ordinal[start],
            "timestamp": grid.starts[ordinal[start]],
            "open": opened[start],
            "high": np.maximum.reduceat(high, start),
            "low": np.minimum.reduceat(low, start),
            "close": close[end],
            "volume": np.add.reduceat(volume, start).astype(np.int64),
            "source_rows": np.add.reduceat((~running_total[good]).astype(np.int64), start),
        }
    )
    bars["is_final"] = _is_final(bars, found, sessions, grid, source)
    return bars


def _is_final(
    bars: pd.DataFrame, found: SortedRows, sessions: pd.DataFrame, grid: SlotGrid, source: Interval
) -> NDArray[np.bool_]:
    newest = found.table.groupby("ticker")["timestamp"].max() + source.seconds
    reach = newest.reindex(bars["ticker"]).to_numpy(np.int64)
    done: NDArray[np.bool_] = grid.ends[bars["ordinal"]] <= reach
    if source.seconds < FULL_GRID_SECONDS:
        published = sessions.loc[sessions["published"], ["ticker", "session"]]
        here = pd.MultiIndex.from_arrays([bars["ticker"], grid.session_of[bars["ordinal"]]])
        done |= here.isin(pd.MultiIndex.from_frame(published))
    return done


def _sessions_seen(found: SortedRows, grid: SlotGrid, source: Interval) -> pd.DataFrame:
    """Per ticker and session, how far its rows reach and what its close was."""
    table = found.table
    closes = grid.ends[grid.first_of[1:] - 1]
    session = table["session"].to_numpy(np.int64)
    stamp = table["timestamp"].to_numpy(np.int64)
    mine = (session >= 0) & (stamp < closes[session] + CLOSING_SECONDS)
    seen = pd.DataFrame(
        {
            "ticker": table["ticker"].to_numpy(np.int64)[mine],
            "session": session[mine],
            "reached": np.minimum(stamp + source.seconds, closes[session])[mine],
            "published": (stamp >= closes[session] - PUBLISHED_SECONDS)[mine],
        }
    )
    summary = seen.groupby(["ticker", "session"], sort=True).agg(
        source_rows=("reached", "size"), reached=("reached", "max"), published=("published", "max")
    )
    return summary.join(_closings(found)).reset_index()


def _closings(found: SortedRows) -> pd.DataFrame:
    """Official close and auction volume of each ticker and session that shows them.

    At 5m the flat print is the close; at 1m the auction is the largest of the first five minutes
    (AAPL 2025-01-15: 19.2 M shares in the 16:00 row, whose close 237.87 was the official one).
    """
    rows = found.table.loc[found.closing].drop_duplicates(["ticker", "timestamp"], keep="last")
    order = rows.assign(size=rows["volume"].fillna(-1.0)).sort_values(
        ["ticker", "session", "size", "timestamp"], ascending=[True, True, False, True]
    )
    grouped = order.groupby(["ticker", "session"], sort=True)
    return pd.DataFrame(
        {"official_close": grouped["close"].first(), "auction_volume": grouped["volume"].sum(min_count=1)}
    )


def _no_bars() -> pd.DataFrame:
    whole = dict.fromkeys(("ticker", "ordinal", "timestamp", "volume", "source_rows"), np.int64)
    prices = dict.fromkeys(("open", "high", "low", "close"), np.float64)
    columns = ("ticker", "ordinal", "timestamp", "open", "high", "low", "close", "volume", "source_rows")
    empty = pd.DataFrame({name: np.zeros(0, {**whole, **prices}[name]) for name in columns})
    return empty.assign(is_final=np.zeros(0, bool))
