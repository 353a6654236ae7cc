"""Reads query results as numpy arrays: for hundreds of thousands of rows, too many for a Python loop.

The server aggregates each column into one array and sends it in binary form. Queries live in the modules that use this.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.store.postgres.connection import Connection

_NEGATIVE_INFINITY = np.iinfo(np.int64).min  # of a timestamptz; queries return '-infinity' instead of null
_ARRAY_HEADER_BYTES = 20  # of a one-dimensional array: dimensions, nulls, type, length, lower bound (4 bytes each)
_MICROSECONDS = 1_000_000
POSTGRES_EPOCH = 946_684_800  # 2000-01-01 UTC, in seconds since 1970
_POSTGRES_DAY = date(2000, 1, 1)
_AGGREGATE_QUERY = "SELECT {columns} FROM ({query}) AS answer"
_AGGREGATE_BINARY = "array_send(array_agg({0}))"
_AGGREGATE_TEXT = "array_agg({0}) FILTER (WHERE {0} IS NOT NULL)"


def read_columns(
    connection: Connection, query: str, values: Mapping[str, Any], column_types: Mapping[str, str]
) -> dict[str, NDArray[Any]]:
    """Run ``query`` and return its columns by name.

    Args:
        connection: with a transaction open.
        query: returns the columns of ``column_types``; only text may be null, null texts are left out.
        values: its parameters.
        column_types: column → type of its elements in the server's binary form, big-endian: ``>i4`` integer or date
            (see ``to_postgres_days``), ``>i8`` bigint or timestamptz (see ``to_unix_seconds``,
            ``to_whole_unix_seconds``), ``>i1`` boolean, ``>f8`` double precision; or ``text``. A column of an existing
            table may be a wider integer; its values must fit.
    """
    columns = (
        _AGGREGATE_TEXT.format(name) if code == "text" else _AGGREGATE_BINARY.format(name)
        for name, code in column_types.items()
    )
    aggregate_query = _AGGREGATE_QUERY.format(columns=", ".join(columns), query=query)
    row = connection.cursor(binary=True).execute(aggregate_query.encode(), values).fetchone() or ()
    return {name: _decode_elements(sent, code) for (name, code), sent in zip(column_types.items(), row, strict=True)}


def to_unix_seconds(timestamps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Timestamptz values as epoch seconds (UTC); NaN for ``-infinity``."""
    seconds: NDArray[np.float64] = timestamps / _MICROSECONDS + POSTGRES_EPOCH
    return np.where(timestamps == _NEGATIVE_INFINITY, np.nan, seconds)


def to_whole_unix_seconds(timestamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Timestamptz values, none of them infinite, as whole epoch seconds (UTC)."""
    seconds: NDArray[np.int64] = timestamps // _MICROSECONDS + POSTGRES_EPOCH
    return seconds


def to_postgres_timestamps(epochs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Timestamps as ``read_columns`` returns them, microseconds since 2000, of epoch seconds."""
    timestamps: NDArray[np.int64] = (epochs - POSTGRES_EPOCH) * _MICROSECONDS
    return timestamps


def to_postgres_days(dates: Sequence[date]) -> NDArray[np.int64]:
    """Dates as the server counts them: days since 2000-01-01."""
    return np.array([(day - _POSTGRES_DAY).days for day in dates], np.int64)


def _decode_elements(payload: Any, column_type: str) -> NDArray[Any]:
    if column_type == "text":
        return np.array(payload or [], object)
    if payload is None:
        return np.zeros(0, column_type[1:])
    # existing tables may have a wider integer than ours; the size of the first element tells
    size = int.from_bytes(payload[_ARRAY_HEADER_BYTES : _ARRAY_HEADER_BYTES + 4], "big")
    kind = column_type[:2]  # with the byte order
    layout = np.dtype([("size", ">i4"), ("value", f"{kind}{size}")])
    elements = np.frombuffer(payload, layout, offset=_ARRAY_HEADER_BYTES)
    return elements["value"].astype(column_type[1:])
