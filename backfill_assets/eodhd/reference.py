"""Accounts, symbol lists, exchange details and renames as typed values (EODHD.md §5).

Absent is None. What the vendor adds beyond these fields is ignored.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, time
from typing import Any

from backfill_assets.eodhd.errors import BrokenAnswer
from backfill_assets.eodhd.parsing import Row, decode, read_rows, text, whole


@dataclass(frozen=True)
class Account:
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
class Listed:
    """A line of an exchange's symbol list; ``code`` is the ticker without its exchange suffix."""

    code: str
    name: str | None
    country: str | None
    exchange: str | None
    currency: str | None
    kind: str | None
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
    opens: time | None
    closes: time | None
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
    effective: date | None


def read_account(body: bytes) -> Account:
    """Read ``/user`` or ``/internal-user``.

    Raises:
        BrokenAnswer: no object, or one that says nothing of requests and limits.
    """
    payload = _object(body)
    account = Account(
        api_requests=whole(payload.get("apiRequests")),
        api_requests_date=day(payload.get("apiRequestsDate")),
        daily_rate_limit=whole(payload.get("dailyRateLimit")),
        extra_limit=whole(payload.get("extraLimit")),
    )
    if account.api_requests is None and account.daily_rate_limit is None:
        raise BrokenAnswer("the account shows neither requests nor a limit")
    return account


def read_symbols(body: bytes) -> list[Listed]:
    """Read ``/exchange-symbol-list``; lines without a code are left out."""
    lines = ((text(row.get("Code")), row) for row in read_rows(body).rows)
    return [
        Listed(
            code,
            text(row.get("Name")),
            text(row.get("Country")),
            text(row.get("Exchange")),
            text(row.get("Currency")),
            text(row.get("Type")),
            text(row.get("Isin")),
        )
        for code, row in lines
        if code
    ]


def read_exchange_details(body: bytes) -> ExchangeDetails:
    """Read ``/exchange-details``; holidays may be a map keyed "0", a list or ``[]``."""
    payload = _object(body)
    hours = payload.get("TradingHours")
    hours = hours if isinstance(hours, dict) else {}
    is_open = payload.get("isOpen")
    return ExchangeDetails(
        timezone=text(payload.get("Timezone")),
        opens=clock(hours.get("Open")),
        closes=clock(hours.get("Close")),
        working_days=tuple(part.strip() for part in (text(hours.get("WorkingDays")) or "").split(",") if part),
        is_open=is_open if isinstance(is_open, bool) else None,
        holidays=_holidays(payload.get("ExchangeHolidays")),
        early_closes=_holidays(payload.get("ExchangeEarlyCloseDays")),
    )


def read_symbol_changes(body: bytes) -> list[SymbolChange]:
    """Read ``/symbol-change-history``; lines without both symbols are left out."""
    lines = ((text(row.get("old_symbol")), text(row.get("new_symbol")), row) for row in read_rows(body).rows)
    return [
        SymbolChange(text(row.get("exchange")), old, new, text(row.get("company_name")), day(row.get("effective")))
        for old, new, row in lines
        if old and new
    ]


def day(value: object) -> date | None:
    """A date written YYYY-MM-DD, or None."""
    written = text(value)
    try:
        return date.fromisoformat(written[:10]) if written else None
    except ValueError:
        return None


def clock(value: object) -> time | None:
    """A time of day written HH:MM or HH:MM:SS, or None."""
    written = text(value)
    try:
        return time.fromisoformat(written).replace(tzinfo=None) if written else None
    except ValueError:
        return None


def _holidays(value: object) -> tuple[Holiday, ...]:
    elements: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    rows: list[Row] = [element for element in elements if isinstance(element, dict)]
    dated = sorted(((found, row) for row in rows if (found := day(row.get("Date")))), key=lambda pair: pair[0])
    return tuple(
        Holiday(found, text(row.get("Holiday")), text(row.get("Type")), clock(row.get("EarlyClose")))
        for found, row in dated
    )


def _object(body: bytes) -> Row:
    payload = decode(body)
    if not isinstance(payload, dict):
        raise BrokenAnswer("the body is not an object")
    return payload
