"""Parsing of accounts, symbol lists and symbol changes (docs/vendor.md §5).

Absent values become None. Fields that are not named here are ignored.
"""

from collections.abc import Iterator
from datetime import date, time

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
from backfill_assets.market.vendor import AccountUsage, ExchangeHours, ListedSymbol, RecordList, SymbolChange

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


def parse_exchange_codes(body: bytes) -> frozenset[str]:
    """Parse ``/exchanges-list``: the codes of the exchanges that the plan holds (docs/vendor.md §5.10)."""
    return frozenset(code for row in parse_rows(body).rows if (code := to_code(row.get("Code"))))


def parse_exchange_hours(body: bytes) -> ExchangeHours:
    """Parse ``/v2/exchange-details/{code}`` (docs/vendor.md §8.6); what cannot be read is absent.

    Raises:
        VendorError: no object with trading hours, or a refusal in words.
    """
    payload = _decode_object(body)
    details = payload.get("data", payload)
    hours = details.get("TradingHours") if isinstance(details, dict) else None
    if not isinstance(hours, dict):
        raise map_shape_to_error(payload, "an exchange with trading hours")
    lunch = (_to_time(hours.get("LunchBreakStart")), _to_time(hours.get("LunchBreakEnd")))
    holidays = list(_list_holidays(details.get("ExchangeHolidays")))
    early = ((day, _to_time(entry.get("EarlyClose"))) for day, entry in holidays)
    return ExchangeHours(
        name=to_text(details.get("Name")),
        zone=to_text(details.get("Timezone")),
        opens=_to_time(hours.get("Open")),
        closes=_to_time(hours.get("Close")),
        lunch=(lunch[0], lunch[1]) if lunch[0] and lunch[1] and lunch[0] < lunch[1] else None,
        holidays=frozenset(day for day, entry in holidays if _read_type(entry) == "official"),
        bank_holidays=frozenset(day for day, entry in holidays if _read_type(entry) == "bank"),
        early_closes={day: close for day, close in early if close is not None},
    )


def _list_holidays(value: object) -> Iterator[tuple[date, JsonObject]]:
    """Each day with its entry: in a map by day, as version 2 has it, or with the day as a field of the entry."""
    entries = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
    for key, entry in entries:
        if isinstance(entry, dict) and (day := to_date(entry.get("Date")) or to_date(key)):
            yield day, entry


def _read_type(entry: JsonObject) -> str:
    """The kind of day, in lower case: versions differ in capitals."""
    return (to_text(entry.get("Type")) or "").lower()


def _to_time(value: object) -> time | None:
    """A local time written HH:MM or HH:MM:SS, or None."""
    try:
        return time.fromisoformat(to_text(value) or "").replace(tzinfo=None)
    except ValueError:
        return None


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
