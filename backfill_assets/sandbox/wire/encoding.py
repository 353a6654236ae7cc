"""From columns to the vendor's JSON and CSV, quickly: no dict per row."""

from collections import OrderedDict
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec
import numpy as np

from backfill_assets.sandbox.wire.rows import Rows
from backfill_assets.sandbox.world.random_draws import Float64

Number: TypeAlias = float | int | None

_encoder = msgspec.json.Encoder()


class Bar(msgspec.Struct):
    """A row of ``/intraday``."""

    timestamp: int
    gmtoffset: int
    datetime: str
    open: Number
    high: Number
    low: Number
    close: Number
    volume: int | None


class SplitBar(msgspec.Struct):
    """A row of ``/intraday`` with ``split-dt=1``."""

    timestamp: int
    gmtoffset: int
    date: str
    time: str
    open: Number
    high: Number
    low: Number
    close: Number
    volume: int | None


def bars(rows: Rows, whole_as_int: bool) -> list[Bar]:
    """One object per row; NaN and the absent volume become None."""
    stamps = rows.stamps.tolist()
    prices = [numbers(column, whole_as_int) for column in rows.prices]
    volumes: list[int | None] = rows.volumes.tolist()
    for at in np.flatnonzero(rows.volumes < 0).tolist():
        volumes[at] = None
    return list(map(Bar, stamps, [0] * len(stamps), map(stamp_text, stamps), *prices, volumes))


def split_bars(plain: list[Bar]) -> list[SplitBar]:
    """The same rows with date and time apart."""
    return [
        SplitBar(b.timestamp, 0, b.datetime[:10], b.datetime[11:], b.open, b.high, b.low, b.close, b.volume)
        for b in plain
    ]


def numbers(column: Float64, whole_as_int: bool) -> list[Number]:
    """Python numbers, NaN as None; whole ones as int if wanted (the vendor's 238, not 238.0)."""
    values: list[Number] = column.tolist()
    for at in np.flatnonzero(np.isnan(column)).tolist():
        values[at] = None
    if whole_as_int:
        for at in np.flatnonzero(column == np.floor(column)).tolist():
            values[at] = int(column[at])
    return values


@lru_cache(maxsize=65536)
def stamp_text(stamp: int) -> str:
    """``2026-06-01 19:55:00``, UTC."""
    return datetime.fromtimestamp(stamp, UTC).strftime("%Y-%m-%d %H:%M:%S")


def json_bytes(value: Any) -> bytes:
    """JSON without spaces."""
    return _encoder.encode(value)


def fragment(items: list[Any]) -> bytes:
    """The inside of a JSON array."""
    return _encoder.encode(items)[1:-1]


def array(fragments: list[bytes]) -> bytes:
    """A JSON array of fragments."""
    return b"[" + b",".join(part for part in fragments if part) + b"]"


def csv_bytes(items: list[Any]) -> bytes:
    """The same rows as CSV, the keys with a capital first letter as header."""
    plain = msgspec.to_builtins(items)
    if not plain:
        return b""
    names = list(plain[0])
    lines = [",".join(name[:1].upper() + name[1:] for name in names)]
    lines += [",".join("" if row.get(n) is None else str(row.get(n)) for n in names) for row in plain]
    return "\n".join(lines).encode()


class Shelf:
    """Encoded answers by key; the least recently used go when it holds more than ``limit`` bytes."""

    def __init__(self, limit: int = 64_000_000) -> None:
        self._limit = limit
        self._held = 0
        self._items: OrderedDict[Any, bytes] = OrderedDict()

    def get(self, label: Any) -> bytes | None:
        """The bytes kept under ``label``."""
        found = self._items.get(label)
        if found is not None:
            self._items.move_to_end(label)
        return found

    def put(self, label: Any, item: bytes) -> None:
        """Keep ``item`` under ``label``."""
        self._held -= len(self._items.get(label, b""))
        self._items[label] = item
        self._held += len(item)
        while self._held > self._limit:
            self._held -= len(self._items.popitem(last=False)[1])
