"""From columns to the vendor's JSON and CSV, quickly: no dict per row."""

from collections import OrderedDict
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec
import numpy as np

from backfill_assets.sandbox.wire.rows import IntradayColumns
from backfill_assets.sandbox.world.random_draws import Float64

JsonNumber: TypeAlias = float | int | None

_encoder = msgspec.json.Encoder()


class IntradayRow(msgspec.Struct):
    """A row of ``/intraday``."""

    timestamp: int
    gmtoffset: int
    datetime: str
    open: JsonNumber
    high: JsonNumber
    low: JsonNumber
    close: JsonNumber
    volume: int | None


class SplitDateRow(msgspec.Struct):
    """A row of ``/intraday`` with ``split-dt=1``."""

    timestamp: int
    gmtoffset: int
    date: str
    time: str
    open: JsonNumber
    high: JsonNumber
    low: JsonNumber
    close: JsonNumber
    volume: int | None


def build_intraday_rows(rows: IntradayColumns, whole_prices_as_int: bool) -> list[IntradayRow]:
    """One object per row; NaN and the absent volume become None."""
    timestamps = rows.timestamps.tolist()
    prices = [to_json_numbers(column, whole_prices_as_int) for column in rows.prices]
    volumes: list[int | None] = rows.volumes.tolist()
    for index in np.flatnonzero(rows.volumes < 0).tolist():
        volumes[index] = None
    return list(
        map(IntradayRow, timestamps, [0] * len(timestamps), map(format_timestamp, timestamps), *prices, volumes)
    )


def split_datetimes(rows: list[IntradayRow]) -> list[SplitDateRow]:
    """The same rows with date and time apart."""
    return [
        SplitDateRow(b.timestamp, 0, b.datetime[:10], b.datetime[11:], b.open, b.high, b.low, b.close, b.volume)
        for b in rows
    ]


def to_json_numbers(column: Float64, whole_prices_as_int: bool) -> list[JsonNumber]:
    """Python numbers, NaN as None; whole ones as int if wanted (the vendor's 238, not 238.0)."""
    values: list[JsonNumber] = column.tolist()
    for index in np.flatnonzero(np.isnan(column)).tolist():
        values[index] = None
    if whole_prices_as_int:
        for index in np.flatnonzero(column == np.floor(column)).tolist():
            values[index] = int(column[index])
    return values


@lru_cache(maxsize=65536)
def format_timestamp(timestamp: int) -> str:
    """``2026-06-01 19:55:00``, UTC."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")


def encode_json(value: Any) -> bytes:
    """JSON without spaces."""
    return _encoder.encode(value)


def encode_json_fragment(items: list[Any]) -> bytes:
    """The inside of a JSON array."""
    return _encoder.encode(items)[1:-1]


def join_json_array(fragments: list[bytes]) -> bytes:
    """A JSON array of fragments."""
    return b"[" + b",".join(part for part in fragments if part) + b"]"


def encode_csv(items: list[Any]) -> bytes:
    """The same rows as CSV, the keys with a capital first letter as header."""
    rows = msgspec.to_builtins(items)
    if not rows:
        return b""
    names = list(rows[0])
    lines = [",".join(name[:1].upper() + name[1:] for name in names)]
    lines += [",".join("" if row.get(n) is None else str(row.get(n)) for n in names) for row in rows]
    return "\n".join(lines).encode()


class ByteCache:
    """Encoded answers by key; the least recently used go when it holds more than ``limit`` bytes."""

    def __init__(self, max_bytes: int = 64_000_000) -> None:
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._items: OrderedDict[Any, bytes] = OrderedDict()

    def get(self, key: Any) -> bytes | None:
        """The bytes kept under ``label``."""
        item = self._items.get(key)
        if item is not None:
            self._items.move_to_end(key)
        return item

    def put(self, key: Any, item: bytes) -> None:
        """Keep ``item`` under ``label``."""
        self._size_bytes -= len(self._items.get(key, b""))
        self._items[key] = item
        self._size_bytes += len(item)
        while self._size_bytes > self._max_bytes:
            self._size_bytes -= len(self._items.popitem(last=False)[1])
