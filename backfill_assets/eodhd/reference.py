"""Parsing of accounts, symbol lists and symbol changes (docs/vendor.md §5).

Absent values become None. Fields that are not named here are ignored.
"""

from datetime import date

from backfill_assets.eodhd.error_mapping import map_shape_to_error
from backfill_assets.eodhd.parsing import (
    MAX_UNREADABLE_SHARE_OF_EXCHANGE,
    JsonObject,
    decode_json,
    parse_rows,
    require_readable,
    to_code,
    to_int,
    to_text,
)
from backfill_assets.market.vendor import AccountUsage, ListedSymbol, RecordList, SymbolChange

MIN_YEAR, MAX_YEAR = 1900, 2099
MAX_CALL_COUNT = 1_000_000_000  # the sum of two fits a 32-bit integer


def parse_account(body: bytes) -> AccountUsage:
    """Parse ``/user`` or ``/internal-user`` (docs/vendor.md §1.3, §5.3).

    Negative counts are no counts; larger ones than ``MAX_CALL_COUNT`` are cut to it.

    Raises:
        VendorError: not an object, an object without calls and limit, or a refusal in words.
    """
    payload = _decode_object(body)
    account = AccountUsage(
        api_requests=_to_call_count(payload.get("apiRequests")),
        api_requests_date=to_date(payload.get("apiRequestsDate")),
        daily_rate_limit=_to_call_count(payload.get("dailyRateLimit")),
        extra_limit=_to_call_count(payload.get("extraLimit")),
    )
    if account.api_requests is None and account.daily_rate_limit is None:
        raise map_shape_to_error(payload, "an account with a number of requests or a limit")
    return account


def _to_call_count(value: object) -> int | None:
    count = to_int(value)
    return min(count, MAX_CALL_COUNT) if count is not None and count >= 0 else None


def parse_symbols(body: bytes) -> RecordList[ListedSymbol]:
    """Parse ``/exchange-symbol-list``; lines without a code are left out.

    Raises:
        BrokenAnswer: not a list, or more than 1 % of the lines cannot be read.
    """
    parsed = parse_rows(body)
    lines = [(to_code(row.get("Code")), row) for row in parsed.rows]
    unreadable = [row for code, row in lines if not code]
    require_readable(parsed, unreadable, "'Code' is needed", MAX_UNREADABLE_SHARE_OF_EXCHANGE)
    fields = ("Name", "Country", "Exchange", "Currency", "Type", "Isin")
    symbols = (ListedSymbol(code, *(to_text(row.get(field)) for field in fields)) for code, row in lines if code)
    return RecordList(symbols, parsed.warning)


def parse_symbol_changes(body: bytes) -> RecordList[SymbolChange]:
    """Parse ``/symbol-change-history``; lines without both symbols are left out."""
    parsed = parse_rows(body)
    lines = ((to_text(row.get("old_symbol")), to_text(row.get("new_symbol")), row) for row in parsed.rows)
    changes = (
        SymbolChange(
            to_text(row.get("exchange")), old, new, to_text(row.get("company_name")), to_date(row.get("effective"))
        )
        for old, new, row in lines
        if old and new
    )
    return RecordList(changes, parsed.warning)


def to_date(value: object) -> date | None:
    """A date written YYYY-MM-DD, or None; other centuries than the last and this one are no dates of a market."""
    text_value = to_text(value)
    try:
        result = date.fromisoformat(text_value[:10]) if text_value else None
    except ValueError:
        return None
    return result if result and MIN_YEAR <= result.year <= MAX_YEAR else None


def _decode_object(body: bytes) -> JsonObject:
    payload = decode_json(body)
    if not isinstance(payload, dict):
        raise map_shape_to_error(payload, "an object")
    return payload
