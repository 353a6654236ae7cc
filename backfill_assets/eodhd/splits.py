"""Parsing of splits, ``/splits`` and ``/eod-bulk-last-day`` with ``type=splits`` (docs/vendor.md §5.6)."""

import re
from datetime import date
from decimal import Decimal

from backfill_assets.eodhd.action_rows import parse_action_rows
from backfill_assets.eodhd.parsing import JsonObject, to_positive_decimal, to_text
from backfill_assets.market.vendor_actions import SplitRow, SplitRows

MAX_RATIO = 1_000_000  # new shares for an old one, or the other way round
_RATIO = re.compile(r"\s*([0-9.eE+-]+)\s*[/:]\s*([0-9.eE+-]+)\s*")


def parse_splits(body: bytes) -> SplitRows:
    """Parse ``/splits``; ``[]`` is a ticker without splits. Rows that cannot be read are counted and left out.

    Raises:
        BrokenAnswer: not JSON, of another shape, or without a single row that can be read.
    """
    return parse_action_rows(body, _build_row, "splits", needs_code=False)


def parse_bulk_splits(body: bytes) -> SplitRows:
    """Parse the splits of a whole exchange; ``[]`` is a day without splits.

    Raises:
        BrokenAnswer: as ``parse_splits``.
    """
    return parse_action_rows(body, _build_row, "splits", needs_code=True)


def parse_ratio(value: object) -> tuple[Decimal, Decimal] | None:
    """New and old shares of ``"10.000000/1.000000"``, exactly; None if it is no ratio of two positive numbers.

    Neither is one of more than a million: a history of such ratios has no product that a price could be multiplied by.
    """
    match = _RATIO.fullmatch(to_text(value) or "")
    new, old = (to_positive_decimal(part) for part in match.groups()) if match else (None, None)
    return (new, old) if new and old and max(new / old, old / new) <= MAX_RATIO else None


def _build_row(code: str, day: date, row: JsonObject) -> SplitRow | None:
    ratio = parse_ratio(row.get("split"))
    return SplitRow(code, day, *ratio) if ratio else None
