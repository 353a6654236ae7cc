"""The answer of a query as numpy arrays: for hundreds of thousands of rows, which are too many for a Python loop.

The server gathers each column into one array and sends that in its binary form; no query of its own lives here.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backfill_assets.store.postgres.connection import Connection

_NEVER = np.iinfo(np.int64).min  # '-infinity', which a query has to put in the place of an absent timestamptz
_HEADER = 20  # bytes before the first element of a one-dimensional array: dimensions, nulls, type, length, origin
_MICROSECONDS = 1_000_000
_POSTGRES_EPOCH = 946_684_800  # 2000-01-01 UTC, in seconds since 1970
_POSTGRES_DAY = date(2000, 1, 1)
_GATHERED = "SELECT {columns} FROM ({query}) AS answer"
_ARRAY = "array_send(array_agg({0}))"
_TEXTS = "array_agg({0}) FILTER (WHERE {0} IS NOT NULL)"


def read_columns(
    connection: Connection, query: str, values: Mapping[str, Any], codes: Mapping[str, str]
) -> dict[str, NDArray[Any]]:
    """Run ``query`` and return its columns by name.

    Args:
        connection: with a transaction open.
        query: gives the columns that ``codes`` names; only texts may be null, and are left out then.
        values: its parameters.
        codes: column → its element in the server's binary form, big-endian: ``>i4`` integer or date (see
            ``days_of``), ``>i8`` bigint or timestamptz (see ``seconds_of``, ``whole_seconds_of``), ``>i1`` boolean;
            or ``text``.
    """
    columns = (_TEXTS.format(name) if code == "text" else _ARRAY.format(name) for name, code in codes.items())
    gathered = _GATHERED.format(columns=", ".join(columns), query=query)
    row = connection.cursor(binary=True).execute(gathered.encode(), values).fetchone() or ()
    return {name: _elements(sent, code) for (name, code), sent in zip(codes.items(), row, strict=True)}


def seconds_of(stamps: NDArray[np.int64]) -> NDArray[np.float64]:
    """A timestamptz as epoch seconds (UTC); NaN for ``-infinity``."""
    seconds: NDArray[np.float64] = stamps / _MICROSECONDS + _POSTGRES_EPOCH
    return np.where(stamps == _NEVER, np.nan, seconds)


def whole_seconds_of(stamps: NDArray[np.int64]) -> NDArray[np.int64]:
    """A timestamptz, none of them infinite, as whole epoch seconds (UTC)."""
    seconds: NDArray[np.int64] = stamps // _MICROSECONDS + _POSTGRES_EPOCH
    return seconds


def days_of(dates: Sequence[date]) -> NDArray[np.int64]:
    """Dates as the server counts them: days since 2000-01-01."""
    return np.array([(day - _POSTGRES_DAY).days for day in dates], np.int64)


def _elements(sent: Any, code: str) -> NDArray[Any]:
    if code == "text":
        return np.array(sent or [], object)
    if sent is None:
        return np.zeros(0, code[1:])
    elements = np.frombuffer(sent, np.dtype([("size", ">i4"), ("value", code)]), offset=_HEADER)
    return elements["value"].astype(code[1:])
