"""The vendor's daily rows in the store, the old values of those that it changed, and days that have no row.

``evidence_reader`` reads the part that explains absent bars, ``store.bars.bar_checks`` the closes. Listing lives, daily
files and closures are in ``daily_data``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.daily_prices import SETTLED_AFTER, DailyPrices, build_daily_prices
from backfill_assets.market.vendor import DailyRows
from backfill_assets.store.postgres.connection import Connection

NOT_IN_MARKET_FILE = "not in the daily file of the market"
NO_ROW_AS_USUAL = "no daily row, as usual"
MAX_ROWS_PER_STATEMENT = 50_000  # bounds the memory: some 10 MB of parameters

_WITH_INCOMING = """
WITH incoming AS MATERIALIZED (
    SELECT symbol_id, day, nullif(open_price, 'NaN') AS open_price, nullif(high_price, 'NaN') AS high_price,
           nullif(low_price, 'NaN') AS low_price, nullif(close_price, 'NaN') AS close_price,
           nullif(adjusted_close, 'NaN') AS adjusted_close,
           ceil(nullif(reported_volume, 'NaN'))::bigint AS reported_volume, nullif(volume, 'NaN')::bigint AS volume,
           CASE WHEN reported_volume <> floor(reported_volume) THEN reported_volume END AS fractional_volume
    FROM unnest(%(symbol_id)s::int[], %(day)s::date[], %(open)s::float8[], %(high)s::float8[], %(low)s::float8[],
                %(close)s::float8[], %(adjusted_close)s::float8[], %(volume)s::float8[], %(traded_volume)s::float8[])
      AS t (symbol_id, day, open_price, high_price, low_price, close_price, adjusted_close, reported_volume, volume)
)
"""
# Rows of before have no reported_volume: their 0 may mean that it was unknown. The lock keeps another process from
# changing the rows between the two statements; everybody takes it in the same order.
_INSERT_REVISIONS = f"""
{_WITH_INCOMING} INSERT INTO backfill.daily_revisions
    (symbol_id, day, open_price, high_price, low_price, close_price, adjusted_close, volume, fractional_volume,
     read_at, replaced_at)
SELECT symbol_id, day, p.open_price, p.high_price, p.low_price, p.close_price, p.adjusted_close, p.known_volume,
       p.fractional_volume, p.read_at, %(now)s
FROM (
    SELECT d.*, CASE WHEN d.read_at IS NULL THEN nullif(d.volume, 0) ELSE d.reported_volume END AS known_volume
    FROM backfill.daily_prices d
    WHERE (d.day, d.symbol_id) IN (SELECT day, symbol_id FROM incoming) AND d.no_row_reason IS NULL
    ORDER BY d.symbol_id, d.day FOR UPDATE
) p JOIN incoming i USING (symbol_id, day)
WHERE (p.open_price IS NOT NULL AND p.open_price IS DISTINCT FROM i.open_price)
   OR (p.high_price IS NOT NULL AND p.high_price IS DISTINCT FROM i.high_price)
   OR (p.low_price IS NOT NULL AND p.low_price IS DISTINCT FROM i.low_price)
   OR (p.close_price IS NOT NULL AND p.close_price IS DISTINCT FROM i.close_price)
   OR (p.known_volume IS NOT NULL AND (p.known_volume, p.fractional_volume)
                                      IS DISTINCT FROM (i.reported_volume, i.fractional_volume))
"""  # noqa: S608 - only a constant is inserted
_UPSERT_DAILY_PRICES = f"""
{_WITH_INCOMING} INSERT INTO backfill.daily_prices
    (symbol_id, day, open_price, high_price, low_price, close_price, adjusted_close, reported_volume, volume,
     fractional_volume, read_at)
SELECT i.*, %(now)s FROM incoming i ORDER BY symbol_id, day
ON CONFLICT (symbol_id, day) DO UPDATE SET
    open_price = EXCLUDED.open_price, high_price = EXCLUDED.high_price, low_price = EXCLUDED.low_price,
    close_price = EXCLUDED.close_price, adjusted_close = EXCLUDED.adjusted_close,
    reported_volume = EXCLUDED.reported_volume, volume = EXCLUDED.volume,
    fractional_volume = EXCLUDED.fractional_volume, read_at = EXCLUDED.read_at,
    no_row_reason = NULL
"""  # noqa: S608 - only a constant is inserted
_INSERT_DAYS_WITHOUT_ROW = """
INSERT INTO backfill.daily_prices (symbol_id, day, volume, no_row_reason)
SELECT id, day, 0, %(reason)s FROM unnest(%(ids)s::int[], %(days)s::date[]) AS t (id, day) ORDER BY 1, 2
ON CONFLICT DO NOTHING
"""
_COUNT_SETTLED = """
SELECT count(*) FROM unnest(%(days)s::date[], %(settled_at)s::timestamptz[]) AS w (day, settled_at)
JOIN backfill.daily_prices p ON p.day = w.day AND p.symbol_id = ANY (%(ids)s::int[])
WHERE p.no_row_reason IS NULL AND p.read_at >= w.settled_at
"""
_SELECT_DAILY_PRICE = """
SELECT open_price, high_price, low_price, close_price, adjusted_close,
       CASE WHEN read_at IS NULL THEN nullif(volume, 0) ELSE reported_volume END, fractional_volume, read_at
FROM backfill.daily_prices WHERE symbol_id = %(symbol_id)s AND day = %(day)s AND no_row_reason IS NULL
"""
_SELECT_CLOSES = """
SELECT day, close_price FROM backfill.daily_prices
WHERE symbol_id = %(symbol_id)s AND day BETWEEN %(first)s AND %(last)s AND no_row_reason IS NULL AND close_price > 0
"""
_SELECT_REVISIONS = """
SELECT open_price, high_price, low_price, close_price, adjusted_close, volume, fractional_volume, read_at,
       replaced_at
FROM backfill.daily_revisions WHERE symbol_id = %(symbol_id)s AND day = %(day)s ORDER BY replaced_at
"""


@dataclass(frozen=True, slots=True)
class DailyPrice:
    """The daily figures of one symbol and day, each None where it is unknown; times are UTC.

    Attributes:
        open: of the day, like ``high``, ``low``, ``close`` and ``adjusted_close``.
        volume: shares; a fraction only at exchanges whose daily data have one.
        read_at: when they were last read; None if that is not known.
        replaced_at: of old figures, when others were read instead; None for those that hold.
    """

    open: float | None
    high: float | None
    low: float | None
    close: float | None
    adjusted_close: float | None
    volume: float | None
    read_at: datetime | None
    replaced_at: datetime | None = None


def record_daily_rows(connection: Connection, rows: DailyPrices, now: datetime) -> None:
    """Store the vendor's rows, read at ``now``; known figures that they change are kept as revisions.

    Two statements for each 50,000 rows.
    """
    columns = {name: getattr(rows, name) for name in DailyPrices.__dataclass_fields__}
    for start in range(0, len(rows), MAX_ROWS_PER_STATEMENT):
        stop = start + MAX_ROWS_PER_STATEMENT
        values = {name: column[start:stop].tolist() for name, column in columns.items()}
        connection.execute(_INSERT_REVISIONS, {**values, "now": now})
        connection.execute(_UPSERT_DAILY_PRICES, {**values, "now": now})


def record_rows_of_days(
    connection: Connection, symbol_id: int, rows: DailyRows, days: Collection[date], last_day: date, now: datetime
) -> None:
    """Store a symbol's rows of some days up to ``last_day``, which is settled; of several rows of one day the last."""
    by_day = {day: position for position, day in enumerate(rows.date.astype(object).tolist())}
    positions = [position for day, position in by_day.items() if day in days and day <= last_day]
    record_daily_rows(connection, build_daily_prices([symbol_id] * len(positions), rows, positions), now)


def record_days_without_row(connection: Connection, days: Sequence[tuple[int, date]], reason: str) -> None:
    """Store that nothing traded on (symbol_id, day) pairs without a row of the vendor's; rows that exist stay.

    ``reason`` is ``NOT_IN_MARKET_FILE`` or ``NO_ROW_AS_USUAL``.
    """
    ids, dates = [symbol_id for symbol_id, _ in days], [day for _, day in days]
    connection.execute(_INSERT_DAYS_WITHOUT_ROW, {"ids": ids, "days": dates, "reason": reason})


def count_settled_rows(connection: Connection, symbol_ids: Collection[int], sessions: Sequence[Session]) -> int:
    """How many days of these symbols and sessions have a row that was read when it was settled."""
    values = {
        "ids": sorted(symbol_ids),
        "days": [session.day for session in sessions],
        "settled_at": [session.close + SETTLED_AFTER for session in sessions],
    }
    return int(connection.execute(_COUNT_SETTLED, values).fetchall()[0][0])


def read_daily_price(connection: Connection, symbol_id: int, day: date) -> DailyPrice | None:
    """The vendor's daily figures of a symbol and day; None if no row was read."""
    row = connection.execute(_SELECT_DAILY_PRICE, {"symbol_id": symbol_id, "day": day}).fetchone()
    return _build_price([*row, None]) if row else None


def read_daily_closes(connection: Connection, symbol_id: int, first: date, last: date) -> dict[date, float]:
    """The vendor's closes of a symbol by day, as far as they were read; both days inclusive."""
    values = {"symbol_id": symbol_id, "first": first, "last": last}
    return dict(connection.execute(_SELECT_CLOSES, values))


def read_daily_revisions(connection: Connection, symbol_id: int, day: date) -> list[DailyPrice]:
    """The figures that the vendor has replaced since, oldest first."""
    rows = connection.execute(_SELECT_REVISIONS, {"symbol_id": symbol_id, "day": day})
    return [_build_price(row) for row in rows]


def _build_price(columns: Sequence[Any]) -> DailyPrice:
    values: list[Any] = [value.astimezone(UTC) if isinstance(value, datetime) else value for value in columns]
    fractional_volume = values.pop(6)
    if fractional_volume is not None:
        values[5] = fractional_volume
    return DailyPrice(*values)
