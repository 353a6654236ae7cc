"""Parsing of splits, ``/splits`` and ``/eod-bulk-last-day`` with ``type=splits`` (docs/vendor.md §5.6)."""

import re

import numpy as np

from backfill_assets.eodhd.error_mapping import quote_json
from backfill_assets.eodhd.parsing import JsonObject, parse_rows, to_code, to_float, to_text
from backfill_assets.eodhd.reference import to_date
from backfill_assets.market.vendor import SplitRows
from backfill_assets.market.vendor_errors import UnreadableRows

_RATIO = re.compile(r"\s*([0-9.eE+-]+)\s*[/:]\s*([0-9.eE+-]+)\s*")


def parse_splits(body: bytes) -> SplitRows:
    """Parse ``/splits``; ``[]`` is a ticker without splits. Rows that cannot be read are counted and left out.

    Raises:
        BrokenAnswer: not JSON, of another shape, or without a single row that can be read.
    """
    return _parse(body, needs_code=False)


def parse_bulk_splits(body: bytes) -> SplitRows:
    """Parse the splits of a whole exchange; ``[]`` is a day without splits.

    Raises:
        BrokenAnswer: as ``parse_splits``.
    """
    return _parse(body, needs_code=True)


def _parse(body: bytes, *, needs_code: bool) -> SplitRows:
    parsed = parse_rows(body)
    lowered = [{name.lower(): value for name, value in row.items()} for row in parsed.rows]
    candidates = [
        (to_code(row.get("code")), to_date(row.get("date")), parse_ratio(row.get("split"))) for row in lowered
    ]
    usable = [(code or "", day, ratio) for code, day, ratio in candidates if (code or not needs_code) and day and ratio]
    unreadable_codes = {code for code, day, ratio in candidates if code and not (day and ratio)}
    bad_count = len(candidates) + len(parsed.non_objects) - len(usable)
    if bad_count and not usable:
        example: JsonObject = (parsed.rows or [{}])[0]
        raise UnreadableRows(f"none of {bad_count:,} splits can be read, for example {quote_json(example)}")
    return SplitRows(
        code=np.array([code for code, _, _ in usable], object),
        ex_date=np.array([day for _, day, _ in usable], "datetime64[D]"),
        ratio=np.array([ratio for _, _, ratio in usable], np.float64),
        unparsable_rows=bad_count,
        unreadable_codes=frozenset(unreadable_codes),
        warning=parsed.warning,
    )


def parse_ratio(value: object) -> float | None:
    """New shares for an old one from ``"10.000000/1.000000"``; None if it is no ratio of two positive numbers."""
    match = _RATIO.fullmatch(to_text(value) or "")
    new, old = (to_float(part) for part in match.groups()) if match else (None, None)
    if not new or not old or new < 0 or old < 0:
        return None
    return to_float(new / old) or None
