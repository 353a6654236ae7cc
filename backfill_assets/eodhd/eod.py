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

from backfill_assets.eodhd.parsing import Floats, JsonObject, build_float_columns, parse_rows, to_text
from backfill_assets.eodhd.reference import to_date

DateArray = NDArray[np.datetime64]
_PRICES = ("open", "high", "low", "close", "adjusted_close", "volume")
_IsoDate = Annotated[str, msgspec.Meta(pattern=r"^(19|20)\d\d-\d\d-\d\d$")]


@dataclass(frozen=True, eq=False)
class EodRows:
    """One ticker's days in the vendor's order; absent numbers are NaN.

    Attributes:
        date: session dates (``datetime64[D]``).
        unreadable: how many rows had no usable date.
        warning: what the vendor remarked (a free plan's limit, for instance).
    """

    date: DateArray
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    adjusted_close: Floats
    volume: Floats
    unparsable_rows: int = 0
    warning: str | None = None

    def __len__(self) -> int:
        return len(self.date)


@dataclass(frozen=True, eq=False)
class BulkEodRows:
    """One day of a whole exchange; ``code`` is the symbol without its exchange suffix."""

    code: NDArray[np.object_]
    date: DateArray
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    adjusted_close: Floats
    volume: Floats
    unparsable_rows: int = 0

    def __len__(self) -> int:
        return len(self.code)


class _BulkEodRecord(msgspec.Struct, gc=False):
    code: Annotated[str, msgspec.Meta(min_length=1)]
    date: _IsoDate
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    adjusted_close: float | None = None
    volume: float | None = None


_BULK_EOD_DECODER = msgspec.json.Decoder(list[_BulkEodRecord])


def parse_eod(body: bytes) -> EodRows:
    """Read ``/eod``; ``[]`` is a ticker without history, or one spelled wrongly (``BRKB``)."""
    parsed = parse_rows(body)
    dates = [to_date(row.get("date")) for row in parsed.rows]
    rows = [row for row, date in zip(parsed.rows, dates, strict=True) if date]
    return EodRows(
        np.array([found for found in dates if found], "datetime64[D]"),
        **build_float_columns(rows, _PRICES),
        unparsable_rows=parsed.non_object_rows + len(parsed.rows) - len(rows),
        warning=parsed.warning,
    )


def parse_bulk_eod(body: bytes) -> BulkEodRows:
    """Read ``/eod-bulk-last-day``: tens of thousands of rows, hence a fast path.

    Column names were seen in lower and upper case. ``[]`` is a day that is not there (yet).
    """
    try:
        rows = _BULK_EOD_DECODER.decode(body)
        dates = np.array([row.date for row in rows], "datetime64[D]")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _parse_bulk_eod_leniently(body)
    columns: dict[str, Any] = {name: np.array([getattr(row, name) for row in rows], np.float64) for name in _PRICES}
    return BulkEodRows(np.array([row.code for row in rows], object), dates, **columns)


def _parse_bulk_eod_leniently(body: bytes) -> BulkEodRows:
    parsed = parse_rows(body)
    lowered = [{_normalize_column_name(name): value for name, value in row.items()} for row in parsed.rows]
    candidates = [(to_text(row.get("code")), to_date(row.get("date")), row) for row in lowered]
    usable = [(code, date, row) for code, date, row in candidates if code and date]
    rows: list[JsonObject] = [row for _, _, row in usable]
    return BulkEodRows(
        np.array([code for code, _, _ in usable], object),
        np.array([found for _, found, _ in usable], "datetime64[D]"),
        **build_float_columns(rows, _PRICES),
        unparsable_rows=parsed.non_object_rows + len(parsed.rows) - len(rows),
    )


def _normalize_column_name(name: str) -> str:
    """``Adjusted_close``, ``adjustedClose`` and ``ADJUSTED CLOSE`` are one column."""
    lowered = re.sub(r"[^a-z]", "", name.lower())
    return "adjusted_close" if lowered == "adjustedclose" else lowered
