"""Reads the census: the counts of symbols by month, exact in one snapshot, and which symbols were not counted.

One statement reads months and the deltas that are not folded yet. Months are counted from January 1970, in UTC by the
timestamp of each bar, as ``market.gaps`` counts what the calendar expects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.census.months import COUNTS, IS_NAMED, name_interval
from backfill_assets.store.postgres.array_reader import read_columns
from backfill_assets.store.postgres.connection import Connection

_POSTGRES_DAY_ZERO = np.datetime64("2000-01-01", "D")
UNKNOWN = -1  # what is expected, or how a slot without a bar is explained, where that is not known
_KNOWN = ("expected", "expected_squares", "no_trade", "vendor_gap", "missing", "suspect")
_MONTH, _DELTA, _UNCOUNTED = range(3)
_SELECT_SPELLINGS = f"SELECT DISTINCT interval_type FROM backfill.census_deltas WHERE {IS_NAMED}"  # noqa: S608
_SELECT = f"""
SELECT {_MONTH} AS kind, symbol_id, month, {", ".join(f"{name}::bigint" for name in COUNTS)},
       {", ".join(f"coalesce({name}, {UNKNOWN})::bigint AS {name}" for name in _KNOWN)}
FROM backfill.census_months
WHERE symbol_id = ANY (%(ids)s::bigint[]) AND interval_type = %(interval)s
  AND month >= %(first)s::date AND month <= %(last)s::date
UNION ALL
SELECT {_DELTA}, symbol_id, month, {", ".join(COUNTS)}, {", ".join("0" for _ in _KNOWN)}
FROM backfill.census_deltas
WHERE symbol_id = ANY (%(ids)s::bigint[]) AND interval_type = ANY (%(spellings)s::text[])
  AND month >= %(first)s::date AND month <= %(last)s::date
UNION ALL
SELECT {_UNCOUNTED}, id, 'epoch'::date, {", ".join("0" for _ in (*COUNTS, *_KNOWN))}
FROM unnest(%(ids)s::bigint[]) AS id LEFT JOIN backfill.census_symbols s ON s.symbol_id = id
WHERE s.uncounted IS NULL OR s.uncounted && daterange(%(first)s::date, %(last)s::date, '[]')
   OR EXISTS (SELECT FROM backfill.find_census_changes() c
              WHERE c.months && daterange(%(first)s::date, %(last)s::date, '[]'))
   OR id = ANY (ARRAY(SELECT symbol_id FROM backfill.census_deltas WHERE interval_type <> ALL (%(known)s::text[])))
"""  # noqa: S608 - only constants are inserted
_TYPES = {"kind": ">i4", "symbol_id": ">i8", "month": ">i4", **dict.fromkeys((*COUNTS, *_KNOWN), ">i8")}


@dataclass(frozen=True, eq=False)
class CensusMonths:
    """The counts of symbols by month, ascending by both; arrays of the shape (rows,) but for ``uncounted``.

    A symbol has no row for a month without a bar of which nothing is known.

    Attributes:
        symbol_id: the key of ``market_symbols``.
        month: counted from January 1970.
        final: final bars of this program.
        provisional: bars that are not final.
        unverified: bars of other programs.
        sparse: final bars whose rows cover no more than half of the interval.
        minute_squares: Σ of the squares of the minute numbers within the month, of all bars.
        expected: bars that are expected, ``UNKNOWN`` if that was not computed yet.
        expected_squares: as ``minute_squares``, of the slots that are expected.
        no_trade: slots without a trade, as the last look found them; this and the rest are ``UNKNOWN`` if nobody has
            looked since the counts changed.
        vendor_gap: slots that the vendor has no bar for.
        missing: slots that wait for a final bar.
        suspect: suspect bars.
        uncounted: the symbol_ids that were not counted in one of the months, shape (symbols,); their rows mean nothing.
    """

    symbol_id: Int64
    month: Int64
    final: Int64
    provisional: Int64
    unverified: Int64
    sparse: Int64
    minute_squares: Int64
    expected: Int64
    expected_squares: Int64
    no_trade: Int64
    vendor_gap: Int64
    missing: Int64
    suspect: Int64
    uncounted: Int64


def read_census(
    connection: Connection, symbol_ids: Sequence[int], interval: Interval, first_month: date, last_month: date
) -> CensusMonths:
    """The counts of ``interval`` for some symbols, from a month to a month, both given by their first days."""
    pending = [spelling for (spelling,) in connection.execute(_SELECT_SPELLINGS.encode())]
    values = {
        "ids": "{" + ",".join(map(str, symbol_ids)) + "}",
        "interval": interval.name,
        "first": first_month,
        "last": last_month,
        "spellings": [spelling for spelling in pending if name_interval(spelling) == interval.name],
        "known": pending,
    }
    found = read_columns(connection, _SELECT, values, _TYPES)
    uncounted = np.unique(found["symbol_id"][found["kind"] == _UNCOUNTED]).astype(np.int64)
    return _add_up(found, found["kind"] != _UNCOUNTED, uncounted)


def _add_up(found: Mapping[str, NDArray[Any]], is_count: Bools, uncounted: Int64) -> CensusMonths:
    """One row for each symbol and month out of those of months and deltas."""
    columns = {name: values[is_count].astype(np.int64) for name, values in found.items()}
    month = _POSTGRES_DAY_ZERO + columns["month"]
    columns["month"] = month.astype("datetime64[M]").astype(np.int64)
    order = np.lexsort((columns["kind"], columns["month"], columns["symbol_id"]))
    columns = {name: values[order] for name, values in columns.items()}
    key = np.stack([columns["symbol_id"], columns["month"]])
    begins = np.flatnonzero(np.any(np.diff(key, axis=1, prepend=key[:, :1] - 1), axis=0))
    has_row = columns["kind"][begins] == _MONTH
    is_changed = np.diff(begins, append=key.shape[1]) > 1
    sums = {name: np.add.reduceat(columns[name], begins) if len(begins) else columns[name] for name in COUNTS}
    known = {name: np.where(has_row, columns[name][begins], UNKNOWN) for name in _KNOWN}
    for name in ("no_trade", "vendor_gap", "missing", "suspect"):
        known[name] = np.where(is_changed, UNKNOWN, known[name])
    return CensusMonths(columns["symbol_id"][begins], columns["month"][begins], **sums, **known, uncounted=uncounted)
