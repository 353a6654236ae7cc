"""What is expected of symbols by month, and how slots without a bar were explained, beside the counts of the census.

Who has looked at the bars of a month records the result here. It holds as long as the counts stay and the same is
expected. A month is *open* while not each expected bar is there and final, and no look has found that none is missing;
open months are found by a partial index, whatever the size of the store. What ``market_data`` holds is in ``reader``.
"""

from dataclasses import dataclass
from datetime import date, datetime

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.census.months import COUNTS
from backfill_assets.store.census.reader import CensusMonths
from backfill_assets.store.postgres.connection import Connection

_EXPLAINED = ("no_trade", "vendor_gap", "missing", "suspect")
_FIRST_DAY = "(date 'epoch' + month * interval '1 month')::date"
_WRITE_EXPECTED = f"""
INSERT INTO backfill.census_months AS m (symbol_id, interval_type, month, expected, expected_squares)
SELECT symbol_id, %(interval)s, {_FIRST_DAY}, expected, squares
FROM unnest(%(symbol_ids)s::bigint[], %(months)s::int[], %(expected)s::int[], %(squares)s::bigint[])
    AS t (symbol_id, month, expected, squares)
ORDER BY symbol_id, month
ON CONFLICT (symbol_id, interval_type, month) DO UPDATE SET expected = EXCLUDED.expected,
    expected_squares = EXCLUDED.expected_squares, no_trade = NULL, vendor_gap = NULL, missing = NULL, suspect = NULL,
    measured_at = NULL
WHERE (m.expected, m.expected_squares) IS DISTINCT FROM (EXCLUDED.expected, EXCLUDED.expected_squares)
"""  # noqa: S608 - only constants are inserted
_MEASURED = (*COUNTS, "expected", "expected_squares")
_WRITE_EXPLAINED = f"""
UPDATE backfill.census_months m
SET {", ".join(f"{name} = t.{name}" for name in _EXPLAINED)}, measured_at = %(measured_at)s
FROM unnest(%(symbol_id)s::bigint[], %(month)s::int[], {", ".join(f"%({name})s::bigint[]" for name in _MEASURED)},
            {", ".join(f"%({name})s::int[]" for name in _EXPLAINED)})
    AS t (symbol_id, month, {", ".join(_MEASURED)}, {", ".join(_EXPLAINED)})
WHERE m.symbol_id = t.symbol_id AND m.interval_type = %(interval)s
  AND m.month = {_FIRST_DAY.replace("month *", "t.month *")}
  AND ({", ".join(f"m.{name}" for name in _MEASURED)}) = ({", ".join(f"t.{name}" for name in _MEASURED)})
"""  # noqa: S608 - only constants are inserted
_FORGET = """
UPDATE backfill.census_months
SET no_trade = NULL, vendor_gap = NULL, missing = NULL, suspect = NULL, measured_at = NULL
WHERE symbol_id = ANY (%(ids)s::bigint[]) AND interval_type = %(interval)s AND measured_at IS NOT NULL
  AND month >= %(first)s::date AND month <= %(last)s::date
"""


@dataclass(frozen=True, eq=False)
class Explanation:
    """How the slots of months are explained that have no trusted bar, shape (rows,) as the counts that were read."""

    no_trade: Int64
    vendor_gap: Int64
    missing: Int64
    suspect: Int64


def write_expected(
    connection: Connection, interval: Interval, symbol_id: Int64, month: Int64, expected: Int64, squares: Int64
) -> int:
    """Record what the calendar expects; returns how many months changed. Arrays as in ``CensusMonths``."""
    values = {"symbol_ids": symbol_id.tolist(), "months": month.tolist(), "expected": expected.tolist()}
    values |= {"squares": squares.tolist(), "interval": interval.name}
    return connection.execute(_WRITE_EXPECTED.encode(), values).rowcount


def write_explained(
    connection: Connection, interval: Interval, counts: CensusMonths, explanation: Explanation, measured_at: datetime
) -> int:
    """Record how slots are explained; returns in how many months: none whose counts have changed since.

    Args:
        connection: with a transaction open.
        interval: of the bars.
        counts: as they were read in the snapshot in which the bars were looked at. Where they have deltas that are not
            folded yet, nothing is written either.
        explanation: by row of ``counts``.
        measured_at: when they were looked at.
    """
    values = {name: getattr(counts, name).tolist() for name in ("symbol_id", "month", *_MEASURED)}
    values |= {name: getattr(explanation, name).tolist() for name in _EXPLAINED}
    return connection.execute(
        _WRITE_EXPLAINED.encode(), values | {"interval": interval.name, "measured_at": measured_at}
    ).rowcount


def forget_explained(
    connection: Connection, interval: Interval, symbol_ids: list[int], first_month: date, last_month: date
) -> None:
    """Have months looked at again although their counts are the same, as after new evidence about their slots."""
    values = {"ids": symbol_ids, "interval": interval.name, "first": first_month, "last": last_month}
    connection.execute(_FORGET, values)
