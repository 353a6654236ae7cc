"""``/exchange-symbol-list``, ``/exchange-details`` and ``/symbol-change-history`` (EODHD.md §5)."""

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from backfill_assets.sandbox.config import SandboxConfig
from backfill_assets.sandbox.wire.encoding import json_bytes
from backfill_assets.sandbox.wire.request import Asked
from backfill_assets.sandbox.wire.responses import Answer, not_found, rows_answer
from backfill_assets.sandbox.world.simulation import World
from backfill_assets.sandbox.world.universe import Listing, listing

DETAILS_CALLS = CHANGES_CALLS = 5
_PARTS_OF_US = frozenset({"NASDAQ", "NYSE", "NYSE ARCA"})
_HALF_YEAR = timedelta(days=182)
_CHANGES_SINCE = date(2022, 7, 22)
_NEW_YORK = ZoneInfo("America/New_York")
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


class Reference:
    """The reference endpoints over one world."""

    def __init__(self, config: SandboxConfig, world: World) -> None:
        self._config, self._world = config, world

    def symbols(self, asked: Asked) -> Answer:
        """Listed tickers, or with ``delisted=1`` the dead ones: two separate lists."""
        exchange = asked.argument.upper()
        if exchange != "US" and exchange not in _PARTS_OF_US:
            raise not_found()
        dead = asked.params.get("delisted") == "1"
        kind = asked.params.get("type", "").replace("_", " ").lower()
        rows = [
            _listed(entry)
            for entry in self._entries(asked.today, dead=dead)
            if exchange in {"US", entry.exchange} and kind in {"", entry.kind.lower()}
        ]
        return rows_answer(rows, 1, csv=asked.csv)

    def details(self, asked: Asked) -> Answer:
        """Hours, holidays and early closes around now."""
        if asked.argument.upper() != "US":
            raise not_found()
        first = asked.day("from") or asked.today - _HALF_YEAR
        last = asked.day("to") or asked.today + _HALF_YEAR
        body = {
            "Name": "USA Stocks",
            "Code": "US",
            "OperatingMIC": "XNAS, XNYS, OTCM",
            "Country": "USA",
            "Currency": "USD",
            "Timezone": "America/New_York",
            "ExchangeHolidays": self._keyed(self._holidays(first, last)),
            "ExchangeEarlyCloseDays": self._keyed(self._early_closes(first, last)),
            "isOpen": self._is_open(asked),
            "TradingHours": self._hours(asked.today),
        }
        return Answer(json_bytes(body), DETAILS_CALLS)

    def changes(self, asked: Asked) -> Answer:
        """Renamed tickers."""
        first = max(asked.day("from") or _CHANGES_SINCE, _CHANGES_SINCE)
        last = min(asked.day("to") or asked.today, asked.today)
        rows = [
            {
                "exchange": "US",
                "old_symbol": old,
                "new_symbol": new,
                "company_name": listing(new).name,
                "effective": day.isoformat(),
            }
            for old, (new, day) in sorted(self._config.renamed.items(), key=lambda item: item[1][1])
            if first <= day <= last
        ]
        return rows_answer(rows, CHANGES_CALLS, csv=asked.csv)

    def _entries(self, today: date, *, dead: bool) -> list[Listing]:
        lives = self._world.lives
        return [
            listing(symbol)
            for symbol in self._world.tickers
            if lives.known(symbol, today) and lives.dead(symbol, today) is dead
        ]

    def _holidays(self, first: date, last: date) -> list[dict[str, Any]]:
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        return [
            {"Holiday": _holiday_name(day), "Date": day.isoformat(), "Type": "official"}
            for day in days
            if day.weekday() < 5 and self._world.timetable.on(day) is None
        ]

    def _early_closes(self, first: date, last: date) -> list[dict[str, Any]]:
        timetable = self._world.timetable
        return [
            {
                "Holiday": f"{_holiday_name(session.day)} {session.day.year}",
                "Date": session.day.isoformat(),
                "Type": "official",
                "EarlyClose": session.close.astimezone(_NEW_YORK).strftime("%H:%M"),
            }
            for session in timetable.sessions[timetable.days(first, last)]
            if session.is_early_close
        ]

    def _keyed(self, entries: list[dict[str, Any]]) -> Any:
        """A map keyed "0", "1" as recorded, or a list as documented."""
        if self._config.traits.details_as_lists:
            return entries
        return {str(number): entry for number, entry in enumerate(entries)}

    def _is_open(self, asked: Asked) -> bool:
        index = self._world.timetable.opened(asked.now.timestamp())
        return index >= 0 and asked.now < self._world.timetable.sessions[index].close

    def _hours(self, today: date) -> dict[str, str]:
        timetable = self._world.timetable
        session = timetable.sessions[timetable.days(today, today + timedelta(days=10)).start]
        return {
            "Open": "09:30:00",
            "Close": "16:00:00",
            "OpenUTC": session.open.strftime("%H:%M:%S"),
            "CloseUTC": session.regular_close.strftime("%H:%M:%S"),
            "WorkingDays": "Mon,Tue,Wed,Thu,Fri",
        }


def _listed(entry: Listing) -> dict[str, Any]:
    return {
        "Code": entry.code,
        "Name": entry.name,
        "Country": "USA",
        "Exchange": entry.exchange,
        "Currency": "USD",
        "Type": entry.kind,
        "Isin": entry.isin,
    }


def _holiday_name(day: date) -> str:
    if day.month == 1 and day.day > 10:
        return "Martin Luther King Jr. Day"
    return _HOLIDAYS.get(day.month, "Market Holiday")
