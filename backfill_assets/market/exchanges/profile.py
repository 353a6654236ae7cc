"""What is known of one exchange: its hours, what its data mean, and what the vendor offers for it.

Values only. Which exchanges there are is in ``registry``; sessions come from ``market.calendar.sessions``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo


class MarketStatus(StrEnum):
    """How well the profile is proven."""

    VERIFIED = "verified"  # against the vendor's recorded answers
    EXPERIMENTAL = "experimental"  # from documents; reports say so, and what is assumed is learned


class NullVolume(StrEnum):
    """What a row with prices and without volume means."""

    QUOTE = "quote"  # nothing traded: it feeds no bar
    TRADE = "trade"  # prices are real, the volume is unknown


class VolumeKind(StrEnum):
    """What the vendor's volumes count."""

    SHARES = "shares"
    QUOTE_CURRENCY = "quote currency"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class CalendarOverrides:
    """A user's corrections to one exchange's calendar. Times are in its time zone.

    Attributes:
        closures: days without a session.
        early_closes: day → the close.
        late_opens: day → the open.
        extra_sessions: day → open and close of a session that the calendar lacks.
    """

    closures: frozenset[date] = frozenset()
    early_closes: Mapping[date, time] = field(default_factory=dict)
    late_opens: Mapping[date, time] = field(default_factory=dict)
    extra_sessions: Mapping[date, tuple[time, time]] = field(default_factory=dict)


NO_OVERRIDES = CalendarOverrides()


@dataclass(frozen=True, slots=True, eq=False)
class MarketProfile:
    """One exchange. Two profiles of the same exchange differ only by a user's corrections.

    Attributes:
        exchange: the vendor's code, which is the key; never a MIC, of which several codes may share one.
        name: for people.
        status: how well it is proven.
        calendar: name of the calendar in exchange_calendars.
        zone: time zone of its sessions' days and hours.
        currency: ISO code of most prices; None: unknown.
        price_unit: the unit that the vendor quotes in, such as GBX (pence); the currency's code where it is the same.
        names: further names of the exchange in other programs' tables.
        breaks: local start and end of each break of a full day; the calendar's library knows some, not all.
        grid_anchor: a local time on the clock grid of slots, such as the open; multiples of an interval count from it.
        closing_seconds: rows this long after the close, the close included, belong to the close (print or auction).
        source_interval: the vendor interval that bars are built from; None: BACKFILL_SOURCE_INTERVAL.
        askable_after: from the regular close until a request may return bars; None: BACKFILL_ASKABLE_HOURS_*.
        overdue_after: from the regular close until an absent bar counts as missing; None: BACKFILL_OVERDUE_HOURS.
        publication_delay: from a slot's end until anybody can have its bar.
        price_limit: a row with a price from here on is rejected. What a table cannot hold is refused by the table.
        null_volume: what a row without volume means.
        volume_kind: what volumes count. Only shown so far: those of every supported exchange count shares.
        daily_volume_tells: whether a daily volume of 0, or an absent daily row, proves that nothing traded.
        has_live_quotes: whether live quotes can be collected.
        has_market_file: whether the vendor has a daily file of the whole exchange.
        has_renames: whether the vendor lists changes of symbols.
        data_from: the first day of intraday data where it is later than that of others; None: the vendor's first.
        assumed: names of the attributes above that nobody has seen in the vendor's answers yet.
        overrides: a user's corrections of the calendar.
    """

    exchange: str
    name: str
    status: MarketStatus
    calendar: str
    zone: ZoneInfo
    currency: str | None
    price_unit: str | None
    grid_anchor: time
    names: frozenset[str] = frozenset()
    breaks: tuple[tuple[time, time], ...] = ()
    closing_seconds: int = 300
    source_interval: str | None = None
    askable_after: timedelta | None = None
    overdue_after: timedelta | None = None
    publication_delay: timedelta = timedelta(minutes=15)
    price_limit: float = 1_000_000_000.0  # below it float64 holds every price of six decimals
    null_volume: NullVolume = NullVolume.QUOTE
    volume_kind: VolumeKind = VolumeKind.SHARES
    daily_volume_tells: bool = True
    has_live_quotes: bool = False
    has_market_file: bool = True
    has_renames: bool = False
    data_from: date | None = None
    assumed: frozenset[str] = frozenset()
    overrides: CalendarOverrides = NO_OVERRIDES

    @property
    def is_experimental(self) -> bool:
        """Whether rules that rest on unproven facts only learn here, and reports say so."""
        return self.status is MarketStatus.EXPERIMENTAL

    @property
    def leaves_quotes_out_by_setting(self) -> bool:
        """Whether a person said that rows without volume are quotes: bars may have been built with them before."""
        is_set = self.is_experimental and "null_volume" not in self.assumed
        return is_set and self.null_volume is NullVolume.QUOTE
