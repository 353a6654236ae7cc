"""Parsing of daily rows, ``/eod`` and ``/eod-bulk-last-day`` (docs/vendor.md §5.4, §5.5).

``volume`` is split-adjusted while ``close`` is not, and ``close`` is back-adjusted for spin-offs. So these rows are not
stored as bars. They show when a symbol was listed, and whether a session without intraday rows had trades.
"""

import re
from typing import Annotated, Any

import msgspec
import numpy as np

from backfill_assets.eodhd.parsing import (
    MAX_UNREADABLE_SHARE_OF_EXCHANGE,
    build_float_columns,
    has_numbers,
    parse_rows,
    require_columns,
    require_numbers,
    require_readable,
    to_code,
)
from backfill_assets.eodhd.reference import to_date
from backfill_assets.market.vendor import BulkDailyRows, DailyRows

_PRICES = ("open", "high", "low", "close", "adjusted_close", "volume")
_IsoDate = Annotated[str, msgspec.Meta(pattern=r"^(19|20)\d\d-\d\d-\d\d$")]


class _BulkEodRecord(msgspec.Struct, gc=False):
    code: Annotated[str, msgspec.Meta(min_length=1)]
    date: _IsoDate
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    adjusted_close: float | None = None
    volume: float | None = None
    warning: str | None = None


_BULK_EOD_DECODER = msgspec.json.Decoder(list[_BulkEodRecord])


def parse_eod(body: bytes) -> DailyRows:
    """Parse ``/eod``; ``[]`` is a ticker without history or a wrong spelling such as ``BRKB`` (docs/vendor.md §5.4).

    Raises:
        BrokenAnswer: not JSON, of another shape, or with a row that cannot be read: a day that the history seems to
            lack would count as a day without trades.
    """
    parsed = parse_rows(body)
    dates = [to_date(row.get("date")) for row in parsed.rows]
    unreadable = [row for row, date in zip(parsed.rows, dates, strict=True) if date is None]
    require_readable(parsed, unreadable, "'date' must be YYYY-MM-DD")
    require_columns(parsed.rows, ("close", "volume"))
    require_numbers(parsed, _PRICES)
    columns = build_float_columns(parsed.rows, _PRICES)
    return DailyRows(np.array(dates, "datetime64[D]"), **columns, warning=parsed.warning)


def parse_bulk_eod(body: bytes) -> BulkDailyRows:
    """Parse ``/eod-bulk-last-day``; it has tens of thousands of rows, hence a fast path.

    Column names occur in lower and upper case. ``[]`` means that the day is not published (docs/vendor.md §5.5).

    Raises:
        BrokenAnswer: not JSON, of another shape, or more than 1 % of the rows cannot be read; fewer are left out.
    """
    try:
        rows = _BULK_EOD_DECODER.decode(body)
        dates = np.array([row.date for row in rows], "datetime64[D]")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _parse_bulk_eod_leniently(body)
    if all(row.volume is None for row in rows):
        return _parse_bulk_eod_leniently(body)  # an empty list, or a column of another name
    columns: dict[str, Any] = {name: np.array([getattr(row, name) for row in rows], np.float64) for name in _PRICES}
    warning = next((row.warning for row in reversed(rows) if row.warning), None)
    return BulkDailyRows(np.array([row.code for row in rows], object), dates, **columns, warning=warning)


def _parse_bulk_eod_leniently(body: bytes) -> BulkDailyRows:
    parsed = parse_rows(body)
    lowered = [{_normalize_column_name(name): value for name, value in row.items()} for row in parsed.rows]
    candidates = [(to_code(row.get("code")), to_date(row.get("date")), row) for row in lowered]
    usable = [(code, date, row) for code, date, row in candidates if code and date and has_numbers(row, _PRICES)]
    dropped = [(code, row) for code, date, row in candidates if not (code and date and has_numbers(row, _PRICES))]
    unreadable = [row for _, row in dropped]
    needed = "'code', 'date' and numbers are needed"
    require_readable(parsed, unreadable, needed, MAX_UNREADABLE_SHARE_OF_EXCHANGE)
    require_columns(lowered, ("close", "volume"))
    rows = [row for _, _, row in usable]
    return BulkDailyRows(
        np.array([code for code, _, _ in usable], object),
        np.array([day for _, day, _ in usable], "datetime64[D]"),
        **build_float_columns(rows, _PRICES),
        unparsable_rows=len(parsed.non_objects) + len(dropped),
        unreadable_codes=frozenset(code for code, _ in dropped if code),
        unnamed_rows=len(parsed.non_objects) + sum(not code for code, _ in dropped),
        warning=parsed.warning,
    )


def _normalize_column_name(name: str) -> str:
    """``Adjusted_close``, ``adjustedClose`` and ``ADJUSTED CLOSE`` are the same column."""
    lowered = re.sub(r"[^a-z]", "", name.lower())
    return "adjusted_close" if lowered == "adjustedclose" else lowered
