"""Parsing of dividends, ``/div`` and ``/eod-bulk-last-day`` with ``type=dividends`` (docs/vendor.md §5.7)."""

from datetime import date

from backfill_assets.eodhd.action_rows import parse_action_rows
from backfill_assets.eodhd.parsing import JsonObject, to_positive_decimal, to_text
from backfill_assets.eodhd.reference import to_date
from backfill_assets.market.vendor_actions import DividendRow, DividendRows


def parse_dividends(body: bytes) -> DividendRows:
    """Parse ``/div``; ``[]`` is a ticker without dividends. Rows that cannot be read are counted and left out.

    A row without ``unadjustedValue`` cannot be read: ``value`` is adjusted for splits since, so it is another amount.

    Raises:
        BrokenAnswer: not JSON, of another shape, or without a single row that can be read.
    """
    return parse_action_rows(body, _build_row, "dividends", needs_code=False)


def parse_bulk_dividends(body: bytes) -> DividendRows:
    """Parse the dividends of a whole exchange; ``[]`` is a day without dividends.

    Raises:
        BrokenAnswer: as ``parse_dividends``.
    """
    return parse_action_rows(body, _build_row, "dividends", needs_code=True)


def _build_row(code: str, day: date, row: JsonObject) -> DividendRow | None:
    amount = to_positive_decimal(row.get("unadjustedvalue"))
    if amount is None:
        return None
    return DividendRow(
        code,
        day,
        period=(to_text(row.get("period")) or "").lower(),
        amount=amount,
        currency=to_text(row.get("currency")),
        declared_on=to_date(row.get("declarationdate")),
        record_on=to_date(row.get("recorddate")),
        paid_on=to_date(row.get("paymentdate")),
    )
