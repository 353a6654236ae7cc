"""Parsing of corporate actions, common to splits and dividends (docs/vendor.md §5.5 to §5.7).

What a row of a kind has is in ``eodhd.splits`` and ``eodhd.dividends``.
"""

from collections.abc import Callable
from datetime import date
from typing import TypeVar

from backfill_assets.eodhd.error_mapping import quote_json
from backfill_assets.eodhd.parsing import JsonObject, parse_rows, to_code
from backfill_assets.eodhd.reference import to_date
from backfill_assets.market.vendor_actions import ActionRows, DividendRow, SplitRow
from backfill_assets.market.vendor_errors import UnreadableRows

ActionRowT = TypeVar("ActionRowT", SplitRow, DividendRow)


def parse_action_rows(
    body: bytes,
    build_row: Callable[[str, date, JsonObject], ActionRowT | None],
    name: str,
    *,
    needs_code: bool,
) -> ActionRows[ActionRowT]:
    """Parse the actions of a ticker or of a whole exchange. Rows that cannot be read are counted and left out.

    Args:
        body: the answer; ``[]`` is a ticker, or a day, without any.
        build_row: the row of a symbol and an ex-date from its fields in lower case; None if they cannot be read.
        name: of the kind, for errors.
        needs_code: whether a row without a symbol cannot be read.

    Raises:
        BrokenAnswer: not JSON, of another shape, or without a single row that can be read.
    """
    parsed = parse_rows(body, exact_numbers=True)
    usable: list[ActionRowT] = []
    dropped: list[tuple[str | None, date | None]] = []
    for fields in parsed.rows:
        row = {name.lower(): value for name, value in fields.items()}
        code, day = to_code(row.get("code")), to_date(row.get("date"))
        built = build_row(code or "", day, row) if day and (code or not needs_code) else None
        if built is None:
            dropped.append((code, day))
        else:
            usable.append(built)
    bad_count = len(dropped) + len(parsed.non_objects)
    if bad_count and not usable:
        example: JsonObject = (parsed.rows or [{}])[0]
        raise UnreadableRows(f"none of {bad_count:,} {name} can be read, for example {quote_json(example)}")
    days = [day for _, day in dropped if day]
    return ActionRows(
        rows=tuple(usable),
        unparsable_rows=bad_count,
        unreadable_codes=frozenset(code for code, _ in dropped if code),
        unreadable_until=max(days, default=None) if len(days) == bad_count else None,
        warning=parsed.warning,
    )
