"""Reads the vendor's daily rows as series of prices and volumes as traded, one cell for each symbol and session.

The vendor adjusts its daily prices for spin-offs and its daily volumes for splits until a row is read (docs/vendor.md
§5.4); here that is undone. What a cell means for a reader is decided in ``reading.daily``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from backfill_assets.market.actions.splits import undo_splits
from backfill_assets.market.arrays import Bools, Floats, Int64
from backfill_assets.market.calendar.sessions import Session
from backfill_assets.market.daily_prices import SETTLED_AFTER
from backfill_assets.market.exchanges.profile import DailyEvidence
from backfill_assets.market.vendor import DateArray
from backfill_assets.store.actions.splits import read_splits
from backfill_assets.store.evidence.known_lives import KNOWN_LIVES
from backfill_assets.store.exchanges import get_zone_name
from backfill_assets.store.postgres.array_reader import read_columns
from backfill_assets.store.postgres.connection import Connection

# A request covers a day if it was answered when the day's row was settled, whether it had a row or not.
_SELECT_CELLS = f"""
SELECT t.id AS symbol_id, s.position - 1 AS session, coalesce(p.open_price, 'NaN') AS open,
       coalesce(p.high_price, 'NaN') AS high, coalesce(p.low_price, 'NaN') AS low,
       coalesce(p.close_price, 'NaN') AS close, coalesce(p.adjusted_close, 'NaN') AS adjusted_close,
       coalesce(p.fractional_volume, CASE WHEN p.read_at IS NULL THEN nullif(p.volume, 0) ELSE p.reported_volume END,
                'NaN') AS volume,
       coalesce(extract(epoch FROM p.read_at)::float8, 'NaN') AS read_at,
       coalesce((p.read_at AT TIME ZONE %(zone)s)::date, '1970-01-01') - date '1970-01-01' AS read_day,
       p.symbol_id IS NOT NULL AND p.no_row_reason IS NULL AS has_row,
       (%(absence_tells)s AND p.no_row_reason IS NOT NULL) OR (
           %(volume_tells)s AND p.no_row_reason IS NULL AND p.volume = 0
           AND (p.reported_volume = 0 OR p.read_at IS NULL)) IS TRUE AS is_without_trade,
       coalesce(p.read_at >= w.settled_at, false) AS is_settled,
       coalesce(r.read_from <= s.day AND r.answered_at >= w.settled_at, false) AS is_answered,
       coalesce((l.first_day IS NULL OR s.day >= l.first_day)
                AND (NOT l.has_ended OR l.last_day IS NULL OR s.day <= l.last_day), true) AS is_listed
FROM unnest(%(ids)s::int[]) AS t (id)
CROSS JOIN unnest(%(days)s::date[], %(closes)s::timestamptz[]) WITH ORDINALITY AS s (day, session_close, position)
CROSS JOIN LATERAL (SELECT s.session_close + %(settled_after)s AS settled_at) w
LEFT JOIN backfill.daily_prices p ON p.symbol_id = t.id AND p.day = s.day
LEFT JOIN backfill.daily_reads r ON r.symbol_id = t.id
LEFT JOIN {KNOWN_LIVES} l ON l.symbol_id = t.id
ORDER BY t.id, s.position
"""  # noqa: S608 - only a constant is inserted
_NUMBERS = ("open", "high", "low", "close", "adjusted_close", "volume", "read_at")
_FLAGS = ("has_row", "is_without_trade", "is_settled", "is_answered", "is_listed")
_COLUMN_TYPES = {
    **{"symbol_id": ">i4", "session": ">i8", "read_day": ">i4"},
    **dict.fromkeys(_NUMBERS, ">f8"),
    **dict.fromkeys(_FLAGS, ">i1"),
}
# The spin-offs of the instruments that a ticker named, on whatever ticker they are recorded, and the days on which it
# named each. A ticker without listings is one instrument on all days.
_SELECT_SPINOFFS = """
WITH life AS (
    SELECT symbol_id, instrument_id, listed_from, listed_until FROM backfill.listings WHERE withdrawn_at IS NULL
)
SELECT DISTINCT ON (o.id, o.first_day, a.ex_date) o.id, o.first_day, o.last_day, a.ex_date, a.factor
FROM (SELECT symbol_id AS id, instrument_id, coalesce(listed_from, date '0001-01-01') AS first_day,
             coalesce(listed_until, date '9999-12-31') AS last_day
      FROM life WHERE symbol_id = ANY (%(ids)s::int[])
      UNION ALL
      SELECT t.id, NULL, date '0001-01-01', date '9999-12-31' FROM unnest(%(ids)s::int[]) AS t (id)
      WHERE NOT EXISTS (SELECT FROM life WHERE symbol_id = t.id)) o
JOIN backfill.spinoffs a ON a.withdrawn_at IS NULL AND a.ex_date > o.first_day AND CASE
    WHEN o.instrument_id IS NULL THEN a.symbol_id = o.id
    ELSE EXISTS (SELECT FROM life m WHERE m.instrument_id = o.instrument_id AND m.symbol_id = a.symbol_id
                 AND coalesce(m.listed_until, 'infinity') >= a.ex_date) END
ORDER BY o.id, o.first_day, a.ex_date, a.symbol_id
"""


@dataclass(frozen=True, eq=False)
class DailySeries:
    """Daily figures of some symbols in some sessions; arrays of the shape (symbols, sessions).

    Attributes:
        symbol_ids: the symbols.
        open: as traded on the day, like ``high``, ``low`` and ``close``; NaN where the vendor gave none.
        volume: shares of the day itself; NaN where it is unknown, or where the splits that the vendor adjusted it for
            are.
        read_at: when the row was last read, epoch seconds UTC; NaN if that is not known, or without a row.
        has_row: whether a row of the vendor's is stored.
        is_without_trade: whether it is known that nothing traded on the day.
        is_settled: whether the row was read when the vendor does not change it without a reason any more.
        is_answered: whether the vendor was asked for the day when its row had to be settled.
        is_listed: whether the session lies in the symbol's listing life, as far as that is known.
        is_unclear: whether it is not known if the prices are adjusted for a spin-off, and so not as traded.
    """

    symbol_ids: tuple[int, ...]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    read_at: Floats
    has_row: Bools
    is_without_trade: Bools
    is_settled: Bools
    is_answered: Bools
    is_listed: Bools
    is_unclear: Bools

    def select(self, rows: Sequence[int]) -> "DailySeries":
        """Some of the symbols, by their positions, in this order."""
        arrays = {one.name: getattr(self, one.name)[list(rows)] for one in fields(self) if one.name != "symbol_ids"}
        return DailySeries(symbol_ids=tuple(self.symbol_ids[row] for row in rows), **arrays)


def read_daily_series(connection: Connection, symbol_ids: Sequence[int], sessions: Sequence[Session]) -> DailySeries:
    """The stored daily rows as they were traded, whatever their state; five statements.

    Args:
        connection: with a transaction open.
        symbol_ids: in the order of the result; 60 bytes for each of them and each session must fit into memory.
        sessions: oldest first.
    """
    ids = sorted(symbol_ids)
    values = {
        "ids": ids,
        "days": [session.day for session in sessions],
        "closes": [session.close for session in sessions],
        "settled_after": SETTLED_AFTER,
        "volume_tells": all(session.market.daily_volume_tells for session in sessions[:1]),
        "absence_tells": all(session.market.daily_evidence is DailyEvidence.VOLUME for session in sessions[:1]),
        "zone": get_zone_name(sessions),
    }
    cells = read_columns(connection, _SELECT_CELLS, values, _COLUMN_TYPES)
    symbol_id = cells["symbol_id"].astype(np.int64)
    day = np.array(values["days"], "datetime64[D]")[cells["session"]]
    read_day = cells["read_day"].astype("datetime64[D]")
    divisor, is_unclear = _find_spinoff_divisors(connection, ids, symbol_id, day, read_day, cells["read_at"])
    shape = (len(ids), len(sessions))
    prices: dict[str, Any] = {name: (cells[name] / divisor).reshape(shape) for name in ("open", "high", "low", "close")}
    flags: dict[str, Any] = {name: cells[name].astype(bool).reshape(shape) for name in _FLAGS}
    series = DailySeries(
        symbol_ids=tuple(ids),
        **prices,
        volume=_undo_splits(connection, ids, symbol_id, day, cells, ZoneInfo(get_zone_name(sessions))).reshape(shape),
        read_at=cells["read_at"].reshape(shape),
        **flags,
        is_unclear=(is_unclear & cells["has_row"].astype(bool)).reshape(shape),
    )
    position = {symbol_id: row for row, symbol_id in enumerate(ids)}
    return series.select([position[symbol_id] for symbol_id in symbol_ids])


def _undo_splits(
    connection: Connection,
    ids: Sequence[int],
    symbol_id: Int64,
    day: DateArray,
    cells: dict[str, Floats],
    zone: ZoneInfo,
) -> Floats:
    read_stamps = np.where(np.isnan(cells["read_at"]), 0.0, cells["read_at"]).astype(np.int64)
    with np.errstate(over="ignore", under="ignore"):
        adjustment = cells["adjusted_close"] / cells["close"]
    splits = read_splits(connection, ids)
    return undo_splits(cells["volume"], splits, symbol_id, day, read_stamps, adjustment, zone)


def _find_spinoff_divisors(
    connection: Connection, ids: Sequence[int], symbol_id: Int64, day: DateArray, read_day: DateArray, read_at: Floats
) -> tuple[Floats, Bools]:
    """By what each row's prices were multiplied, and where that is unclear: read on the ex-date, or not known when."""
    divisor, is_unclear = np.ones(len(day)), np.zeros(len(day), bool)
    for own, first, last, ex_date, factor in _list_spinoffs(connection, ids):
        lines = slice(*np.searchsorted(symbol_id, [own, own + 1]).tolist())
        is_before = (day[lines] >= np.datetime64(first)) & (day[lines] <= np.datetime64(last))
        is_before &= day[lines] < np.datetime64(ex_date)
        is_unclear[lines] |= is_before & ((read_day[lines] == np.datetime64(ex_date)) | np.isnan(read_at[lines]))
        divisor[lines][is_before & (read_day[lines] > np.datetime64(ex_date))] *= factor
    return divisor, is_unclear


def _list_spinoffs(connection: Connection, ids: Sequence[int]) -> Iterator[tuple[int, date, date, date, float]]:
    """Symbol, first and last day of a life, ex-date and factor."""
    yield from connection.execute(_SELECT_SPINOFFS, {"ids": list(ids)}).fetchall()
