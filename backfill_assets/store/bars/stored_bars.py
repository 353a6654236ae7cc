"""Reads a few bars of one symbol with their provenance, for explanations. Reads of many are in ``bar_table``."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.store.bars.stored_values import select_volume
from backfill_assets.store.postgres.connection import Connection

_SELECT_BARS = f"""
SELECT timestamp, close_price::float8, {select_volume("market_data")}, source, source_interval, source_rows, is_final,
       fetched_at, open_price::float8, high_price::float8, low_price::float8
FROM market_data
WHERE symbol_id = %(symbol_id)s AND interval_type = ANY (%(spellings)s) AND timestamp BETWEEN %(first)s AND %(last)s
ORDER BY timestamp
"""  # noqa: S608 - only constants are inserted


@dataclass(frozen=True, slots=True)
class StoredBar:
    """One bar with its provenance, which is None if another program wrote the bar, as its values may be.

    The volume is None where it is not known, too.
    """

    timestamp: datetime
    close: float | None
    volume: int | Decimal | None
    source: str | None
    source_interval: str | None
    source_rows: int | None
    is_final: bool | None
    fetched_at: datetime | None
    open: float | None = None
    high: float | None = None
    low: float | None = None


def read_bars(
    connection: Connection, symbol_id: int, interval: Interval, first: datetime, last: datetime
) -> list[StoredBar]:
    """A symbol's bars from ``first`` to ``last``, both inclusive, oldest first."""
    values = {"symbol_id": symbol_id, "spellings": list(interval.spellings), "first": first, "last": last}
    return [StoredBar(*row) for row in connection.execute(_SELECT_BARS, values)]
