"""Accounts, symbol lists, exchange details and renames as typed values (EODHD.md §5).

Absent is None. What the vendor adds beyond these fields is ignored.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, time
from typing import Any

from backfill_assets.eodhd.errors import BrokenAnswer
from backfill_assets.eodhd.parsing import JsonObject, decode_json, parse_rows, to_int, to_text


@dataclass(frozen=True)
class AccountUsage:
    """The token's account.

    Attributes:
        api_requests: calls used on ``api_requests_date`` (UTC day, by the vendor's clock); both stay
            on yesterday until the day's first billed call.
        daily_rate_limit: calls a day.
        extra_limit: purchased calls left, spent silently once the day's are gone (EODHD.md §1).
    """

    api_requests: int | None
    api_requests_date: date | None
    daily_rate_limit: int | None
    extra_limit: int | None


@dataclass(frozen=True)
class ListedSymbol:
    """A line of an exchange's symbol list; ``code`` is the ticker without its exchange suffix."""

    code: str
    name: str | None
    country: str | None
    exchange: str | None
    currency: str | None
    symbol_type: str | None
    isin: str | None


@dataclass(frozen=True)
class Holiday:
    """A day that an exchange is closed, or closes early (``early_close``, its local time).

    ``kind`` is ``official``, or ``bank``, on which there may still be trading.
    """

    day: date
    name: str | None
    kind: str | None
    early_close: time | None = None


@dataclass(frozen=True)
class ExchangeDetails:
    """An exchange's hours (local to ``timezone``) and its holidays, about six months either way."""

    timezone: str | None
    open_time: time | None
    close_time: time | None
    working_days: tuple[str, ...]
    is_open: bool | None
    holidays: tuple[Holiday, ...]
    early_closes: tuple[Holiday, ...]


@dataclass(frozen=True)
class SymbolChange:
    """A rename; symbols without exchange suffix."""

    exchange: str | None
    old_symbol: str
    new_symbol: str
    company_name: str | None
    effective_date: date | None


def parse_account(body: bytes) -> AccountUsage:
    """Read ``/user`` or ``/internal-user``.

    Raises:
        BrokenAnswer: no object, or one that says nothing of requests and limits.
    """
    payload = _decode_object(body)
    account = AccountUsage(
        api_requests=to_int(payload.get("apiRequests")),
        api_requests_date=to_date(payload.get("apiRequestsDate")),
        daily_rate_limit=to_int(payload.get("dailyRateLimit")),
        extra_limit=to_int(payload.get("extraLimit")),
    )
    if account.api_requests is None and account.daily_rate_limit is None:
        raise BrokenAnswer("the account shows neither requests nor a limit")
    return account


def parse_symbols(body: bytes) -> list[ListedSymbol]:
    """Read ``/exchange-symbol-list``; lines without a code are left out."""
    lines = ((to_text(row.get("Code")), row) for row in parse_rows(body).rows)
    return [
        ListedSymbol(
            code,
            to_text(row.get("Name")),
            to_text(row.get("Country")),
            to_text(row.get("Exchange")),
            to_text(row.get("Currency")),
            to_text(row.get("Type")),
            to_text(row.get("Isin")),
        )
        for code, row in lines
        if code
    ]


def parse_exchange_details(body: bytes) -> ExchangeDetails:
    """Read ``/exchange-details``; holidays may be a map keyed "0", a list or ``[]``."""
    payload = _decode_object(body)
    hours = payload.get("TradingHours")
    hours = hours if isinstance(hours, dict) else {}
    is_open = payload.get("isOpen")
    return ExchangeDetails(
        timezone=to_text(payload.get("Timezone")),
        open_time=to_time(hours.get("Open")),
        close_time=to_time(hours.get("Close")),
        working_days=tuple(part.strip() for part in (to_text(hours.get("WorkingDays")) or "").split(",") if part),
        is_open=is_open if isinstance(is_open, bool) else None,
        holidays=_parse_holidays(payload.get("ExchangeHolidays")),
        early_closes=_parse_holidays(payload.get("ExchangeEarlyCloseDays")),
    )


def parse_symbol_changes(body: bytes) -> list[SymbolChange]:
    """Read ``/symbol-change-history``; lines without both symbols are left out."""
    lines = ((to_text(row.get("old_symbol")), to_text(row.get("new_symbol")), row) for row in parse_rows(body).rows)
    return [
        SymbolChange(
            to_text(row.get("exchange")), old, new, to_text(row.get("company_name")), to_date(row.get("effective"))
        )
        for old, new, row in lines
        if old and new
    ]


def to_date(value: object) -> date | None:
    """A date written YYYY-MM-DD, or None."""
    text_value = to_text(value)
    try:
        return date.fromisoformat(text_value[:10]) if text_value else None
    except ValueError:
        return None


def to_time(value: object) -> time | None:
    """A time of day written HH:MM or HH:MM:SS, or None."""
    text_value = to_text(value)
    try:
        return time.fromisoformat(text_value).replace(tzinfo=None) if text_value else None
    except ValueError:
        return None


def _parse_holidays(value: object) -> tuple[Holiday, ...]:
    elements: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    rows: list[JsonObject] = [element for element in elements if isinstance(element, dict)]
    dated = sorted(((found, row) for row in rows if (found := to_date(row.get("Date")))), key=lambda pair: pair[0])
    return tuple(
        Holiday(found, to_text(row.get("Holiday")), to_text(row.get("Type")), to_time(row.get("EarlyClose")))
        for found, row in dated
    )


def _decode_object(body: bytes) -> JsonObject:
    payload = decode_json(body)
    if not isinstance(payload, dict):
        raise BrokenAnswer("the body is not an object")
    return payload
