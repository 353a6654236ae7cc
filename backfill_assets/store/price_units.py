"""What the prices of each symbol count, from a session on until the next one (``backfill.symbol_currencies``).

A symbol without a row of its own counts what is usual at its exchange. Which units there are is in
``market.exchanges.price_units``, sessions from which on the unit may be another one are in ``store.level_jumps``.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

from backfill_assets.market.calendar.tickers import Symbol
from backfill_assets.market.exchanges.price_units import get_currency
from backfill_assets.store.postgres.connection import Connection

_SELECT_UNITS = """
SELECT s.symbol_id, coalesce(u.price_unit, backfill.price_currency(s.exchange)), u.currency,
       nullif(u.valid_from, '-infinity'), u.source
FROM market_symbols s LEFT JOIN LATERAL (
    SELECT c.* FROM backfill.symbol_currencies c WHERE c.symbol_id = s.symbol_id ORDER BY c.valid_from DESC LIMIT 1
) u ON true
WHERE s.symbol_id = ANY (%(ids)s::int[])
"""
_SELECT_VALID = """
SELECT symbol_id, nullif(valid_from, '-infinity'), currency, price_unit FROM backfill.symbol_currencies
WHERE symbol_id = ANY (%(ids)s::int[]) AND valid_from <= %(until)s::date ORDER BY symbol_id, valid_from
"""
# The first unit that is seen of a symbol is taken to have held before; another one holds from the day it is seen on. A
# list that still says what it said is no news: a person may have decided otherwise since.
_RECORD_LISTED = """
INSERT INTO backfill.symbol_currencies (symbol_id, valid_from, currency, price_unit, source, recorded_at)
SELECT t.id, CASE WHEN u.symbol_id IS NULL THEN '-infinity'::date ELSE %(day)s END, t.currency, t.unit, %(source)s,
       %(now)s
FROM unnest(%(ids)s::int[], %(currencies)s::text[], %(units)s::text[]) AS t (id, currency, unit)
LEFT JOIN LATERAL (
    SELECT c.symbol_id, c.price_unit FROM backfill.symbol_currencies c
    WHERE c.symbol_id = t.id ORDER BY c.valid_from DESC LIMIT 1
) u ON true
WHERE u.price_unit IS DISTINCT FROM t.unit AND t.unit IS DISTINCT FROM (
    SELECT c.price_unit FROM backfill.symbol_currencies c
    WHERE c.symbol_id = t.id AND c.source = %(source)s ORDER BY c.valid_from DESC LIMIT 1
)
ORDER BY t.id
ON CONFLICT (symbol_id, valid_from) DO UPDATE SET
    currency = EXCLUDED.currency, price_unit = EXCLUDED.price_unit, source = EXCLUDED.source,
    recorded_at = EXCLUDED.recorded_at
"""
_SELECT_ROWS = """
SELECT CASE WHEN valid_from = '-infinity' THEN NULL ELSE valid_from END, currency, price_unit, source, recorded_at
FROM backfill.symbol_currencies WHERE symbol_id = %(id)s ORDER BY symbol_currencies.valid_from
"""
_DELETE_ROWS = "DELETE FROM backfill.symbol_currencies WHERE symbol_id = %(id)s"
_INSERT_ROW = """
INSERT INTO backfill.symbol_currencies (symbol_id, valid_from, currency, price_unit, source, recorded_at)
VALUES (%(id)s, coalesce(%(valid_from)s::date, '-infinity'), %(currency)s, %(unit)s, %(source)s, %(recorded_at)s)
ON CONFLICT (symbol_id, valid_from) DO UPDATE SET
    currency = EXCLUDED.currency, price_unit = EXCLUDED.price_unit, source = EXCLUDED.source,
    recorded_at = EXCLUDED.recorded_at
"""


@dataclass(frozen=True, slots=True)
class PriceUnit:
    """What the newest prices of a symbol count.

    Attributes:
        price_unit: such as GBX; the code of the currency where prices count it.
        currency: such as GBP.
        valid_from: the session day from which on; None: all prices, as far as is known.
        source: what it rests on, in words; None: it is usual at the exchange.
    """

    price_unit: str
    currency: str
    valid_from: date | None = None
    source: str | None = None

    def __str__(self) -> str:
        currency = "" if self.price_unit == self.currency else f" (a hundredth of {self.currency})"
        begin = f" from {self.valid_from} on" if self.valid_from else ""
        return f"{self.price_unit}{currency}{begin}: {self.source or 'usual at the exchange'}"


@dataclass(frozen=True, slots=True)
class SymbolUnit:
    """What a symbol's prices count from a session on.

    Attributes:
        symbol: the ticker, as ``VOD.LSE``.
        currency: ISO code; None: that of the exchange.
        price_unit: such as GBX for pence; None: that of the exchange.
        valid_from: the first session date; None: from the beginning.
    """

    symbol: str
    currency: str | None
    price_unit: str | None
    valid_from: date | None


def read_price_units(connection: Connection, symbol_ids: Collection[int]) -> dict[int, PriceUnit]:
    """What the newest prices of symbols count, by symbol_id."""
    rows = connection.execute(_SELECT_UNITS, {"ids": sorted(symbol_ids)})
    return {
        key: PriceUnit(unit, currency or get_currency(unit), valid_from, source)
        for key, unit, currency, valid_from, source in rows
        if unit is not None
    }


def read_symbol_units(
    connection: Connection, symbols: Sequence[Symbol], first: date, last: date
) -> tuple[SymbolUnit, ...]:
    """What is recorded of symbols for sessions from ``first`` to ``last``, by symbol_id and day."""
    names = {symbol.symbol_id: str(symbol.ticker) for symbol in symbols}
    rows = connection.execute(_SELECT_VALID, {"ids": sorted(names), "until": last}).fetchall()
    found: list[SymbolUnit] = []
    for symbol_id, of_symbol in groupby(rows, key=lambda row: row[0]):
        units = [
            SymbolUnit(names[symbol_id], currency, unit, valid_from) for _, valid_from, currency, unit in of_symbol
        ]
        before = [unit for unit in units if unit.valid_from is None or unit.valid_from <= first]
        found += units[max(0, len(before) - 1) :]
    return tuple(found)


def record_listed_units(connection: Connection, units: Mapping[int, str], source: str, day: date, now: datetime) -> int:
    """Record what the vendor's list says (symbol_id → unit), as seen on the session date ``day``.

    Returns:
        How many are new or have changed.
    """
    values = {
        "ids": list(units),
        "currencies": [get_currency(unit) for unit in units.values()],
        "units": list(units.values()),
        "source": source,
        "day": day,
        "now": now,
    }
    return connection.execute(_RECORD_LISTED, values).rowcount if units else 0


def change_unit(
    connection: Connection, symbol_id: int, day: date, old_unit: str, new_unit: str, source: str, now: datetime
) -> list[dict[str, Any]]:
    """Record that prices count ``new_unit`` from ``day`` on, and ``old_unit`` before, also if another unit is recorded.

    What a list says of the time before it was read is only assumed; the jump was seen.

    Returns:
        What there was before, as JSON values for ``restore_units``.
    """
    before = _list_rows(connection, symbol_id)
    held = [row for row in before if row["valid_from"] is None or date.fromisoformat(row["valid_from"]) < day]
    if not held or held[-1]["unit"] != old_unit:
        begin = held[-1]["valid_from"] if held else None
        _insert(connection, symbol_id, begin and date.fromisoformat(begin), old_unit, source, now)
    _insert(connection, symbol_id, day, new_unit, source, now)
    return before


def restore_units(connection: Connection, symbol_id: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Undo ``change_unit``."""
    connection.execute(_DELETE_ROWS, {"id": symbol_id})
    for row in rows:
        connection.execute(_INSERT_ROW, {"id": symbol_id, **row})


def list_units(connection: Connection, symbol_id: int) -> list[tuple[date | None, str]]:
    """What a symbol's prices count from which session day on (None: the beginning), as recorded, the oldest first."""
    rows = _list_rows(connection, symbol_id)
    return [(row["valid_from"] and date.fromisoformat(row["valid_from"]), row["unit"]) for row in rows]


def _list_rows(connection: Connection, symbol_id: int) -> list[dict[str, Any]]:
    return [
        {
            "valid_from": valid_from and valid_from.isoformat(),
            "currency": currency,
            "unit": unit,
            "source": source,
            "recorded_at": recorded_at.isoformat(),
        }
        for valid_from, currency, unit, source, recorded_at in connection.execute(_SELECT_ROWS, {"id": symbol_id})
    ]


def _insert(
    connection: Connection, symbol_id: int, valid_from: date | None, unit: str, source: str, now: datetime
) -> None:
    values = {"valid_from": valid_from, "currency": get_currency(unit), "unit": unit, "source": source}
    connection.execute(_INSERT_ROW, {"id": symbol_id, **values, "recorded_at": now})
