"""The months of the census at which somebody has to look (again), and those whose counts are not added up yet.

Where most of a store is complete these are few, however long its history is. All months of chosen symbols are read by
``reader``.
"""

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.timestamps import DAY_SECONDS
from backfill_assets.store.postgres.array_reader import POSTGRES_EPOCH, read_columns
from backfill_assets.store.postgres.connection import Connection

NOT_KNOWN = -1  # in the place of a count
_SELECT_OPEN = """
SELECT symbol_id, month, final + unverified AS bars, provisional, minute_squares,
       coalesce(expected, -1) AS expected, coalesce(expected_squares, -1) AS expected_squares,
       coalesce(missing, -1) AS missing
FROM backfill.census_months
WHERE is_open AND interval_type = %(interval)s AND month BETWEEN %(first)s AND %(last)s
"""
# Most open months are usually of the present month, which the planner's statistics do not tell.
_FORCE_INDEX, _ALLOW_ALL_SCANS = "SET LOCAL enable_seqscan = off", "SET LOCAL enable_seqscan TO DEFAULT"
_OPEN_COLUMNS = (
    *("symbol_id", "month", "bars", "provisional", "minute_squares", "expected", "expected_squares"),
    "missing",
)
_SELECT_UNFOLDED = """
SELECT DISTINCT symbol_id, month FROM backfill.census_deltas
"""
_SELECT_MEASURED = """
SELECT symbol_id, month FROM backfill.census_months
WHERE interval_type = %(interval)s AND measured_at < %(before)s AND month BETWEEN %(first)s AND %(last)s
  AND symbol_id = ANY (%(ids)s::bigint[])
ORDER BY measured_at LIMIT %(limit)s
"""
_SELECT_COUNTED = """
SELECT symbol_id FROM backfill.census_symbols
WHERE NOT uncounted && daterange(NULL, %(last)s::date, '[]')
  AND NOT EXISTS (SELECT FROM backfill.find_census_changes() c WHERE c.months && daterange(NULL, %(last)s::date, '[]'))
"""


@dataclass(frozen=True, eq=False)
class OpenMonths:
    """Months that are neither complete by their counts nor measured without a missing bar; shape (months,) each.

    Attributes:
        symbol_id: the symbol.
        month: the first day of the month in UTC, in days since 1970.
        bars: final bars of this program and of others.
        provisional: bars that are not final.
        minute_squares: Σ of the squares of the minute numbers of all bars.
        expected: how many bars the calendar expects, ``NOT_KNOWN`` where that was not computed yet.
        expected_squares: Σ of the squares of their minute numbers.
        missing: how many lack, as the last measurement found; ``NOT_KNOWN`` where something changed since.
    """

    symbol_id: Int64
    month: Int64
    bars: Int64
    provisional: Int64
    minute_squares: Int64
    expected: Int64
    expected_squares: Int64
    missing: Int64


@dataclass(frozen=True, eq=False)
class SymbolMonths:
    """Months of symbols, by their first days, in days since 1970; shape (months,) each."""

    symbol_id: Int64
    month: Int64


def read_open_months(connection: Connection, interval: Interval, first: date, last: date) -> OpenMonths:
    """The open months of all symbols from ``first`` to ``last``, both first days of a month and inclusive."""
    values = {"interval": interval.name, "first": first, "last": last}
    connection.execute(_FORCE_INDEX)
    found = read_columns(connection, _SELECT_OPEN, values, dict.fromkeys(_OPEN_COLUMNS, ">i8"))
    connection.execute(_ALLOW_ALL_SCANS)
    found["month"] += POSTGRES_EPOCH // DAY_SECONDS
    return OpenMonths(**found)


def read_uncounted(connection: Connection, symbol_ids: Int64, last: date) -> Int64:
    """Those of some symbols whose bars were not counted in a month until ``last`` (its first day)."""
    counted = read_columns(connection, _SELECT_COUNTED, {"last": last}, {"symbol_id": ">i8"})["symbol_id"]
    return symbol_ids[~np.isin(symbol_ids, counted)]


def read_unfolded_months(connection: Connection) -> SymbolMonths:
    """The months of all symbols with bars, of any interval, that came or went since the counts were added up."""
    found = read_columns(connection, _SELECT_UNFOLDED, {}, {"symbol_id": ">i8", "month": ">i8"})
    return SymbolMonths(found["symbol_id"], found["month"] + POSTGRES_EPOCH // DAY_SECONDS)


def list_measured_before(
    connection: Connection,
    interval: Interval,
    symbol_ids: Int64,
    months: tuple[date, date],
    before: datetime,
    limit: int,
) -> SymbolMonths:
    """The months of some symbols, from one to another (first days), that were measured longest ago."""
    values = {"interval": interval.name, "before": before, "limit": limit, "first": months[0], "last": months[1]}
    values["ids"] = "{" + ",".join(map(str, symbol_ids.tolist())) + "}"
    found = read_columns(connection, _SELECT_MEASURED, values, {"symbol_id": ">i8", "month": ">i8"})
    return SymbolMonths(found["symbol_id"], found["month"] + POSTGRES_EPOCH // DAY_SECONDS)
