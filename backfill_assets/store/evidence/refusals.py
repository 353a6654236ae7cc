"""Refusals: bars of the vendor that ``market_data`` refused, kept in ``backfill.rejects`` with the database's words.

A refusal is open until its slot is stored or another program has stored it. It is no source row, so it is never a
current reject (``store.bars.rejects``). How refused bars are found is in
``store.bars.refused_bars``.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.slots import SlotGrid
from backfill_assets.market.columns import Columns
from backfill_assets.store.bars.refused_bars import RefusedBar, drop_refused, is_refused
from backfill_assets.store.bars.symbol_index import SymbolIndex
from backfill_assets.store.postgres.array_reader import read_columns, to_whole_unix_seconds
from backfill_assets.store.postgres.connection import Connection

_UPSERT_REFUSALS = """
INSERT INTO backfill.rejects (symbol_id, source_interval, timestamp, reason, open_price, high_price, low_price,
                              close_price, volume, interval_type, refused_by, message, superseded_at)
SELECT id, %(source)s, to_timestamp(stamp), 'refused_by_table', o, h, l, c, v, %(interval)s, refused_by, message,
       clock_timestamp()
FROM unnest(%(ids)s::int[], %(stamps)s::bigint[], %(open)s::float8[], %(high)s::float8[], %(low)s::float8[],
            %(close)s::float8[], %(volume)s::float8[], %(refused_by)s::text[], %(messages)s::text[])
       AS t (id, stamp, o, h, l, c, v, refused_by, message)
ON CONFLICT (symbol_id, source_interval, timestamp, reason, open_price, high_price, low_price, close_price, volume)
DO UPDATE SET last_seen = EXCLUDED.last_seen, interval_type = EXCLUDED.interval_type,
    refused_by = EXCLUDED.refused_by, message = EXCLUDED.message, resolved_at = NULL
"""
_IS_OPEN = "r.reason = 'refused_by_table' AND r.resolved_at IS NULL"
_SELECT_OPEN_SLOTS = f"""
SELECT symbol_id, timestamp AS stamp FROM backfill.rejects r
WHERE {_IS_OPEN} AND interval_type = %(interval)s AND timestamp BETWEEN %(first)s AND %(last)s
"""  # noqa: S608 - only constants are inserted
_SLOT_TYPES = {"symbol_id": ">i4", "stamp": ">i8"}
_RESOLVE_REFUSALS = f"""
UPDATE backfill.rejects r SET resolved_at = clock_timestamp()
FROM unnest(%(ids)s::int[], %(stamps)s::bigint[]) AS t (id, stamp)
WHERE {_IS_OPEN} AND r.interval_type = %(interval)s AND r.symbol_id = t.id AND r.timestamp = to_timestamp(t.stamp)
  AND EXISTS (SELECT FROM market_data m WHERE m.symbol_id = r.symbol_id AND m.timestamp = r.timestamp
              AND m.interval_type = ANY (%(spellings)s))
"""  # noqa: S608 - only constants are inserted
_SELECT_STILL_OPEN = f"""
SELECT DISTINCT t.id, t.stamp
FROM backfill.rejects r JOIN unnest(%(ids)s::int[], %(stamps)s::bigint[]) AS t (id, stamp)
     ON r.symbol_id = t.id AND r.timestamp = to_timestamp(t.stamp)
WHERE {_IS_OPEN} AND r.interval_type = %(interval)s
"""  # noqa: S608 - only constants are inserted
_HAS_OPEN = f"SELECT EXISTS (SELECT FROM backfill.rejects r WHERE {_IS_OPEN})"  # noqa: S608
_SELECT_MESSAGES = f"""
SELECT timestamp, message FROM backfill.rejects r
WHERE {_IS_OPEN} AND symbol_id = %(symbol_id)s AND interval_type = %(interval)s
  AND timestamp BETWEEN %(first)s AND %(last)s ORDER BY last_seen
"""  # noqa: S608 - only constants are inserted
_SELECT_SUMMARIES = f"""
SELECT r.refused_by, count(DISTINCT (r.symbol_id, r.interval_type, r.timestamp)), count(DISTINCT r.symbol_id),
       (array_agg(s.symbol || '.' || s.exchange ORDER BY r.timestamp, s.symbol))[1], min(r.timestamp),
       (array_agg(r.message ORDER BY r.timestamp, s.symbol))[1]
FROM backfill.rejects r JOIN market_symbols s USING (symbol_id)
WHERE {_IS_OPEN} AND coalesce(s.is_active, true) AND NOT EXISTS (
    SELECT FROM market_data m WHERE m.symbol_id = r.symbol_id AND m.timestamp = r.timestamp AND m.source IS NULL
       AND (m.interval_type = r.interval_type
            OR r.interval_type = %(interval)s AND m.interval_type = ANY (%(spellings)s)))
GROUP BY r.refused_by ORDER BY 2 DESC, 1
"""  # noqa: S608 - only constants are inserted


@dataclass(frozen=True, slots=True)
class RefusalSummary:
    """Open refusals with one reason, of active symbols.

    Attributes:
        refused_by: the constraint, the function of a trigger, or what the database calls the fault.
        bars: how many bars.
        tickers: of how many tickers.
        first_ticker: the ticker of the oldest of them.
        first_slot: start of the slot of the oldest of them, UTC.
        message: the words of the database about it.
    """

    refused_by: str
    bars: int
    tickers: int
    first_ticker: str
    first_slot: datetime
    message: str


def record_refusals(
    connection: Connection, bars: Columns, refused: Sequence[RefusedBar], *, interval: Interval, source: Interval
) -> Set[tuple[int, int]]:
    """Store which bars of an answer were refused, and resolve earlier refusals of its bars that are stored now.

    An answer also holds bars before the window, which are not written; their refusals stay open.

    Args:
        connection: with a transaction open.
        bars: all bars of the answer, with ``symbol_id``, ``timestamp``, prices and volume.
        refused: those that ``market_data`` refused.
        interval: of the bars.
        source: the interval of the source rows.

    Returns:
        The bars of the answer with an open refusal: symbol_id, and start of the slot in epoch seconds UTC.
    """
    keys = {(bar.symbol_id, bar.timestamp): bar for bar in refused}
    still_open: list[tuple[int, int]] = []
    has_open = connection.execute(_HAS_OPEN).fetchall()[0][0]
    if not keys and not has_open:
        return set()
    if has_open:
        accepted = drop_refused(bars, refused)
        values = {
            "ids": accepted["symbol_id"].tolist(),
            "stamps": accepted["timestamp"].tolist(),
            "interval": interval.name,
            "spellings": list(interval.spellings),
        }
        connection.execute(_RESOLVE_REFUSALS, values)
        still_open = connection.execute(_SELECT_STILL_OPEN, values).fetchall()
    if not keys:
        return {*still_open}
    table = bars.take(is_refused(bars, refused))
    slots = zip(table["symbol_id"].tolist(), table["timestamp"].tolist(), strict=True)
    ordered = [keys[slot] for slot in slots]
    connection.execute(
        _UPSERT_REFUSALS,
        {
            "source": source.name,
            "interval": interval.name,
            "ids": table["symbol_id"].tolist(),
            "stamps": table["timestamp"].tolist(),
            **{name: table[name].tolist() for name in ("open", "high", "low", "close")},
            "volume": [None if volume != volume else volume for volume in table["volume"].tolist()],
            "refused_by": [bar.refused_by for bar in ordered],
            "messages": [bar.describe() for bar in ordered],
        },
    )
    return {*still_open, *keys}


def read_refused_slots(connection: Connection, symbol_index: SymbolIndex, grid: SlotGrid) -> Int64:
    """The slots of ``grid`` with an open refusal, as slot keys."""
    values = {"interval": grid.interval.name, "first": grid.first_start, "last": grid.last_start}
    found = read_columns(connection, _SELECT_OPEN_SLOTS, values, _SLOT_TYPES)
    ordinal = grid.find_ordinals(to_whole_unix_seconds(found["stamp"]))
    row = symbol_index.find_rows(found["symbol_id"])
    return grid.get_slot_keys(row, ordinal)[(ordinal >= 0) & (row >= 0)]


def read_refusal_messages(
    connection: Connection, symbol_id: int, interval: Interval, first: datetime, last: datetime
) -> Mapping[datetime, str]:
    """By start of the slot (UTC), the words with which its bar was refused; open refusals only."""
    values = {"symbol_id": symbol_id, "interval": interval.name, "first": first, "last": last}
    return {at.astimezone(UTC): message for at, message in connection.execute(_SELECT_MESSAGES, values)}


def summarize_refusals(connection: Connection, interval: Interval) -> Collection[RefusalSummary]:
    """The open refusals of active symbols, by reason; the most frequent first.

    ``interval`` says how the table spells its own name; slots that another program has filled are left out.
    """
    values = {"interval": interval.name, "spellings": list(interval.spellings)}
    rows = connection.execute(_SELECT_SUMMARIES, values).fetchall()
    return [
        RefusalSummary(refused_by, bars, tickers, ticker, slot.astimezone(UTC), message)
        for refused_by, bars, tickers, ticker, slot, message in rows
    ]
