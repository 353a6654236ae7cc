"""Reads revisions (what the vendor changed afterwards) and rejects (source rows that broke a rule), for reports.

``bar_writer`` and ``external_bars`` write revisions; what they should not have written is deleted here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.bars.stored_values import select_volume
from backfill_assets.store.postgres.connection import Connection

_SELECT_REVISIONS = f"""
SELECT count(*) OVER (), r.symbol_id, r.timestamp, r.replaced_at, r.close_price, m.close_price::float8,
       r.volume, ({select_volume("m")})::numeric
FROM backfill.revisions r
LEFT JOIN market_data m ON m.symbol_id = r.symbol_id AND m.interval_type = r.interval_type
     AND m.timestamp = r.timestamp
WHERE r.symbol_id = ANY (%(ids)s) AND r.interval_type = ANY (%(spellings)s)
  AND r.timestamp >= %(first)s AND r.timestamp < %(last)s AND r.decision_id IS NULL AND r.doubt_id IS NULL
ORDER BY r.replaced_at DESC, r.symbol_id, r.timestamp LIMIT %(limit)s
"""  # noqa: S608 - only constants are inserted
_DELETE_UNCHANGED_REVISIONS = f"""
DELETE FROM backfill.revisions r USING market_data m
WHERE r.symbol_id = ANY (%(ids)s) AND r.replaced_at >= transaction_timestamp()
  AND m.symbol_id = r.symbol_id AND m.interval_type = r.interval_type AND m.timestamp = r.timestamp
  AND (r.open_price, r.high_price, r.low_price, r.close_price, r.volume) IS NOT DISTINCT FROM
      (m.open_price::float8, m.high_price::float8, m.low_price::float8, m.close_price::float8,
       ({select_volume("m")})::numeric)
RETURNING r.symbol_id
"""  # noqa: S608 - only constants are inserted
_COUNT_REJECTS = """
SELECT reason, count(*), count(DISTINCT symbol_id) FROM backfill.rejects
WHERE symbol_id = ANY (%(ids)s) AND timestamp >= %(first)s AND timestamp < %(last)s AND resolved_at IS NULL
GROUP BY reason ORDER BY 2 DESC, 1
"""


@dataclass(frozen=True, slots=True)
class Revision:
    """One change of a final bar by the vendor; times are UTC.

    Old values are None where another program had stored null, new ones if the bar was deleted since, volumes also where
    they are not known. Volumes may have decimals only in tables of other programs.
    """

    ticker: str
    slot_start: datetime
    replaced_at: datetime
    old_close: float | None
    new_close: float | None
    old_volume: Decimal | None
    new_volume: Decimal | None


@dataclass(frozen=True, slots=True)
class RejectCount:
    """How many source rows broke a rule (or bars ``market_data`` refuses), and of how many tickers."""

    reason: str
    rows: int
    tickers: int


def read_revisions(
    connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid, limit: int
) -> tuple[int, list[Revision]]:
    """How many revisions by the vendor the bars of the window had, and the newest ``limit`` of them."""
    if not grid.size:
        return 0, []
    rows = connection.execute(_SELECT_REVISIONS, {**_build_parameters(symbols, grid), "limit": limit}).fetchall()
    tickers = {s.symbol_id: str(s.ticker) for s in symbols}
    return rows[0][0] if rows else 0, [
        Revision(tickers[key], slot.astimezone(UTC), at.astimezone(UTC), *values) for _, key, slot, at, *values in rows
    ]


def delete_unchanged_revisions(connection: Connection, symbol_ids: Sequence[int]) -> Mapping[int, int]:
    """Delete this transaction's revisions of bars that have the same values now; returns how many by symbol_id.

    A trigger of another program can change each bar as it is written (round it, or keep the old one). The same bar then
    differs from the vendor's at every reading, and nothing is revised.
    """
    if not symbol_ids:
        return {}
    deleted = connection.execute(_DELETE_UNCHANGED_REVISIONS, {"ids": list(symbol_ids)})
    return Counter(symbol_id for (symbol_id,) in deleted)


def count_rejects(connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid) -> list[RejectCount]:
    """How many source rows of the window were rejected for each reason, the most frequent first.

    Bars that ``market_data`` refused count until they are stored.
    """
    if not grid.size:
        return []
    return [RejectCount(*row) for row in connection.execute(_COUNT_REJECTS, _build_parameters(symbols, grid))]


def _build_parameters(symbols: Sequence[Symbol], grid: SlotGrid) -> dict[str, Any]:
    return {
        "ids": [s.symbol_id for s in symbols],
        "spellings": list(grid.interval.spellings),
        "first": grid.sessions[0].rows_from,
        "last": grid.sessions[-1].close,
    }
