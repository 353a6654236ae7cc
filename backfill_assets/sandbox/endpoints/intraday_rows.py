"""Rows of ``/intraday`` as objects that JSON and CSV are written from. Structs, because dicts would be slow."""

from datetime import UTC, datetime
from functools import lru_cache

import msgspec
import numpy as np

from backfill_assets.market.arrays import Floats
from backfill_assets.sandbox.wire.encoding import JsonNumber
from backfill_assets.sandbox.world.intraday_columns import IntradayColumns


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
    """Build one object per row; NaN and a null volume become None."""
    timestamps = rows.timestamps.tolist()
    prices = [to_json_numbers(column, whole_prices_as_int) for column in rows.prices]
    volumes: list[int | None] = rows.volumes.tolist()
    for index in np.flatnonzero(rows.volumes < 0).tolist():
        volumes[index] = None
    return list(
        map(IntradayRow, timestamps, [0] * len(timestamps), map(format_vendor_datetime, timestamps), *prices, volumes)
    )


def split_datetimes(rows: list[IntradayRow]) -> list[SplitDateRow]:
    """Build the form of ``split-dt=1``: date and time as separate fields."""
    return [
        SplitDateRow(b.timestamp, 0, b.datetime[:10], b.datetime[11:], b.open, b.high, b.low, b.close, b.volume)
        for b in rows
    ]


def to_json_numbers(column: Floats, whole_prices_as_int: bool) -> list[JsonNumber]:
    """Convert to Python numbers, NaN to None; whole prices to int if wanted (the vendor writes 238, not 238.0)."""
    values: list[JsonNumber] = column.tolist()
    for index in np.flatnonzero(np.isnan(column)).tolist():
        values[index] = None
    if whole_prices_as_int:
        for index in np.flatnonzero(column == np.floor(column)).tolist():
            values[index] = int(column[index])
    return values


@lru_cache(maxsize=65536)
def format_vendor_datetime(timestamp: int) -> str:
    """Format epoch seconds like ``2026-06-01 19:55:00``, UTC."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")
