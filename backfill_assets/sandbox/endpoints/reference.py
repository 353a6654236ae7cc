"""Lists of symbols and exchanges, hours and holidays, changes of symbols (docs/vendor.md §5, §8.1)."""

from datetime import date, datetime, timedelta
from typing import Any

from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE, get_profile
from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.exchange_traits import US_TRAITS, ExchangeTraits, get_traits
from backfill_assets.sandbox.wire.encoding import encode_json
from backfill_assets.sandbox.wire.request import ParsedRequest
from backfill_assets.sandbox.wire.responses import SuccessResponse, build_rows_response, ticker_not_found_error
from backfill_assets.sandbox.world.simulation import World
from backfill_assets.sandbox.world.universe import UNUSUAL_LISTINGS, SymbolListEntry

DETAILS_CALLS = CHANGES_CALLS = 5
_US_EXCHANGES = frozenset({"NASDAQ", "NYSE", "NYSE ARCA"})
_HALF_YEAR = timedelta(days=182)
_CHANGES_SINCE = date(2022, 7, 22)
_HOLIDAYS = {
    1: "New Year's Day",
    2: "Washington's Birthday",
    3: "Good Friday",
    4: "Good Friday",
    5: "Memorial Day",
    6: "Juneteenth",
    7: "Independence Day",
    9: "Labor Day",
    11: "Thanksgiving Day",
    12: "Christmas Day",
}


class ReferenceEndpoints:
    """The reference endpoints of one world."""

    def __init__(self, config: SandboxConfig, world: World) -> None:
        self._config, self._world = config, world

    def serve_symbols(self, request: ParsedRequest) -> SuccessResponse:
        """Answer ``/exchange-symbol-list``: listed tickers, or with ``delisted=1`` the delisted ones."""
        venue, exchange = request.path_argument.upper(), self._config.exchange
        venues = {exchange, *_US_EXCHANGES} if exchange == DEFAULT_EXCHANGE else {exchange}
        if venue not in venues:
            raise ticker_not_found_error()
        delisted = request.params.get("delisted") == "1"
        security_type = request.params.get("type", "").replace("_", " ").lower()
        rows = [
            self._build_symbol_row(entry)
            for entry in self._list_entries(request.today, delisted=delisted)
            if venue in {exchange, entry.exchange} and security_type in {"", entry.security_type.lower()}
        ]
        return build_rows_response(rows, 1, csv=request.wants_csv)

    def serve_exchange_details(self, request: ParsedRequest) -> SuccessResponse:
        """Answer ``/exchange-details``: hours, holidays and early closes of half a year before and after today."""
        market = self._world.market
        if request.path_argument.upper() != market.exchange:
            raise ticker_not_found_error()
        first = request.parse_date("from") or request.today - _HALF_YEAR
        last = request.parse_date("to") or request.today + _HALF_YEAR
        body = {
            "Name": _get_name(market.exchange),
            "Code": market.exchange,
            "OperatingMIC": self._world.universe.traits.mics,
            "Country": self._world.universe.traits.country,
            "Currency": market.currency,
            "Timezone": str(market.zone),
            "ExchangeHolidays": self._key_by_number(self._list_holidays(first, last)),
            "ExchangeEarlyCloseDays": self._key_by_number(self._list_early_closes(first, last)),
            "isOpen": self._is_open(request),
            "TradingHours": self._build_hours(request.today),
        }
        return SuccessResponse(encode_json(body), DETAILS_CALLS)

    def serve_exchanges(self, request: ParsedRequest) -> SuccessResponse:
        """Answer ``/exchanges-list``: the exchanges of this sandbox."""
        codes = (DEFAULT_EXCHANGE, *self._config.exchanges)
        return build_rows_response([_build_exchange_row(code) for code in codes], 1, csv=request.wants_csv)

    def serve_symbol_changes(self, request: ParsedRequest) -> SuccessResponse:
        """Answer ``/symbol-change-history``: renamed tickers."""
        first = max(request.parse_date("from") or _CHANGES_SINCE, _CHANGES_SINCE)
        last = min(request.parse_date("to") or request.today, request.today)
        rows = [
            {
                "exchange": "US",
                "old_symbol": old,
                "new_symbol": new,
                "company_name": self._world.universe.describe(new).name,
                "effective": day.isoformat(),
            }
            for old, (new, day) in sorted(self._config.renamed.items(), key=lambda item: item[1][1])
            if first <= day <= last
        ]
        return build_rows_response(rows, CHANGES_CALLS, csv=request.wants_csv)

    def _list_entries(self, today: date, *, delisted: bool) -> list[SymbolListEntry]:
        listings = self._world.listings
        entries = [
            self._world.universe.describe(symbol, listings.get_root(listings.find_holder(symbol, today)))
            for symbol in self._world.symbols
            if listings.is_known(symbol, today) and listings.is_delisted(symbol, today) is delisted
        ]
        has_unusual = self._config.quirks.unusual_listings and self._config.exchange == DEFAULT_EXCHANGE
        return [*entries, *UNUSUAL_LISTINGS] if has_unusual and not delisted else entries

    def _list_holidays(self, first: date, last: date) -> list[dict[str, Any]]:
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        return [
            {"Holiday": self._get_holiday_name(day), "Date": day.isoformat(), "Type": "official"}
            for day in days
            if day.weekday() < 5 and self._world.session_index.find_session(day) is None
        ]

    def _list_early_closes(self, first: date, last: date) -> list[dict[str, Any]]:
        session_index = self._world.session_index
        return [
            {
                "Holiday": f"{self._get_holiday_name(session.day)} {session.day.year}",
                "Date": session.day.isoformat(),
                "Type": "official",
                "EarlyClose": session.close.astimezone(self._world.market.zone).strftime("%H:%M"),
            }
            for session in session_index.sessions[session_index.slice_days(first, last)]
            if session.is_early_close
        ]

    def _key_by_number(self, entries: list[dict[str, Any]]) -> Any:
        """Return a map keyed "0", "1" as in recorded answers, or a list as documented."""
        if self._config.quirks.details_as_lists:
            return entries
        return {str(number): entry for number, entry in enumerate(entries)}

    def _is_open(self, request: ParsedRequest) -> bool:
        index = self._world.session_index.find_last_opened(request.now.timestamp())
        return index >= 0 and request.now < self._world.session_index.sessions[index].close

    def _build_hours(self, today: date) -> dict[str, str]:
        session_index, zone = self._world.session_index, self._world.market.zone
        session = session_index.sessions[session_index.slice_days(today, today + timedelta(days=10)).start]
        return {
            "Open": _format_time(session.open.astimezone(zone)),
            "Close": _format_time(session.regular_close.astimezone(zone)),
            "OpenUTC": _format_time(session.open),
            "CloseUTC": _format_time(session.regular_close),
            "WorkingDays": "Mon,Tue,Wed,Thu,Fri",
        }

    def _build_symbol_row(self, entry: SymbolListEntry) -> dict[str, Any]:
        universe = self._world.universe
        currency = universe.find_currency(entry.code) or self._world.action_factors.get_currency(entry.code)
        return {
            "Code": entry.code,
            "Name": entry.name,
            "Country": universe.traits.country,
            "Exchange": entry.exchange,
            "Currency": currency,
            "Type": entry.security_type,
            "Isin": entry.isin,
        }

    def _get_holiday_name(self, day: date) -> str:
        if self._config.exchange != DEFAULT_EXCHANGE:
            return "Market Holiday"
        if day.month == 1 and day.day > 10:
            return "Martin Luther King Jr. Day"
        return _HOLIDAYS.get(day.month, "Market Holiday")


def _build_exchange_row(exchange: str) -> dict[str, Any]:
    traits, market = _get_traits(exchange), get_profile(exchange)
    return {
        "Name": _get_name(exchange),
        "Code": exchange,
        "OperatingMIC": traits.mics,
        "Country": traits.country,
        "Currency": market.currency,
        "CountryISO2": traits.iso2,
        "CountryISO3": traits.iso3,
    }


def _get_traits(exchange: str) -> ExchangeTraits:
    return US_TRAITS if exchange == DEFAULT_EXCHANGE else get_traits(exchange)


def _get_name(exchange: str) -> str:
    return "USA Stocks" if exchange == DEFAULT_EXCHANGE else get_profile(exchange).name


def _format_time(moment: datetime) -> str:
    return moment.strftime("%H:%M:%S")
