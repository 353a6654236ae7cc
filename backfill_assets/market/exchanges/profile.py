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


class DailyEvidence(StrEnum):
    """What the vendor's daily data say about a session without bars."""

    VOLUME = "volume"  # a volume of 0, and the absence of a row among others, say that nothing traded
    CARRIED_FORWARD = "carried forward"  # a volume of 0 does; every day has a row, so its absence says nothing
    NOTHING = "nothing"


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


class TimesCountFrom(StrEnum):
    """The moment from which the times until a bar can be requested, and until it is overdue, count."""

    CLOSE = "close"  # the session's regular close: the vendor publishes a session at once
    SLOT_END = "slot end"  # the end of each slot: the market never closes, and the vendor trails it by some hours


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
        weekday_hours: weekday (Monday is 0) → local open and close of each part of a full day, oldest first, where they
            are not those of the calendar and ``breaks``; a day on which the calendar closes early closes early still.
        grid_anchor: a local time on the clock grid of slots, such as the open; multiples of an interval count from it.
        closing_seconds: rows this long after the close, the close included, belong to the close (print or auction).
        source_interval: the vendor interval that bars are built from; None: BACKFILL_SOURCE_INTERVAL.
        is_source_fixed: whether no other ``source_interval`` may be set: its rows would come from another source.
        times_count_from: whether ``askable_after`` and ``overdue_after`` count from a session's close or a slot's end.
        askable_after: from then until a request may return bars; None: BACKFILL_ASKABLE_HOURS_*.
        overdue_after: from then until an absent bar counts as missing; None: BACKFILL_OVERDUE_HOURS.
        publication_delay: from a slot's end until anybody can have its bar.
        price_limit: a row with a price from here on is rejected. What a table cannot hold is refused by the table.
        null_volume: what a row without volume means.
        volume_kind: what volumes count; rules about volumes are made for shares.
        price_step: the step that prices of one unit and more come in; 0: digits are as many as the price needs.
        daily_evidence: what daily data say about a session without bars.
        daily_covers_session: whether a daily row is of the hours of the session with its day; else it judges nothing.
        has_thin_symbols: whether an absent slot may be usual for a symbol that often lacks the same slot.
        has_live_quotes: whether live quotes can be collected.
        has_exchange_quotes: whether one request gives the live quotes of the whole exchange.
        has_market_file: whether the vendor has a daily file of the whole exchange.
        has_renames: whether the vendor lists changes of symbols.
        has_actions: whether its symbols have dividends and splits.
        has_other_feed: whether rows of the vendor's other interval may bear bars out.
        needs_breaks: whether its sessions have a break that no calendar knows and that a user has not given yet.
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
    weekday_hours: Mapping[int, tuple[tuple[time, time], ...]] = field(default_factory=dict)
    closing_seconds: int = 300
    source_interval: str | None = None
    is_source_fixed: bool = False
    times_count_from: TimesCountFrom = TimesCountFrom.CLOSE
    askable_after: timedelta | None = None
    overdue_after: timedelta | None = None
    publication_delay: timedelta = timedelta(minutes=15)
    price_limit: float = 1_000_000_000.0  # below it float64 holds every price of six decimals
    null_volume: NullVolume = NullVolume.QUOTE
    volume_kind: VolumeKind = VolumeKind.SHARES
    price_step: float = 0.01
    daily_evidence: DailyEvidence = DailyEvidence.VOLUME
    daily_covers_session: bool = True
    has_thin_symbols: bool = True
    has_live_quotes: bool = False
    has_exchange_quotes: bool = False
    has_market_file: bool = True
    has_renames: bool = False
    has_actions: bool = True
    has_other_feed: bool = True
    needs_breaks: bool = False
    data_from: date | None = None
    assumed: frozenset[str] = frozenset()
    overrides: CalendarOverrides = NO_OVERRIDES

    @property
    def is_experimental(self) -> bool:
        """Whether rules that rest on unproven facts only learn here, and reports say so."""
        return self.status is MarketStatus.EXPERIMENTAL

    @property
    def daily_volume_tells(self) -> bool:
        """Whether a daily volume of 0 says that nothing traded; among ``assumed`` it stands for ``daily_evidence``."""
        return self.daily_evidence is not DailyEvidence.NOTHING

    @property
    def uses_daily_data(self) -> bool:
        """Whether daily data explain or judge anything, so that they are requested."""
        return self.daily_volume_tells or self.daily_covers_session

    @property
    def is_around_the_clock(self) -> bool:
        """Whether the market never closes, so that times count from the end of each slot."""
        return self.times_count_from is TimesCountFrom.SLOT_END

    @property
    def has_closing_rows(self) -> bool:
        """Whether rows soon after a close may belong to it; a market that has no close has none."""
        return self.closing_seconds > 0

    @property
    def leaves_quotes_out_by_setting(self) -> bool:
        """Whether a person said that rows without volume are quotes: bars may have been built with them before."""
        is_set = self.is_experimental and "null_volume" not in self.assumed
        return is_set and self.null_volume is NullVolume.QUOTE
