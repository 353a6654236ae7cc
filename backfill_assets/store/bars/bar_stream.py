"""Reads the bars of many symbols out of ``market_data`` as numpy arrays, a batch of symbols at a time.

The server sends one row for each symbol, with a binary array for each column (docs/decisions/0057-driver-of-reads.md).
What a read makes of the bars is in ``bar_table``.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Int64
from backfill_assets.market.calendar.intervals import Interval
from backfill_assets.market.calendar.timestamps import to_datetime
from backfill_assets.store.bars.stored_values import select_volume
from backfill_assets.store.postgres.array_reader import POSTGRES_EPOCH
from backfill_assets.store.postgres.connection import Connection

PRICES = ("open", "high", "low", "close")
BATCH_BARS = 100_000  # some 10 MB; a symbol with more is a batch of its own
NO_VOLUME = np.iinfo(np.int64).min  # of a bar whose volume is not known
NEVER = np.iinfo(np.int64).min  # '-infinity', a moment that is not known
_ARRAY_HEADER_BYTES = 20  # dimensions, nulls, type, length, lower bound (4 bytes each)
_ELEMENT_BYTES = 12  # length and value
_MICROSECONDS = 1_000_000
# In the lowest bits of a tag. Above them are the source rows, then the hash of where the bar comes from.
IS_OWN, IS_PROVISIONAL, IS_MAIN_SPELLING = 1, 2, 4
ROWS_SHIFT, ROWS_MASK, HASH_SHIFT = 4, 32_767, 20

# For the few pages of one symbol, a bitmap scan takes six times as long, and JIT compilation longer than the query.
_FORCE_INDEX_SCANS = """
SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off; SET LOCAL random_page_cost = 1.1
"""
_SELECT_VOLUME_KIND = """
SELECT CASE WHEN atttypid IN ('pg_catalog.int2'::regtype, 'pg_catalog.int4'::regtype, 'pg_catalog.int8'::regtype)
            THEN 'integer'
            WHEN atttypid = 'pg_catalog.numeric'::regtype AND atttypmod >= 4
                 AND (((atttypmod - 4) & 2047) # 1024) - 1024 <= 0 AND (atttypmod - 4) >> 16 <= 18
            THEN 'whole numbers' ELSE 'other' END
FROM pg_attribute WHERE attrelid = to_regclass('market_data') AND attname = 'volume'
"""
# Kind of the column, which another program may have declared → expression, and type of its binary form.
_VOLUMES = {
    "integer": (f"coalesce({{volume}}::bigint, {NO_VOLUME})", ">i8"),
    "whole numbers": (f"coalesce(nullif({{volume}}, 'NaN')::bigint, {NO_VOLUME})", ">i8"),
    "other": ("coalesce({volume}::float8, 'NaN')", ">f8"),
}
_TABLE, _FUNCTION = "market_data", "backfill.bars_known_at(%(known_at)s)"
_ORIGIN = """
hashtextextended(d.source::text, 0) # coalesce(hashtextextended(d.source_interval::text, 1), 0)
"""
_TAG = f"""
CASE WHEN d.source IS NULL THEN 0
     ELSE (({_ORIGIN}) >> {HASH_SHIFT} << {HASH_SHIFT}) | (coalesce(d.source_rows, 0)::bigint << {ROWS_SHIFT})
          | CASE WHEN d.is_final IS FALSE THEN {IS_OWN | IS_PROVISIONAL} ELSE {IS_OWN} END END
| CASE WHEN d.interval_type = %(spelling)s THEN {IS_MAIN_SPELLING} ELSE 0 END
"""  # |, << and >> have one precedence
_IS_CHOSEN = """
d.interval_type = ANY (%(spellings)s) AND d."timestamp" >= %(first)s AND d."timestamp" <= %(last)s
"""
_SELECT_BARS = """
SELECT u.row - 1, b.* FROM unnest(%(ids)s::int[]) WITH ORDINALITY AS u (symbol_id, row)
CROSS JOIN LATERAL (
    SELECT {aggregates} FROM (
        SELECT {expressions} FROM {bars} d WHERE d.symbol_id = u.symbol_id AND {is_chosen}
    ) x
) b
"""
_SELECT_ORIGIN = """
SELECT d.source::text, d.source_interval::text FROM {bars} d
WHERE d.symbol_id = %(symbol_id)s AND d."timestamp" = %(stamp)s
  AND d.interval_type = ANY (%(spellings)s) AND d.source IS NOT NULL AND ({origin}) >> {shift} = %(hash)s LIMIT 1
"""


@dataclass(frozen=True, eq=False)
class BarQuery:
    """Which bars are read.

    Attributes:
        symbol_ids: whose.
        interval: under any of its spellings.
        slots: epoch seconds of the slot starts of the range, ascending; other bars of the range are read, too.
        known_at: the moment at which the table held the bars; None: now.
        with_others: with ``known_at``: also bars of other programs as they are now, of which no such moment is known.
        values: prices and volume, those that are needed.
        has_moments: whether it is needed when each bar was written.
    """

    symbol_ids: Sequence[int]
    interval: Interval
    slots: Int64
    known_at: datetime | None
    with_others: bool
    values: Collection[str]
    has_moments: bool

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to read."""
        return not len(self.symbol_ids) or not len(self.slots)

    @property
    def parameters(self) -> dict[str, Any]:
        """What the statements take; the query must not be empty."""
        return {
            "ids": "{" + ",".join(map(str, self.symbol_ids)) + "}",
            "spellings": list(self.interval.spellings),
            "spelling": self.interval.spellings[0],
            "first": to_datetime(int(self.slots[0])),
            "last": to_datetime(int(self.slots[-1])),
            "known_at": self.known_at,
        }

    def split(self) -> tuple["BarQuery", "BarQuery"]:
        """The same query for the first half of the symbols, and for the others."""
        half = len(self.symbol_ids) // 2
        return replace(self, symbol_ids=self.symbol_ids[:half]), replace(self, symbol_ids=self.symbol_ids[half:])

    @property
    def bars(self) -> str:
        """What the bars are selected from."""
        if self.known_at is None:
            return _TABLE
        return "backfill.bars_known_at(%(known_at)s, true)" if self.with_others else _FUNCTION


@dataclass(frozen=True, eq=False)
class BarBatch:
    """Bars of some symbols as they are stored; the symbols in order, each one's bars in any order. Parallel arrays.

    Attributes:
        row: position in ``BarQuery.symbol_ids``.
        stamp: microseconds since 2000, UTC.
        tag: what is said of the bar in bits, see the constants above.
        values: column → prices (NaN for null) and the volume (``NO_VOLUME`` or NaN for null).
        written: microseconds since 2000 at which the bar became as it is, ``NEVER`` if unknown; None if not asked for.
    """

    row: Int64
    stamp: Int64
    tag: Int64
    values: Mapping[str, NDArray[Any]]
    written: Int64 | None

    def select(self, chosen: Int64) -> "BarBatch":
        """The bars at some positions, in their order."""
        values = {name: column[chosen] for name, column in self.values.items()}
        written = None if self.written is None else self.written[chosen]
        return BarBatch(self.row[chosen], self.stamp[chosen], self.tag[chosen], values, written)


def stream_bars(connection: Connection, query: BarQuery) -> Iterator[BarBatch]:
    """The bars, in batches; nothing else can use the connection until the last one.

    Changes planner settings of the transaction.
    """
    if query.is_empty:
        return
    expressions = _build_expressions(connection, query)
    connection.execute(_FORCE_INDEX_SCANS)
    statement = _SELECT_BARS.format(
        aggregates=", ".join(f"array_send(array_agg(x.{name}))" for name in expressions),
        expressions=", ".join(f"{expression} AS {name}" for name, (expression, _) in expressions.items()),
        bars=query.bars,
        is_chosen=_IS_CHOSEN,
    )
    types = {name: code for name, (_, code) in expressions.items()}
    rows: list[tuple[Any, ...]] = []
    size = 0
    for row in connection.cursor(binary=True).stream(statement.encode(), query.parameters, binary=True):
        if row[1] is None:
            continue
        rows.append(row)
        size += len(row[1])
        if size >= BATCH_BARS * _ELEMENT_BYTES:
            yield _decode(rows, types)
            rows, size = [], 0
    if rows:
        yield _decode(rows, types)


def stream_side_by_side(connection: Connection, second: Connection, query: BarQuery) -> Iterator[BarBatch]:
    """The same batches over two connections with one snapshot, each for half of the symbols.

    The second half waits in memory, in place of the columns that it will be copied to.
    """
    of_first, of_second = query.split()
    with ThreadPoolExecutor(max_workers=1) as thread:
        later = thread.submit(lambda: list(stream_bars(second, of_second)))
        yield from stream_bars(connection, of_first)
        batches = later.result()
    batches.reverse()
    while batches:
        batch = batches.pop()
        yield replace(batch, row=batch.row + len(of_first.symbol_ids))


def read_origin(
    connection: Connection, query: BarQuery, symbol_id: int, stamp: int, origin: int
) -> tuple[str, str | None]:
    """The source and the source interval of the bars whose tags have the hash ``origin``; one is at ``stamp``."""
    statement = _SELECT_ORIGIN.format(bars=query.bars, origin=_ORIGIN, shift=HASH_SHIFT)
    values = {**query.parameters, "symbol_id": symbol_id, "hash": origin}
    values["stamp"] = from_postgres_moment(stamp)
    ((source, source_interval),) = connection.execute(statement.encode(), values).fetchall()
    return source, source_interval


def decode_array(payload: bytes, code: str) -> NDArray[Any]:
    """A binary array of the server, whose elements have eight bytes each and are not null."""
    return _decode_elements(memoryview(payload)[_ARRAY_HEADER_BYTES:], code)


def to_moments(stamps: Int64) -> NDArray[np.datetime64]:
    """Microseconds since 2000 as ``datetime64[us]``, NaT for ``NEVER``."""
    moments = stamps + POSTGRES_EPOCH * _MICROSECONDS
    moments[stamps == NEVER] = NEVER  # numpy's NaT is the same number
    return moments.view("datetime64[us]")


def to_postgres_moments(seconds: Int64) -> Int64:
    """Epoch seconds as microseconds since 2000."""
    moments: Int64 = (seconds - POSTGRES_EPOCH) * _MICROSECONDS
    return moments


def from_postgres_moment(stamp: int) -> datetime:
    """Microseconds since 2000 as an aware datetime in UTC; they must be whole seconds, as slot starts are."""
    return to_datetime(stamp // _MICROSECONDS + POSTGRES_EPOCH)


def read_volume_type(connection: Connection) -> np.dtype[Any]:
    """The type of the volumes of ``stream_bars``, also if there are none."""
    return np.dtype(_VOLUMES[_read_volume_kind(connection)][1]).newbyteorder("=")


def _read_volume_kind(connection: Connection) -> str:
    ((kind,),) = connection.execute(_SELECT_VOLUME_KIND).fetchall()
    return str(kind)


def _build_expressions(connection: Connection, query: BarQuery) -> dict[str, tuple[str, str]]:
    """Column → its expression and the type of its elements in the server's binary form."""
    moment = "known_from" if query.known_at else "fetched_at"
    expressions = {"stamp": ('d."timestamp"', ">i8"), "tag": (_TAG, ">i8")}
    for name in PRICES:
        if name in query.values:
            expressions[name] = (f"coalesce(d.{name}_price::float8, 'NaN')", ">f8")
    if "volume" in query.values:
        # Versions have null where a volume was not known.
        volume = f"({select_volume('d')})" if query.known_at is None else "d.volume"
        expression, code = _VOLUMES[_read_volume_kind(connection)]
        expressions["volume"] = (expression.format(volume=volume), code)
    if query.has_moments:
        expressions["written"] = (f"coalesce(d.{moment}, '-infinity')", ">i8")
    return expressions


def _decode(rows: Sequence[tuple[Any, ...]], types: Mapping[str, str]) -> BarBatch:
    counts = [(len(row[1]) - _ARRAY_HEADER_BYTES) // _ELEMENT_BYTES for row in rows]
    columns = {name: _decode_column(rows, place, code) for place, (name, code) in enumerate(types.items(), 1)}
    return BarBatch(
        row=np.repeat(np.array([row[0] for row in rows], np.int64), counts),
        stamp=columns.pop("stamp"),
        tag=columns.pop("tag"),
        written=columns.pop("written", None),
        values=columns,
    )


def _decode_column(rows: Sequence[tuple[Any, ...]], place: int, code: str) -> NDArray[Any]:
    """One column of all rows; every element has eight bytes after its length."""
    return _decode_elements(b"".join([memoryview(row[place])[_ARRAY_HEADER_BYTES:] for row in rows]), code)


def _decode_elements(payload: bytes | memoryview, code: str) -> NDArray[Any]:
    elements = np.frombuffer(payload, np.dtype([("size", ">i4"), ("value", code)]))
    return elements["value"].astype(code[1:])
