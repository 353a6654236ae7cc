"""What the vendor changed afterwards and what was refused: revisions and rejects, for reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.store.postgres.connection import Connection


@dataclass(frozen=True, slots=True)
class Revision:
    """One change of a final bar by the vendor; None where the bar is gone."""

    ticker: str
    slot_start: datetime
    replaced_at: datetime
    old_close: float
    new_close: float | None
    old_volume: int
    new_volume: int | None


@dataclass(frozen=True, slots=True)
class RejectCount:
    """How many rows of the vendor broke a rule, and of how many tickers."""

    reason: str
    rows: int
    tickers: int


def read_revisions(
    connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid, limit: int
) -> tuple[int, list[Revision]]:
    """How many revisions bars of the window had, and the newest of them."""
    if not grid.size:
        return 0, []
    rows = connection.execute(
        "SELECT count(*) OVER (), r.symbol_id, r.timestamp, r.replaced_at, r.close_price, m.close_price::float8,"
        " r.volume, m.volume FROM backfill.revisions r LEFT JOIN market_data m ON m.symbol_id = r.symbol_id"
        " AND m.interval_type = r.interval_type AND m.timestamp = r.timestamp"
        " WHERE r.symbol_id = ANY (%(ids)s) AND r.interval_type = ANY (%(spellings)s)"
        " AND r.timestamp >= %(first)s AND r.timestamp < %(last)s"
        " ORDER BY r.replaced_at DESC, r.symbol_id, r.timestamp LIMIT %(most)s",
        {**_build_parameters(symbols, grid), "most": limit},
    ).fetchall()
    names = {s.symbol_id: str(s.ticker) for s in symbols}
    return rows[0][0] if rows else 0, [
        Revision(names[key], slot.astimezone(UTC), at.astimezone(UTC), *values) for _, key, slot, at, *values in rows
    ]


def count_rejects(connection: Connection, symbols: Sequence[Symbol], grid: SlotGrid) -> list[RejectCount]:
    """What of the vendor's rows of the window was refused, the most first."""
    if not grid.size:
        return []
    rows = connection.execute(
        "SELECT reason, count(*), count(DISTINCT symbol_id) FROM backfill.rejects"
        " WHERE symbol_id = ANY (%(ids)s) AND timestamp >= %(first)s AND timestamp < %(last)s"
        " GROUP BY reason ORDER BY 2 DESC, 1",
        _build_parameters(symbols, grid),
    )
    return [RejectCount(*row) for row in rows]


def _build_parameters(symbols: Sequence[Symbol], grid: SlotGrid) -> dict[str, Any]:
    return {
        "ids": [s.symbol_id for s in symbols],
        "spellings": list(grid.interval.spellings),
        "first": grid.sessions[0].open,
        "last": grid.sessions[-1].close,
    }
