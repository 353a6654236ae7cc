"""Which symbols have every bar up to the end of one of the newest sessions, and none later, by the census.

Nobody has to look at the bars of these, and at most hours they are nearly all symbols: the newest session is there, or
it is not over, or not published for anybody. The census counts whole months, so the slots since the first month began
belong to what it must have counted, though nobody asks for them.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.sessions import Session, list_previous_sessions, list_sessions
from backfill_assets.market.calendar.slots import SlotGrid, build_slot_grid
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.gaps.expected_months import MonthlySlots, count_expected, count_months, group_by_month
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.postgres.array_reader import read_columns
from backfill_assets.store.postgres.connection import Connection

NOT_PROVEN = -1
_SESSIONS_OF_MONTH = 32  # at most, with the one that begins on its eve
# Each total that a month may have stands for some ends: a bit each. All months of a symbol must agree on one of them,
# and there must be as many as have slots until then. A bar that is not final, built from few rows, or of another
# program has to be looked at; so has what is not added up yet.
_SELECT_ENDS = """
SELECT s.symbol_id, e.position FROM (
    SELECT symbol_id, count(*) AS months, bit_and(coalesce(t.ends, 0)) AS ends
    FROM backfill.census_months
    LEFT JOIN unnest(%(months)s::date[], %(slots)s::int[], %(squares)s::bigint[], %(ends)s::int[])
         AS t (month, final, minute_squares, ends) USING (month, final, minute_squares)
    WHERE symbol_id = ANY (ARRAY(
        SELECT symbol_id FROM backfill.census_symbols
        WHERE symbol_id = ANY ((SELECT %(ids)s::bigint[])::bigint[])
          AND NOT uncounted && daterange(%(first)s, %(last)s, '[]')
          AND NOT EXISTS (SELECT FROM backfill.find_census_changes() c
                          WHERE c.months && daterange(%(first)s, %(last)s, '[]'))
        EXCEPT SELECT symbol_id FROM backfill.census_deltas WHERE month BETWEEN %(first)s AND %(last)s))
      AND interval_type = %(interval)s
      AND month BETWEEN %(first)s AND %(last)s AND final + provisional + unverified <> 0
    GROUP BY symbol_id HAVING bool_and((provisional, unverified, sparse) = (0, 0, 0))
) s
JOIN unnest(%(month_counts)s::int[]) WITH ORDINALITY AS e (months, position)
    ON s.months = e.months AND s.ends & (1 << e.position::int) <> 0
"""
_TYPES = {"symbol_id": ">i8", "position": ">i8"}


def find_proven_ends(
    connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid, bounds: Sequence[int], *, find_later: bool
) -> Int64:
    """Up to which end each symbol has exactly the bars of all slots, shape (symbols,); ``NOT_PROVEN``: look.

    End 0 is where the first session begins, end 1 is the end of that session, and so on.

    Args:
        connection: with a transaction open.
        symbol_index: the symbols.
        grid: its slots.
        bounds: the ordinals where sessions in a row begin, then the one after the last.
        find_later: whether there must be no bar in later months either.
    """
    ends = np.full(symbol_index.size, NOT_PROVEN)
    if not symbol_index.size or bounds[0] == bounds[-1]:
        return ends
    values = _build_totals(grid, bounds)
    values |= {
        "ids": symbol_index.format_array(np.arange(symbol_index.size)),
        "interval": grid.interval.name,
        "last": "infinity" if find_later else values["last"],
    }
    found = read_columns(connection, _SELECT_ENDS, values, _TYPES)
    ends[symbol_index.get_rows(found["symbol_id"])] = found["position"] - 1
    return ends


def _build_totals(grid: SlotGrid, bounds: Sequence[int]) -> dict[str, Any]:
    """The totals of months at each end."""
    first, last = (grid.sessions[int(grid.session_index[ordinal])] for ordinal in (bounds[0], bounds[-1] - 1))
    starts, monthly = _list_slots_since_month(first.market, first, last, grid.interval)
    first_month = int(count_months(grid.starts[bounds[0] : bounds[0] + 1])[0])
    begin = int(monthly.offsets[np.searchsorted(monthly.months, first_month)])
    # Not every session between two of the grid need be in it.
    after = np.append(grid.starts[bounds[0]], grid.starts[np.array(bounds[1:]) - 1] + 1)
    expected = count_expected(monthly, np.full(len(after), begin), np.searchsorted(starts, after))
    end, month = np.nonzero(expected.slots)
    totals = np.stack([monthly.months[month], expected.slots[end, month], expected.square_sum[end, month]])
    (months, slots, squares), position = np.unique(totals, axis=1, return_inverse=True)
    bits = np.zeros(len(months), np.int64)
    np.bitwise_or.at(bits, position.ravel(), 2 << end)
    first_day, last_day = _to_days(np.array([first_month, monthly.months[-1]]))
    return {
        "first": first_day,
        "last": last_day,
        "months": _to_days(months),
        "slots": slots.tolist(),
        "squares": squares.tolist(),
        "ends": bits.tolist(),
        "month_counts": (expected.slots > 0).sum(axis=1).tolist(),
    }


@lru_cache(maxsize=32)  # sessions are equal whatever their profile, so that is part of the key
def _list_slots_since_month(
    market: MarketProfile, first: Session, last: Session, interval: Interval
) -> tuple[Int64, MonthlySlots]:
    """The starts of all slots (epoch seconds) since before the month of ``first``, up to ``last``, and their months."""
    sessions = list_sessions(market, first.day, last.day)
    grid = build_slot_grid((*list_previous_sessions(first, _SESSIONS_OF_MONTH), *sessions), interval)
    return grid.starts, group_by_month(grid)


def _to_days(months: Int64) -> Any:
    return months.astype("datetime64[M]").astype("datetime64[D]").tolist()
