"""How moments are shown to people: in UTC, or in an exchange's time zone with the exchange named.

Used by every text that a person reads. Moments for programs, such as JSON, stay UTC (``timestamps``).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from backfill_assets.market.calendar.timestamps import format_timestamp
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE


@dataclass(frozen=True, slots=True)
class MomentStyle:
    """The style of one exchange's moments.

    Attributes:
        market: in whose time zone moments are shown; None: in UTC.
    """

    market: MarketProfile | None = None

    @property
    def zone_name(self) -> str:
        """For a heading: ``UTC``, or ``London, LSE``."""
        return f"{name_city(self.market.zone)}, {self.market.exchange}" if self.market else "UTC"

    def format_minute(self, moment: datetime) -> str:
        """A moment to the minute: ``2026-06-01 13:30 UTC``, or ``2026-06-01 14:30 London (LSE)``."""
        return self._format(moment, "%Y-%m-%d %H:%M", "UTC")

    def format_moment(self, moment: datetime) -> str:
        """A moment to the second: ``2026-06-01T13:30:00Z``, or ``2026-06-01 14:30:00 London (LSE)``.

        Without seconds where there are none and the exchange is named.
        """
        if self.market is None:
            return format_timestamp(moment)
        seconds = ":%S" if moment.second else ""
        return self._format(moment, f"%Y-%m-%d %H:%M{seconds}", "")

    def format_optional_moment(self, moment: datetime | None) -> str | None:
        """The same; None for None."""
        return self.format_moment(moment) if moment else None

    def format_without_zone(self, moment: datetime) -> str:
        """A moment under a heading that names the zone: ``2026-06-01T13:30:00Z``, or ``2026-06-01 14:30``."""
        if self.market is None:
            return format_timestamp(moment)
        return f"{moment.astimezone(self.market.zone):%Y-%m-%d %H:%M}"

    def _format(self, moment: datetime, pattern: str, utc_name: str) -> str:
        if self.market is None:
            return f"{moment.astimezone(UTC).strftime(pattern)} {utc_name}"
        local = moment.astimezone(self.market.zone).strftime(pattern)
        return f"{local} {name_city(self.market.zone)} ({self.market.exchange})"


UTC_STYLE = MomentStyle()


def choose_moment_style(market: MarketProfile, enabled: Collection[str]) -> MomentStyle:
    """The style of an exchange's moments: UTC while the US is the only exchange, else the exchange's own zone.

    Args:
        market: whose moments are shown.
        enabled: the exchanges that are collected (BACKFILL_EXCHANGES).
    """
    is_us_alone = market.exchange == DEFAULT_EXCHANGE and set(enabled) <= {DEFAULT_EXCHANGE}
    return UTC_STYLE if is_us_alone else MomentStyle(market)


def name_city(zone: ZoneInfo) -> str:
    """The city of a time zone, such as New York."""
    return zone.key.rpartition("/")[2].replace("_", " ")
