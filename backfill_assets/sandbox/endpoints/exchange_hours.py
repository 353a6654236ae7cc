"""``/v2/exchange-details``: which exchanges it knows, and hours, breaks and holidays of one (docs/vendor.md §5)."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from backfill_assets.market.calendar.calendar_tables import build_calendar_table
from backfill_assets.sandbox.exchange_hours import HOURS, ExchangeHours
from backfill_assets.sandbox.wire.encoding import encode_json
from backfill_assets.sandbox.wire.request import ParsedRequest
from backfill_assets.sandbox.wire.responses import SuccessResponse, ticker_not_found_error, unknown_endpoint_error

HOURS_CALLS = 5
_WORKING_DAYS = "Mon, Tue, Wed, Thu, Fri"


def serve_exchange_hours(request: ParsedRequest) -> SuccessResponse:
    """Answer ``/v2/exchange-details`` with the known codes, ``/v2/exchange-details/{code}`` with one exchange."""
    name, _, code = request.path_argument.partition("/")
    if name != "exchange-details":
        raise unknown_endpoint_error()
    if not code:
        return SuccessResponse(encode_json({"data": sorted(HOURS), "meta": [], "links": []}), HOURS_CALLS)
    hours = HOURS.get(code.upper())
    if hours is None:
        raise ticker_not_found_error()
    body = {"data": _describe(code.upper(), hours, request.today.year), "meta": [], "links": []}
    return SuccessResponse(encode_json(body), HOURS_CALLS)


def _describe(code: str, hours: ExchangeHours, year: int) -> dict[str, Any]:
    trading = {"Open": hours.opens, "Close": hours.closes, "WorkingDays": _WORKING_DAYS}
    if hours.extended is not None:
        trading |= {"PreMarketOpen": hours.extended[0], "PreMarketClose": hours.opens}
        trading |= {"AfterHoursOpen": hours.closes, "AfterHoursClose": hours.extended[1]}
    if hours.lunch is not None:
        trading |= {"LunchBreakStart": hours.lunch[0], "LunchBreakEnd": hours.lunch[1]}
    return {
        "Name": hours.name,
        "Code": code,
        "Timezone": hours.zone,
        "TradingHours": trading,
        "ExchangeHolidays": _list_holidays(hours, year),
    }


def _list_holidays(hours: ExchangeHours, year: int) -> dict[str, dict[str, str]]:
    """The year's weekdays without a session, and those that close early."""
    table = build_calendar_table(hours.calendar, year)
    zone, regular_close = ZoneInfo(hours.zone), time.fromisoformat(hours.closes)
    closes = {
        day: datetime.fromtimestamp(close, UTC).astimezone(zone).time()
        for day, close in zip(table.days, table.closes, strict=True)
    }
    holidays = {}
    for day in (date(year, 1, 1) + timedelta(days=number) for number in range(366)):
        if day.year != year or day.weekday() > 4:
            continue
        close = closes.get(day)
        if close is None:
            holidays[day.isoformat()] = {"Holiday": "Market Holiday", "Type": "Official"}
        elif close < regular_close:
            holidays[day.isoformat()] = {"Holiday": "Half Day", "Type": "EarlyClose", "EarlyClose": f"{close:%H:%M:%S}"}
    return holidays
