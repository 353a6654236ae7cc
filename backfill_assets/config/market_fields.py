"""What BACKFILL_MARKETS_FILE may say about one exchange: fields of its profile, and days of its calendar."""

import re
from datetime import date, time, timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from backfill_assets.market.calendar.calendar_tables import has_calendar
from backfill_assets.market.calendar.session_hours import ROW_MINUTES
from backfill_assets.market.calendar.sessions import EARLIEST_DATE, LATEST_DATE
from backfill_assets.market.exchanges.profile import DailyEvidence, MarketStatus, NullVolume, TimesCountFrom, VolumeKind

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?")
_DURATION = re.compile(r"(?=\d)(?:(\d{1,3})h)?(?:(\d{1,4})m)?")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")  # as date.weekday() counts
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def _read_clock(value: Any) -> time:
    if isinstance(value, time) and value.tzinfo is None and not value.microsecond:
        return value
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        raise ValueError('must be a local time such as "14:05"')
    return time.fromisoformat(value)


def _read_day(value: Any) -> date:
    if isinstance(value, str) and _DAY.fullmatch(value):
        value = date.fromisoformat(value)
    if type(value) is not date:  # a datetime is a date to isinstance
        raise ValueError("must be a day such as 2026-12-24")
    if not EARLIEST_DATE <= value <= LATEST_DATE:
        raise ValueError(f"must lie between {EARLIEST_DATE} and {LATEST_DATE}")
    return value


def _read_duration(value: Any) -> timedelta:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be hours and minutes such as "3h", "45m" or "2h30m"')
    length = timedelta(hours=int(match[1] or 0), minutes=int(match[2] or 0))
    if length > timedelta(days=7):
        raise ValueError('must be at most 7 days, "168h"')
    return length


def _read_zone(value: Any) -> ZoneInfo:
    try:
        return ZoneInfo(str(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone such as Europe/London") from None


def _check_calendar(name: str) -> str:
    if not has_calendar(name):
        raise ValueError("must be a calendar of the package exchange_calendars, such as XLON")
    return name


def _read_anchor(value: Any) -> time:
    anchor = _read_clock(value)
    if anchor.minute % 5 or anchor.second or anchor.microsecond:
        raise ValueError("must be a multiple of 5 minutes, as the times of the vendor's rows are")
    return anchor


def _check_break(hours: tuple[time, time]) -> tuple[time, time]:
    if hours[0] >= hours[1]:
        raise ValueError("a break must end after it begins")
    if hours[1].replace(minute=hours[1].minute // ROW_MINUTES * ROW_MINUTES, second=0) < hours[0]:
        raise ValueError("a break must not lie within 5 minutes of the clock: a row of the vendor has as many")
    return hours


def _read_weekday(value: Any) -> int:
    if value not in _WEEKDAYS:
        raise ValueError("must be a day of the week such as friday")
    return _WEEKDAYS.index(value)


def _check_parts(parts: tuple[tuple[time, time], ...]) -> tuple[tuple[time, time], ...]:
    if not parts:
        raise ValueError('must have at least one part such as ["09:00", "16:00"]; closed days belong into closures')
    if any(opens >= closes for opens, closes in parts):
        raise ValueError("a part of a day must end after it begins")
    for (_, closes), (opens, _) in pairwise(parts):
        _check_break((closes, opens))
    return parts


Clock = Annotated[time, PlainValidator(_read_clock)]
Day = Annotated[date, PlainValidator(_read_day)]
Duration = Annotated[timedelta, PlainValidator(_read_duration)]
Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=60, strip_whitespace=True)]
Code = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Z]{3}$")]
Break = Annotated[tuple[Clock, Clock], AfterValidator(_check_break)]
Weekday = Annotated[int, PlainValidator(_read_weekday)]
DayParts = Annotated[tuple[tuple[Clock, Clock], ...], AfterValidator(_check_parts)]
OLDER_FORM = "older_form"  # the type of the error that two forms of one field are given
# Every field, and the one-line example that errors and docs/markets.md show.
CORRECTIONS = {
    "name": 'name = "London"',
    "status": 'status = "verified"',
    "calendar": 'calendar = "XLON"',
    "zone": 'zone = "Europe/London"',
    "currency": 'currency = "GBP"',
    "price_unit": 'price_unit = "GBX"',
    "grid_anchor": 'grid_anchor = "08:00"',
    "breaks": 'breaks = [["12:00", "13:00"]]',
    "weekday_hours": 'weekday_hours.friday = [["09:00", "11:30"], ["14:00", "15:50"]]',
    "closing_seconds": "closing_seconds = 900",
    "source_interval": 'source_interval = "5m"',
    "times_count_from": 'times_count_from = "close"',
    "askable_after": 'askable_after = "3h"',
    "overdue_after": 'overdue_after = "24h"',
    "publication_delay": 'publication_delay = "15m"',
    "price_limit": "price_limit = 1000000000",
    "null_volume": 'null_volume = "quote"',
    "volume_kind": 'volume_kind = "shares"',
    "price_step": "price_step = 0.01",
    "daily_evidence": 'daily_evidence = "carried forward"',
    "daily_volume_tells": "daily_volume_tells = false",
    "has_thin_symbols": "has_thin_symbols = false",
    "daily_covers_session": "daily_covers_session = false",
    "has_live_quotes": "has_live_quotes = false",
    "has_exchange_quotes": "has_exchange_quotes = false",
    "has_market_file": "has_market_file = true",
    "has_renames": "has_renames = false",
    "has_actions": "has_actions = true",
    "has_other_feed": "has_other_feed = false",
    "data_from": "data_from = 2025-01-01",
    "closures": "closures = [2026-05-08]",
    "early_closes": 'early_closes.2026-12-24 = "12:30"',
    "late_opens": 'late_opens.2026-01-02 = "10:00"',
    "extra_sessions": 'extra_sessions.2026-11-19 = ["10:00", "16:30"]',
}


class MarketCorrections(BaseModel):
    """The table of one exchange; a field that is not given is None, or empty, and changes nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text | None = None
    status: MarketStatus | None = None
    calendar: Annotated[Text, AfterValidator(_check_calendar)] | None = None
    zone: Annotated[ZoneInfo, PlainValidator(_read_zone)] | None = None
    currency: Code | None = None
    price_unit: Code | None = None
    grid_anchor: Annotated[time, PlainValidator(_read_anchor)] | None = None
    breaks: tuple[Break, ...] | None = None
    weekday_hours: dict[Weekday, DayParts] | None = None
    closing_seconds: Annotated[StrictInt, Field(ge=0, le=14_400)] | None = None
    source_interval: Literal["1m", "5m"] | None = None
    times_count_from: TimesCountFrom | None = None
    askable_after: Duration | None = None
    overdue_after: Duration | None = None
    publication_delay: Duration | None = None
    price_limit: Annotated[StrictFloat | StrictInt, Field(gt=0, le=9_000_000_000)] | None = None
    null_volume: NullVolume | None = None
    volume_kind: VolumeKind | None = None
    price_step: Annotated[StrictFloat | StrictInt, Field(ge=0, le=1000)] | None = None
    daily_evidence: DailyEvidence | None = None
    daily_volume_tells: StrictBool | None = None
    has_thin_symbols: StrictBool | None = None
    daily_covers_session: StrictBool | None = None
    has_live_quotes: StrictBool | None = None
    has_exchange_quotes: StrictBool | None = None
    has_market_file: StrictBool | None = None
    has_renames: StrictBool | None = None
    has_actions: StrictBool | None = None
    has_other_feed: StrictBool | None = None
    data_from: Day | None = None
    closures: frozenset[Day] = frozenset()
    early_closes: dict[Day, Clock] = Field(default_factory=dict)
    late_opens: dict[Day, Clock] = Field(default_factory=dict)
    extra_sessions: dict[Day, tuple[Clock, Clock]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_days(self) -> "MarketCorrections":
        both = sorted(self.closures & self.list_open_days())
        if both:
            raise ValueError(f"{both[0]} is among closures and has hours, too")
        return self

    def list_open_days(self) -> frozenset[date]:
        """The days that are given hours."""
        return frozenset({*self.early_closes, *self.late_opens, *self.extra_sessions})

    @model_validator(mode="after")
    def _check_evidence(self) -> "MarketCorrections":
        if self.daily_evidence is not None and self.daily_volume_tells is not None:
            raise PydanticCustomError(OLDER_FORM, "it is the older form of daily_evidence: give one of the two")
        return self

    def list_fields(self) -> dict[str, Any]:
        """The given fields of the profile, by name."""
        given = self.model_fields_set - {"closures", "early_closes", "late_opens", "extra_sessions"}
        fields = {name: getattr(self, name) for name in given}
        if (tells := fields.pop("daily_volume_tells", None)) is not None:
            fields["daily_evidence"] = DailyEvidence.VOLUME if tells else DailyEvidence.NOTHING
        return fields

    def list_known(self) -> frozenset[str]:
        """The attributes of the profile that are not assumed any more: who sets a field knows it."""
        older = {"daily_volume_tells"} if self.daily_evidence is not None else set()
        return frozenset(self.model_fields_set | older)
