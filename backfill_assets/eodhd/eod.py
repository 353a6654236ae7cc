"""Daily rows of ``/eod`` and ``/eod-bulk-last-day`` as columns (EODHD.md §5).

``volume`` is split-adjusted while ``close`` is not, and ``close`` is back-adjusted for spinoffs: these
rows date a listing's life and tell "traded" from "not published"; they are no bars.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from backfill_assets.eodhd.parsing import Floats, Row, numbers, read_rows, text
from backfill_assets.eodhd.reference import day

Days = NDArray[np.datetime64]
_PRICES = ("open", "high", "low", "close", "adjusted_close", "volume")
_Day = Annotated[str, msgspec.Meta(pattern=r"^(19|20)\d\d-\d\d-\d\d$")]


@dataclass(frozen=True, eq=False)
class EodRows:
    """One ticker's days in the vendor's order; absent numbers are NaN.

    Attributes:
        date: session dates (``datetime64[D]``).
        unreadable: how many rows had no usable date.
        warning: what the vendor remarked (a free plan's limit, for instance).
    """

    date: Days
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    adjusted_close: Floats
    volume: Floats
    unreadable: int = 0
    warning: str | None = None

    def __len__(self) -> int:
        return len(self.date)


@dataclass(frozen=True, eq=False)
class BulkRows:
    """One day of a whole exchange; ``code`` is the symbol without its exchange suffix."""

    code: NDArray[np.object_]
    date: Days
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    adjusted_close: Floats
    volume: Floats
    unreadable: int = 0

    def __len__(self) -> int:
        return len(self.code)


class _Bulk(msgspec.Struct, gc=False):
    code: Annotated[str, msgspec.Meta(min_length=1)]
    date: _Day
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    adjusted_close: float | None = None
    volume: float | None = None


_BULK = msgspec.json.Decoder(list[_Bulk])


def read_eod(body: bytes) -> EodRows:
    """Read ``/eod``; ``[]`` is a ticker without history, or one spelled wrongly (``BRKB``)."""
    answer = read_rows(body)
    dates = [day(row.get("date")) for row in answer.rows]
    rows = [row for row, found in zip(answer.rows, dates, strict=True) if found]
    return EodRows(
        np.array([found for found in dates if found], "datetime64[D]"),
        **numbers(rows, _PRICES),
        unreadable=answer.strangers + len(answer.rows) - len(rows),
        warning=answer.warning,
    )


def read_bulk(body: bytes) -> BulkRows:
    """Read ``/eod-bulk-last-day``: tens of thousands of rows, hence a fast path.

    Column names were seen in lower and upper case. ``[]`` is a day that is not there (yet).
    """
    try:
        rows = _BULK.decode(body)
        dates = np.array([row.date for row in rows], "datetime64[D]")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _tolerant_bulk(body)
    columns: dict[str, Any] = {name: np.array([getattr(row, name) for row in rows], np.float64) for name in _PRICES}
    return BulkRows(np.array([row.code for row in rows], object), dates, **columns)


def _tolerant_bulk(body: bytes) -> BulkRows:
    answer = read_rows(body)
    lowered = [{_column(name): value for name, value in row.items()} for row in answer.rows]
    keyed = [(text(row.get("code")), day(row.get("date")), row) for row in lowered]
    usable = [(code, found, row) for code, found, row in keyed if code and found]
    rows: list[Row] = [row for _, _, row in usable]
    return BulkRows(
        np.array([code for code, _, _ in usable], object),
        np.array([found for _, found, _ in usable], "datetime64[D]"),
        **numbers(rows, _PRICES),
        unreadable=answer.strangers + len(answer.rows) - len(rows),
    )


def _column(name: str) -> str:
    """``Adjusted_close``, ``adjustedClose`` and ``ADJUSTED CLOSE`` are one column."""
    lowered = re.sub(r"[^a-z]", "", name.lower())
    return "adjusted_close" if lowered == "adjustedclose" else lowered
