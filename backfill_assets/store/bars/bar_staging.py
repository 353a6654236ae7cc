"""Copies bars into the temporary table ``staged_bars``, in the binary format of COPY.

``bar_writer`` compares them there with the stored bars.
"""

import numpy as np
import pandas as pd

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
_COPY_STAGED_BARS = "COPY staged_bars FROM STDIN (FORMAT BINARY)"
_DROP_STAGING_TABLE = "DROP TABLE staged_bars"


def stage_bars(connection: Connection, bars: pd.DataFrame) -> None:
    """Create the table and copy ``bars`` (see ``bar_writer.write_bars``) into it."""
    connection.execute(_CREATE_STAGING_TABLE)
    with connection.cursor().copy(_COPY_STAGED_BARS) as copy:
        copy.write(_encode_copy_rows(bars))


def drop_staged_bars(connection: Connection) -> None:
    """Drop the table before the end of the transaction."""
    connection.execute(_DROP_STAGING_TABLE)


def _encode_copy_rows(bars: pd.DataFrame) -> bytes:
    """The rows in the binary format of COPY: for each field its length and its big-endian value."""
    layout: list[tuple[str, str]] = [("fields", ">i2")]
    for name, code in _COPY_COLUMNS:
        layout += [(f"{name}_size", ">i4"), (name, code)]
    rows = np.zeros(len(bars), np.dtype(layout))
    rows["fields"] = len(_COPY_COLUMNS)
    for name, _ in _COPY_COLUMNS:
        rows[f"{name}_size"] = rows.dtype[name].itemsize
        values = bars[name].to_numpy()
        rows[name] = (values - POSTGRES_EPOCH) * 1_000_000 if name == "timestamp" else values
    return b"PGCOPY\n\xff\r\n\x00" + bytes(8) + rows.tobytes() + b"\xff\xff"
