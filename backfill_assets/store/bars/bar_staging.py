"""Copies bars into the temporary table ``staged_bars``, in the binary format of COPY.

Where a volume is not known, it is below zero there: another column would cost every bar.

``bar_writer`` compares them there with the stored bars.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.market.arrays import Int64
from backfill_assets.market.columns import Columns
from backfill_assets.store.postgres.array_reader import POSTGRES_EPOCH
from backfill_assets.store.postgres.connection import Connection

_CREATE_STAGING_TABLE = """
CREATE TEMPORARY TABLE staged_bars (
    symbol_id integer, stamp timestamptz, open_price float8, high_price float8, low_price float8,
    close_price float8, volume bigint, source_rows smallint, is_final boolean, may_insert boolean
) ON COMMIT DROP
"""
_COPY_COLUMNS: tuple[tuple[str, str], ...] = (
    ("symbol_id", ">i4"), ("timestamp", ">i8"), ("open", ">f8"), ("high", ">f8"), ("low", ">f8"),
    ("close", ">f8"), ("volume", ">i8"), ("source_rows", ">i2"), ("is_final", ">i1"), ("may_insert", ">i1"),
)  # fmt: skip
_UNKNOWN_VOLUME = -1
_COPY_STAGED_BARS = "COPY staged_bars FROM STDIN (FORMAT BINARY)"
_DROP_STAGING_TABLE = "DROP TABLE staged_bars"


def stage_bars(connection: Connection, bars: Columns) -> None:
    """Create the table and copy ``bars`` (see ``bar_writer.write_bars``) into it."""
    connection.execute(_CREATE_STAGING_TABLE)
    with connection.cursor().copy(_COPY_STAGED_BARS) as copy:
        copy.write(_encode_copy_rows(bars))


def drop_staged_bars(connection: Connection) -> None:
    """Drop the table before the end of the transaction."""
    connection.execute(_DROP_STAGING_TABLE)


def mark_unknown_volumes(bars: Columns) -> Columns:
    """``bars`` with whole volumes, -1 where they are not known (NaN)."""
    return bars.assign(volume=_mark_unknown(bars["volume"]))


def _mark_unknown(volume: NDArray[Any]) -> Int64:
    values = volume.astype(np.float64)  # live collection gives Python numbers and None
    return np.where(np.isnan(values), _UNKNOWN_VOLUME, values).astype(np.int64)


def _encode_copy_rows(bars: Columns) -> bytes:
    """The rows in the binary format of COPY: for each field its length and its big-endian value."""
    layout: list[tuple[str, str]] = [("fields", ">i2")]
    for name, code in _COPY_COLUMNS:
        layout += [(f"{name}_size", ">i4"), (name, code)]
    rows = np.zeros(len(bars), np.dtype(layout))
    rows["fields"] = len(_COPY_COLUMNS)
    for name, _ in _COPY_COLUMNS:
        rows[f"{name}_size"] = rows.dtype[name].itemsize
        values = bars[name]
        if name == "volume":
            values = _mark_unknown(values)
        rows[name] = (values - POSTGRES_EPOCH) * 1_000_000 if name == "timestamp" else values
    return b"PGCOPY\n\xff\r\n\x00" + bytes(8) + rows.tobytes() + b"\xff\xff"
