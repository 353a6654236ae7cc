"""Closes as traded beside those of the daily data, which show spin-offs (``market.actions.spinoffs``)."""

from collections.abc import Collection, Sequence

import numpy as np

from backfill_assets.market.actions.spinoffs import MIN_DIFFERENCE, MIN_SESSIONS_BEFORE, CloseSeries
from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.daily_prices import SETTLED_AFTER
from backfill_assets.market.plausibility.session_lines import find_first_columns, find_last_columns
from backfill_assets.store.bars.panel_reader import read_panel, split_symbols
from backfill_assets.store.exchanges import get_zone_name
from backfill_assets.store.postgres.array_reader import read_columns
from backfill_assets.store.postgres.connection import Connection

# The close as traded is the official one of the intraday data, or what the daily row had within days of its session,
# before a spin-off could change it. Rows of which it is not known when they were read show nothing.
_SELECT_CLOSES = """
SELECT p.symbol_id, s.position - 1 AS session, p.close_price AS daily_close,
       (p.read_at AT TIME ZONE %(zone)s)::date - date '1970-01-01' AS read_day,
       coalesce(e.official_close, r.close_price, 'NaN') AS close
FROM unnest(%(days)s::date[], %(closes)s::bigint[]) WITH ORDINALITY AS s (day, session_close, position)
JOIN backfill.daily_prices p ON p.day = s.day AND p.symbol_id = ANY (%(ids)s::int[])
LEFT JOIN (
    SELECT symbol_id, session_day, max(official_close) AS official_close FROM backfill.session_evidence
    WHERE interval_type = %(interval)s AND symbol_id = ANY (%(ids)s::int[])
      AND session_day BETWEEN %(first)s AND %(last)s AND official_close > 0
    GROUP BY 1, 2
) e ON e.symbol_id = p.symbol_id AND e.session_day = p.day
LEFT JOIN (
    SELECT DISTINCT ON (symbol_id, day) symbol_id, day, close_price FROM backfill.daily_revisions
    WHERE symbol_id = ANY (%(ids)s::int[]) AND day BETWEEN %(first)s AND %(last)s AND close_price > 0
      AND read_at < day + 4
    ORDER BY symbol_id, day, replaced_at
) r ON r.symbol_id = p.symbol_id AND r.day = p.day
WHERE p.no_row_reason IS NULL AND p.close_price > 0 AND p.read_at >= to_timestamp(s.session_close) + %(settled_after)s
"""
_SELECT_DIFFERING = f"""
SELECT symbol_id FROM ({_SELECT_CLOSES}) AS c
WHERE close <> 'NaN' AND abs(ln(daily_close) - ln(close)) > %(difference)s
GROUP BY 1 HAVING count(*) >= %(count)s
"""  # noqa: S608 - only a constant is inserted
_COLUMN_TYPES = {"symbol_id": ">i4", "session": ">i8", "daily_close": ">f8", "read_day": ">i4", "close": ">f8"}


def find_differing_symbols(connection: Connection, symbol_ids: Collection[int], grid: SlotGrid) -> set[int]:
    """The symbols with enough daily closes that are not those of the intraday data, for a spin-off."""
    values = _list_values(symbol_ids, grid) | {"difference": MIN_DIFFERENCE, "count": MIN_SESSIONS_BEFORE}
    return {symbol_id for (symbol_id,) in connection.execute(_SELECT_DIFFERING, values)}


def read_close_series(connection: Connection, symbol_ids: Collection[int], grid: SlotGrid) -> dict[int, CloseSeries]:
    """The closes of few symbols in the sessions of a grid with a settled daily row: symbol_id → its series.

    A session without an official close has that of its last bar. Changes planner settings of the transaction.
    """
    series: dict[int, CloseSeries] = {}
    for ids in split_symbols(symbol_ids, grid):
        series |= _read_batch(connection, ids, grid)
    return series


def _read_batch(connection: Connection, ids: Int64, grid: SlotGrid) -> dict[int, CloseSeries]:
    panel = read_panel(connection, ids, grid).panel
    count = len(grid.sessions)
    first_price, last_close, close, daily_close = np.full((4, len(ids) * count), np.nan)
    read_day = np.full(len(ids) * count, "NaT", "datetime64[D]")
    place = np.searchsorted(ids, panel.symbol_id) * count + panel.session
    lines = np.arange(len(panel))
    if len(panel):
        first_price[place] = panel.open[lines, find_first_columns(panel.is_present)]
        last_close[place] = panel.close[lines, find_last_columns(panel.is_present)]
    found = read_columns(connection, _SELECT_CLOSES, _list_values(ids.tolist(), grid), _COLUMN_TYPES)
    place = np.searchsorted(ids, found["symbol_id"]) * count + found["session"]
    close[place], daily_close[place] = found["close"], found["daily_close"]
    read_day[place] = found["read_day"].astype("datetime64[D]")
    close = np.where(np.isnan(close), last_close, close)
    day = np.array([session.day for session in grid.sessions], "datetime64[D]")
    series = {}
    for row, symbol_id in enumerate(ids.tolist()):
        own = slice(row * count, (row + 1) * count)
        known = np.flatnonzero((close[own] > 0) & ~np.isnan(daily_close[own]))
        columns = (values[own][known] for values in (first_price, close, daily_close, read_day))
        series[symbol_id] = CloseSeries(known, day[known], *columns)
    return series


def _list_values(symbol_ids: Collection[int], grid: SlotGrid) -> dict[str, object]:
    sessions: Sequence[object] = [session.day for session in grid.sessions]
    return {
        "ids": sorted(symbol_ids),
        "days": sessions,
        "first": sessions[0],
        "last": sessions[-1],
        "closes": grid.session_closes.tolist(),
        "interval": grid.interval.name,
        "zone": get_zone_name(grid.sessions),
        "settled_after": SETTLED_AFTER,
    }
