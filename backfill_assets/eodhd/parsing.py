"""Parsing of intraday rows, and the rules for parsing any response body.

Absent values come as JSON null, ``"NA"``, a missing key or an empty string, and numbers may come as strings
(docs/vendor.md §2.1, §3.3); here each becomes NaN or None. ``eodhd.quotes``, ``reference`` and ``eod`` use the same
rules. Whether a price makes sense is decided in ``market``.

A row that cannot be read is not an absent value: its stamp or its code cannot be used, a price or volume is neither a
number nor absent (``"1,234"``), it is no object, or a column has another name. An answer with such rows is broken,
since nobody knows what it lacks. One ticker's history (intraday and daily rows) may not have a single one; of a file of
a whole exchange up to 1 % are left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from math import isfinite, isnan, nan
from typing import Annotated, Any

import msgspec
import numpy as np

from backfill_assets.eodhd.error_mapping import (
    find_error_in_body,
    find_refusal_in_rows,
    map_body_to_error,
    map_shape_to_error,
    quote_json,
)
from backfill_assets.market.vendor import INTRADAY_COLUMNS, IntradayRows
from backfill_assets.market.vendor_errors import UnreadableRows

JsonObject = dict[str, Any]
MAX_UNREADABLE_SHARE_OF_EXCHANGE = 0.01  # of the rows of a file that covers a whole exchange
MIN_TIMESTAMP = 315_532_800  # 1980; keeps minutes and days out, the oldest data are of 2004 (docs/vendor.md §2.5)
ABSENT_WORDS = frozenset({"", "-", "na", "n/a", "null", "none"})  # as are "nan" and "inf"; only the first two were seen
MAX_DIGITS = 28  # of an exact number: those that Decimal keeps
MAX_TIMESTAMP = 253_402_300_799  # the end of the year 9999; keeps milliseconds out


class _IntradayRecord(msgspec.Struct, gc=False):
    timestamp: Annotated[int, msgspec.Meta(ge=MIN_TIMESTAMP, le=MAX_TIMESTAMP)]
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    volume: float | None = None
    warning: str | None = None


_EXACT_DECODER = msgspec.json.Decoder(Any, float_hook=Decimal)
_INTRADAY_DECODER = msgspec.json.Decoder(list[_IntradayRecord])


def parse_intraday(body: bytes) -> IntradayRows:
    """Parse a response of ``/intraday`` (docs/vendor.md §2.1).

    Raises:
        BrokenAnswer: not JSON, of another shape, or with a row that cannot be read.
        VendorError: an error envelope, mapped by its code, or a refusal in words.
    """
    try:
        records = _INTRADAY_DECODER.decode(body)
    except msgspec.ValidationError:
        return _parse_intraday_leniently(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise map_body_to_error(body) from None
    rows = IntradayRows(
        np.array([bar.timestamp for bar in records], np.int64),
        np.array([bar.open for bar in records], np.float64),
        np.array([bar.high for bar in records], np.float64),
        np.array([bar.low for bar in records], np.float64),
        np.array([bar.close for bar in records], np.float64),
        np.array([bar.volume for bar in records], np.float64),
        warning=next((bar.warning for bar in reversed(records) if bar.warning), None),
    )
    if any(np.isnan(getattr(rows, name)).all() for name in INTRADAY_COLUMNS[1:]):
        return _parse_intraday_leniently(body)  # a column without any value: absent, or of another name
    return rows


def _parse_intraday_leniently(body: bytes) -> IntradayRows:
    parsed = parse_rows(body)
    require_columns(parsed.rows, INTRADAY_COLUMNS)
    timestamps = [_to_row_timestamp(row.get("timestamp")) for row in parsed.rows]
    unreadable = [row for row, stamp in zip(parsed.rows, timestamps, strict=True) if stamp is None]
    require_readable(parsed, unreadable, "'timestamp' must be epoch seconds")
    require_numbers(parsed, INTRADAY_COLUMNS[1:])
    return IntradayRows(
        np.array(timestamps, np.int64), **build_float_columns(parsed.rows, INTRADAY_COLUMNS[1:]), warning=parsed.warning
    )


def _to_row_timestamp(value: object) -> int | None:
    seconds = to_epoch(value)
    return seconds if seconds is not None and seconds >= MIN_TIMESTAMP else None


def concatenate_intraday(parts: Sequence[IntradayRows]) -> IntradayRows:
    """Join consecutive responses."""
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in INTRADAY_COLUMNS
    }
    return IntradayRows(
        **columns,
        warning=next((part.warning for part in parts if part.warning), None),
    )


@dataclass(frozen=True)
class RowsBody:
    """The rows of a list-like body; ``non_objects`` are its elements that are not objects."""

    rows: list[JsonObject]
    non_objects: list[Any] = field(default_factory=list)
    warning: str | None = None


def decode_json(body: bytes, *, exact_numbers: bool = False) -> Any:
    """The JSON of a body; with ``exact_numbers`` its numbers with a fraction are Decimals of their text.

    Raises:
        BrokenAnswer: truncated, an HTML page, or otherwise not JSON.
        VendorError: an error envelope, or a refusal in words.
    """
    try:
        payload = _EXACT_DECODER.decode(body) if exact_numbers else msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise map_body_to_error(body) from None
    if isinstance(payload, dict) and (error := find_error_in_body(payload)):
        raise error
    return payload


def parse_rows(body: bytes, *, exact_numbers: bool = False) -> RowsBody:
    """Rows from a list, or from a map keyed "0", "1" as PHP writes them (docs/vendor.md §5.2).

    Rows with only a ``warning`` do not count as rows (docs/vendor.md §1.7). ``exact_numbers`` as for ``decode_json``.

    Raises:
        BrokenAnswer: neither of the two.
        VendorError: a refusal in words instead of rows.
    """
    elements = _extract_elements(decode_json(body, exact_numbers=exact_numbers))
    rows = [element for element in elements if isinstance(element, dict)]
    if elements and not rows:
        raise map_shape_to_error(elements[0] if len(elements) == 1 else elements, "a list of rows")
    warning = next((warning_text for row in reversed(rows) if (warning_text := to_text(row.get("warning")))), None)
    data_rows = [row for row in rows if set(row) - {"warning"} or not row]
    if refusal := find_refusal_in_rows(data_rows, warning):
        raise refusal
    return RowsBody(data_rows, [element for element in elements if not isinstance(element, dict)], warning)


def require_readable(parsed: RowsBody, unreadable: Sequence[JsonObject], needed: str, max_share: float = 0.0) -> None:
    """Make sure that at most ``max_share`` of the rows cannot be read.

    Args:
        parsed: the body.
        unreadable: those of its rows that cannot be read; elements that are not objects count, too.
        needed: what a readable row must have, for the message.
        max_share: of all rows.

    Raises:
        UnreadableRows: more of them cannot be read; it names their number and quotes one of them.
    """
    examples = [*unreadable, *parsed.non_objects]
    total = len(parsed.rows) + len(parsed.non_objects)
    if len(examples) > max_share * total:
        raise UnreadableRows(
            f"{len(examples):,} of {total:,} rows cannot be read ({needed}), for example {quote_json(examples[0])}"
        )


def require_columns(rows: Sequence[JsonObject], names: Iterable[str]) -> None:
    """Make sure that each column occurs in at least one row; a column that is nowhere has another name.

    Raises:
        UnreadableRows: a column is in no row; it quotes one of them.
    """
    absent = [name for name in names if rows and not any(name in row for row in rows)]
    if absent:
        raise UnreadableRows(f"none of {len(rows):,} rows has {', '.join(absent)}, for example {quote_json(rows[0])}")


def require_numbers(parsed: RowsBody, names: Sequence[str]) -> None:
    """Make sure that the columns hold numbers and absent values only.

    Raises:
        UnreadableRows: a row holds something else; it names the number of such rows and quotes one of them.
    """
    unreadable = [row for row in parsed.rows if not has_numbers(row, names)]
    require_readable(parsed, unreadable, "prices and volume must be numbers")


def has_numbers(row: JsonObject, names: Iterable[str]) -> bool:
    """Whether every value of the columns is a number, a number as a string, or absent."""
    return all(_is_number_or_absent(row.get(name)) for name in names)


def _is_number_or_absent(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        float(value)
    except (ValueError, OverflowError):
        return isinstance(value, str) and value.strip().lower() in ABSENT_WORDS
    return True


def _extract_elements(payload: object) -> list[Any]:
    if isinstance(payload, list):
        return payload
    if isinstance(payload, dict):
        if payload and all(key.isdecimal() for key in payload):
            return list(payload.values())
        if set(payload) == {"warning"}:
            return [payload]
    raise map_shape_to_error(payload, "a list of rows")


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


def to_positive_decimal(value: object) -> Decimal | None:
    """An exact number above 0, as decoded with ``exact_numbers`` or from a string; None for everything else.

    More than 28 digits or places are none: beyond, a product of a history's numbers is not exact any more.
    """
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        result = Decimal(value)
    except InvalidOperation:
        return None
    is_usable = result.is_finite() and result > 0 and abs(result.adjusted()) < MAX_DIGITS
    if not is_usable or len(result.as_tuple().digits) > MAX_DIGITS:
        return None
    return Decimal(f"{result.normalize():f}")


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


def to_code(value: object) -> str | None:
    """A symbol, or None; ``NA`` is one, too."""
    return value.strip() or None if isinstance(value, str) else None


def build_float_columns(rows: Sequence[JsonObject], names: Iterable[str]) -> dict[str, Any]:
    """Numeric columns by name; NaN where a value is absent."""
    return {name: np.array([to_float_or_nan(row.get(name)) for row in rows], np.float64) for name in names}
