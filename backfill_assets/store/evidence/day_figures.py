"""Reads what is known of whole days, aligned with the lines of a panel of rows or bars: settled daily rows only."""

import numpy as np

from backfill_assets.market.actions.splits import find_split_ratios, undo_splits
from backfill_assets.market.arrays import Floats, Int64
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.daily_prices import SETTLED_AFTER
from backfill_assets.market.exchanges.learned import DailyFigure
from backfill_assets.market.plausibility.day_figures import DayFigures
from backfill_assets.store.actions.splits import read_splits
from backfill_assets.store.learning import may_judge_daily_data
from backfill_assets.store.postgres.array_reader import read_columns
from backfill_assets.store.postgres.connection import Connection

# Whether a row is settled is said by ``market.daily_prices.is_settled``; here in SQL, for all days at once.
_SELECT_FIGURES = """
SELECT p.symbol_id, s.position - 1 AS session, coalesce(p.open_price, 'NaN') AS open,
       coalesce(p.high_price, 'NaN') AS high, coalesce(p.low_price, 'NaN') AS low,
       coalesce(p.close_price, 'NaN') AS close, coalesce(p.adjusted_close, 'NaN') AS adjusted_close,
       coalesce(p.fractional_volume, p.reported_volume, 'NaN') AS volume,
       extract(epoch FROM p.read_at)::float8 AS read_at
FROM unnest(%(days)s::date[], %(closes)s::bigint[]) WITH ORDINALITY AS s (day, session_close, position)
JOIN backfill.daily_prices p ON p.day = s.day AND p.symbol_id = ANY (%(ids)s::int[])
WHERE p.no_row_reason IS NULL AND p.read_at >= to_timestamp(s.session_close) + %(settled_after)s
"""
_NUMBERS = ("open", "high", "low", "close", "adjusted_close", "volume", "read_at")
_COLUMN_TYPES = {"symbol_id": ">i4", "session": ">i8", **dict.fromkeys(_NUMBERS, ">f8")}


def read_day_figures(connection: Connection, symbol_id: Int64, session: Int64, grid: SlotGrid) -> DayFigures:
    """The settled figures of the days of a panel's lines, NaN where none are known.

    All, or only the volumes, are NaN for an exchange whose daily data may not judge (``market.exchanges.learned``).

    ``symbol_id`` (ascending) and ``session`` (position in the grid's sessions) have the shape (lines,).
    """
    market = grid.sessions[0].market if len(symbol_id) else None
    if market is None or not may_judge_daily_data(connection, market):
        return DayFigures.create_unknown(len(symbol_id))
    ids = np.unique(symbol_id)
    opened, high, low, close, adjusted_close, volume, read_at = _read_numbers(connection, ids, symbol_id, session, grid)
    if not may_judge_daily_data(connection, market, DailyFigure.VOLUME):
        volume = np.full_like(volume, np.nan)
    day = np.array([item.day for item in grid.sessions], "datetime64[D]")[session]
    splits = read_splits(connection, ids.tolist())
    read_stamps = np.where(np.isnan(read_at), 0.0, read_at).astype(np.int64)
    with np.errstate(over="ignore", under="ignore"):
        adjustment = adjusted_close / close
    own_volume = undo_splits(volume, splits, symbol_id, day, read_stamps, adjustment, market.zone)
    ratios = find_split_ratios(splits, symbol_id, day)
    return DayFigures(opened, high, low, close, adjusted_close, own_volume, ratios, market.price_step)


def _read_numbers(connection: Connection, ids: Int64, symbol_id: Int64, session: Int64, grid: SlotGrid) -> Floats:
    """The numbers of the rows as they are stored, shape (numbers, lines)."""
    first, last = int(session.min()), int(session.max())
    values = {
        "ids": ids.tolist(),
        "days": [item.day for item in grid.sessions[first : last + 1]],
        "closes": grid.session_closes[first : last + 1].tolist(),
        "settled_after": SETTLED_AFTER,
    }
    found = read_columns(connection, _SELECT_FIGURES, values, _COLUMN_TYPES)
    shape = (len(ids), last - first + 1)
    cells = np.full((len(_NUMBERS), shape[0] * shape[1]), np.nan)
    place = np.searchsorted(ids, found["symbol_id"]) * shape[1] + found["session"]
    for at, name in enumerate(_NUMBERS):
        cells[at, place] = found[name]
    numbers: Floats = cells[:, np.searchsorted(ids, symbol_id) * shape[1] + session - first]
    return numbers
