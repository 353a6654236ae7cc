"""Parsing of intraday rows, and the rules for parsing any response body.

Absent values come as JSON null, ``"NA"``, a missing key or an empty string, and numbers may come as strings
(docs/vendor.md §2.1, §3.3); here each becomes NaN or None. ``eodhd.quotes``, ``reference`` and ``eod`` use the same
rules. Whether a price makes sense is decided in ``market``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan
from typing import Annotated, Any

import msgspec
import numpy as np

from backfill_assets.eodhd.error_mapping import find_error_in_body
from backfill_assets.market.vendor import INTRADAY_COLUMNS, IntradayRows
from backfill_assets.market.vendor_errors import BrokenAnswer

JsonObject = dict[str, Any]
MAX_TIMESTAMP = 253_402_300_799  # the end of the year 9999; also keeps milliseconds out


class _IntradayRecord(msgspec.Struct, gc=False):
    timestamp: Annotated[int, msgspec.Meta(ge=1, le=MAX_TIMESTAMP)]
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    volume: float | None = None
    warning: str | None = None


_INTRADAY_DECODER = msgspec.json.Decoder(list[_IntradayRecord])


def parse_intraday(body: bytes) -> IntradayRows:
    """Parse a response of ``/intraday`` (docs/vendor.md §2.1).

    Raises:
        BrokenAnswer: not JSON, or of another shape.
        VendorError: an error envelope, mapped by its code.
    """
    try:
        records = _INTRADAY_DECODER.decode(body)
    except msgspec.ValidationError:
        return _parse_intraday_leniently(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise BrokenAnswer(_describe_invalid_body(body)) from None
    return IntradayRows(
        np.array([bar.timestamp for bar in records], np.int64),
        np.array([bar.open for bar in records], np.float64),
        np.array([bar.high for bar in records], np.float64),
        np.array([bar.low for bar in records], np.float64),
        np.array([bar.close for bar in records], np.float64),
        np.array([bar.volume for bar in records], np.float64),
        warning=next((bar.warning for bar in reversed(records) if bar.warning), None),
    )


def _parse_intraday_leniently(body: bytes) -> IntradayRows:
    parsed = parse_rows(body)
    timestamps = [to_epoch(row.get("timestamp")) for row in parsed.rows]
    rows = [row for row, stamp in zip(parsed.rows, timestamps, strict=True) if stamp is not None]
    return IntradayRows(
        np.array([stamp for stamp in timestamps if stamp is not None], np.int64),
        **build_float_columns(rows, INTRADAY_COLUMNS[1:]),
        unparsable_rows=parsed.non_object_rows + len(parsed.rows) - len(rows),
        warning=parsed.warning,
    )


def concatenate_intraday(parts: Sequence[IntradayRows]) -> IntradayRows:
    """Join consecutive responses."""
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in INTRADAY_COLUMNS
    }
    return IntradayRows(
        **columns,
        unparsable_rows=sum(part.unparsable_rows for part in parts),
        warning=next((part.warning for part in parts if part.warning), None),
    )


@dataclass(frozen=True)
class RowsBody:
    """The rows of a list-like body; ``non_object_rows`` counts the elements that are not objects."""

    rows: list[JsonObject]
    non_object_rows: int = 0
    warning: str | None = None


def decode_json(body: bytes) -> Any:
    """The JSON of a body.

    Raises:
        BrokenAnswer: truncated, an HTML page, or otherwise not JSON.
        VendorError: an error envelope.
    """
    try:
        payload = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise BrokenAnswer(_describe_invalid_body(body)) from None
    if isinstance(payload, dict) and (error := find_error_in_body(payload)):
        raise error
    return payload


def parse_rows(body: bytes) -> RowsBody:
    """Rows from a list, or from a map keyed "0", "1" as PHP writes them (docs/vendor.md §5.2).

    Rows with only a ``warning`` do not count as rows (docs/vendor.md §1.7).

    Raises:
        BrokenAnswer: neither of the two.
    """
    elements = _extract_elements(decode_json(body))
    rows = [element for element in elements if isinstance(element, dict)]
    if elements and not rows:
        raise BrokenAnswer("the body contains no rows")
    warning = next((warning_text for row in reversed(rows) if (warning_text := to_text(row.get("warning")))), None)
    data_rows = [row for row in rows if set(row) - {"warning"} or not row]
    return RowsBody(data_rows, len(elements) - len(rows), warning)


def _extract_elements(payload: object) -> list[Any]:
    if isinstance(payload, list):
        return payload
    if isinstance(payload, dict):
        if payload and all(key.isdecimal() for key in payload):
            return list(payload.values())
        if set(payload) == {"warning"}:
            return [payload]
    raise BrokenAnswer("the body is not a list of rows")


def to_float_or_nan(value: object) -> float:
    """A finite number, also from a string; NaN for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return nan
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return nan
    return result if isfinite(result) else nan


def to_float(value: object) -> float | None:
    """A finite number or None."""
    result = to_float_or_nan(value)
    return None if isnan(result) else result


def to_int(value: object) -> int | None:
    """A whole number or None."""
    result = to_float_or_nan(value)
    return int(result) if result.is_integer() else None


def to_epoch(value: object) -> int | None:
    """Epoch seconds, also from a string (seen in live quotes, docs/vendor.md §3.3), or None."""
    seconds = to_int(value)
    return seconds if seconds is not None and 1 <= seconds <= MAX_TIMESTAMP else None


def to_text(value: object) -> str | None:
    """A string with content, or None."""
    return value.strip() or None if isinstance(value, str) and value != "NA" else None


def build_float_columns(rows: Sequence[JsonObject], names: Iterable[str]) -> dict[str, Any]:
    """Numeric columns by name; NaN where a value is absent."""
    return {name: np.array([to_float_or_nan(row.get(name)) for row in rows], np.float64) for name in names}


def _describe_invalid_body(body: bytes) -> str:
    if not body.strip():
        return "an empty body with status 200"
    is_html = body.lstrip().startswith(b"<")
    return f"status 200 with {'an HTML page' if is_html else 'a truncated or non-JSON body'} ({len(body)} bytes)"
