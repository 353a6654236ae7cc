"""Hours that ``/v2/exchange-details`` has, also of exchanges whose symbols the sandbox does not serve. Values only.

It knows exchanges by MIC, the US by its code, and has lunch breaks that the calendar's library lacks.
"""

from dataclasses import dataclass
from datetime import time


@dataclass(frozen=True)
class ExchangeHours:
    """One exchange; times are local, like ``09:30:00``.

    Attributes:
        name: as the vendor writes it.
        zone: time zone.
        opens: the regular session's open.
        closes: its close.
        lunch: start and end of the break at noon; None: there is none.
        calendar: whose holidays it has, a name of the library exchange_calendars.
        extended: opens of trading before and closes of trading after the session; None: there is none.
    """

    name: str
    zone: str
    opens: str
    closes: str
    lunch: tuple[str, str] | None
    calendar: str
    extended: tuple[str, str] | None = None

    @property
    def break_times(self) -> tuple[tuple[time, time], ...]:
        """The break at noon as a profile of the exchange has it; empty: there is none."""
        return () if self.lunch is None else ((time.fromisoformat(self.lunch[0]), time.fromisoformat(self.lunch[1])),)


def _describe(name: str, zone: str, hours: str, calendar: str, *, lunch: str = "", extended: str = "") -> ExchangeHours:
    opens, closes = _split(hours)
    return ExchangeHours(
        name, zone, opens, closes, _split(lunch) if lunch else None, calendar, _split(extended) if extended else None
    )


def _split(span: str) -> tuple[str, str]:
    """``09:00-15:30`` as two times."""
    first, _, last = span.partition("-")
    return f"{first}:00", f"{last}:00"


HOURS = {
    "US": _describe("NYSE / NASDAQ", "America/New_York", "09:30-16:00", "XNYS", extended="04:00-20:00"),
    "XTKS": _describe("Tokyo Stock Exchange", "Asia/Tokyo", "09:00-15:30", "XTKS", lunch="11:30-12:30"),
    "XHKG": _describe("Hong Kong Stock Exchange", "Asia/Hong_Kong", "09:30-16:00", "XHKG", lunch="12:00-13:00"),
    "XSHG": _describe("Shanghai Stock Exchange", "Asia/Shanghai", "09:30-15:00", "XSHG", lunch="11:30-13:00"),
    "XNSE": _describe("National Stock Exchange of India", "Asia/Kolkata", "09:15-15:30", "XBOM"),
    "XIDX": _describe("Jakarta Stock Exchange", "Asia/Jakarta", "09:00-15:50", "XIDX", lunch="12:00-13:30"),
    "XBKK": _describe("Stock Exchange of Thailand", "Asia/Bangkok", "10:00-16:30", "XBKK", lunch="12:30-14:30"),
    "XKLS": _describe("Bursa Malaysia", "Asia/Kuala_Lumpur", "09:00-17:00", "XKLS", lunch="12:30-14:30"),
    "XPHS": _describe("Philippine Stock Exchange", "Asia/Manila", "09:30-15:30", "XPHS", lunch="12:00-13:30"),
}
