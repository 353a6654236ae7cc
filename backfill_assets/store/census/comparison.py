"""Compares the census with a full count of the stored bars, in one snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from backfill_assets.store.census.months import COUNTS, name_interval
from backfill_assets.store.postgres.connection import Connection

_SELECT = f"""
SELECT 1, symbol_id, interval_type, month, {", ".join(COUNTS)}
FROM backfill.count_stored_bars(%(ids)s::bigint[], '-infinity', 'infinity')
UNION ALL
SELECT -1, symbol_id, interval_type, month, {", ".join(f"-sum({name})::bigint" for name in COUNTS)}
FROM (SELECT symbol_id, interval_type, month, {", ".join(COUNTS)} FROM backfill.census_months
      UNION ALL SELECT * FROM backfill.census_deltas) AS counted
WHERE symbol_id = ANY (%(ids)s::bigint[]) GROUP BY symbol_id, interval_type, month
"""  # noqa: S608 - only constants are inserted


@dataclass(frozen=True, slots=True)
class CensusDifference:
    """A month in which the census is wrong: how many bars there are, and how many it counted. ``COUNTS`` as tuples."""

    symbol_id: int
    interval: str
    month: date
    stored: tuple[int, ...]
    counted: tuple[int, ...]


def compare_census(connection: Connection, symbol_ids: Sequence[int]) -> list[CensusDifference]:
    """Count all bars of some symbols and compare; empty if the census is right.

    Symbols that were not counted yet (``CensusMonths.uncounted``) differ.
    """
    sums: dict[tuple[int, str, date], dict[int, tuple[int, ...]]] = {}
    zeros = (0,) * len(COUNTS)
    for sign, symbol_id, spelling, month, *counts in connection.execute(_SELECT.encode(), {"ids": list(symbol_ids)}):
        found = sums.setdefault((symbol_id, name_interval(spelling), month), {1: zeros, -1: zeros})
        found[sign] = tuple(a + sign * b for a, b in zip(found[sign], counts, strict=True))
    return [CensusDifference(*key, both[1], both[-1]) for key, both in sorted(sums.items()) if both[1] != both[-1]]
