"""For which calendar, listing, first day and rules the expected bars of each symbol's months were computed."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from backfill_assets.market.arrays import Bools, Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.timestamps import DAY_SECONDS
from backfill_assets.store.postgres.array_reader import POSTGRES_EPOCH, read_columns
from backfill_assets.store.postgres.connection import Connection

NO_ROW = -1
_SELECT_SCOPES = """
SELECT symbol_id, through_month, expected, expected_squares, basis FROM backfill.census_scopes
WHERE interval_type = %(interval)s
"""
_UPSERT_SCOPES = """
INSERT INTO backfill.census_scopes (symbol_id, interval_type, through_month, expected, expected_squares, basis)
SELECT symbol_id, %(interval)s, date '1970-01-01' + through_month, expected, expected_squares, basis
FROM unnest(%(symbol_id)s::int[], %(through_month)s::int[], %(expected)s::bigint[], %(expected_squares)s::bigint[],
            %(basis)s::bigint[]) AS t (symbol_id, through_month, expected, expected_squares, basis)
ORDER BY symbol_id
ON CONFLICT (symbol_id, interval_type) DO UPDATE SET through_month = EXCLUDED.through_month,
    expected = EXCLUDED.expected, expected_squares = EXCLUDED.expected_squares, basis = EXCLUDED.basis
"""


@dataclass(frozen=True, eq=False)
class CensusScopes:
    """What the months of symbols were computed for; shape (symbols,) each.

    Attributes:
        symbol_id: the symbol.
        through_month: the first day of the newest month that was over, in days since 1970.
        expected: how many bars the calendar expects in all months.
        expected_squares: Σ of the squares of their minute numbers (``market.gaps.expected_months``).
        basis: a hash of the rules that absent bars are judged by.
    """

    symbol_id: Int64
    through_month: Int64
    expected: Int64
    expected_squares: Int64
    basis: Int64

    def select(self, rows: Int64) -> "CensusScopes":
        """Those of some rows."""
        return CensusScopes(*(getattr(self, one.name)[rows] for one in fields(self)))

    def format_arrays(self) -> dict[str, Any]:
        """Each column as the text of a Postgres array."""
        return {one.name: "{" + ",".join(map(str, getattr(self, one.name).tolist())) + "}" for one in fields(self)}

    def find_same(self, stored: "CensusScopes", *names: str) -> Bools:
        """Of which symbols ``stored`` has the same values of some columns, shape (symbols,); no names: of all."""
        order = np.argsort(stored.symbol_id, kind="stable")  # fast where it is sorted
        position = np.searchsorted(stored.symbol_id, self.symbol_id, sorter=order)
        at = np.append(order, NO_ROW)[position]
        chosen = ("symbol_id", *(names or self.__dataclass_fields__))
        same = [np.append(getattr(stored, name), NO_ROW)[at] == getattr(self, name) for name in chosen]
        all_same: Bools = np.logical_and.reduce(same)
        return all_same


def read_scopes(connection: Connection, interval: Interval) -> CensusScopes:
    """What the months of all symbols were computed for; those of which none was are left out."""
    types = {one.name: ">i8" for one in fields(CensusScopes)}
    found = read_columns(connection, _SELECT_SCOPES, {"interval": interval.name}, types)
    found["through_month"] += POSTGRES_EPOCH // DAY_SECONDS
    return CensusScopes(**found)


def write_scopes(connection: Connection, interval: Interval, scopes: CensusScopes) -> None:
    """Record what the months of symbols are computed for by now."""
    if len(scopes.symbol_id):
        connection.execute(_UPSERT_SCOPES, {"interval": interval.name, **scopes.format_arrays()})
