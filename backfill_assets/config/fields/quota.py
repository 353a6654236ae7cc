"""Settings of the vendor's rate limit and daily quota, and how much of them this pipeline may use."""

from typing import ClassVar

from pydantic import Field

from backfill_assets.config.fields.group import SettingsGroup
from backfill_assets.market.exchange_order import ExchangeOrder


class QuotaFields(SettingsGroup):
    """The vendor's limits and the share of them that this pipeline may use."""

    heading: ClassVar[str] = "Rate limit and daily quota"

    requests_per_minute: int = Field(
        1000,
        alias="EODHD_REQUESTS_PER_MINUTE",
        ge=1,
        le=100_000,
        description="Requests a minute that the vendor allows.",
    )
    minute_share: float = Field(
        0.8,
        alias="BACKFILL_MINUTE_SHARE",
        gt=0,
        le=1,
        description="Share of the requests a minute that this pipeline uses; 1 only if nothing else uses the token.",
    )
    rate_window_seconds: float = Field(
        60,
        alias="BACKFILL_RATE_WINDOW_SECONDS",
        gt=0,
        le=3600,
        description="Length of the vendor's rate window, seconds; less than 60 only for tests.",
    )
    daily_calls: int = Field(
        100_000,
        alias="EODHD_DAILY_CALLS",
        ge=1,
        le=1_000_000_000,
        description="Calls a UTC day, until the vendor has reported the token's limit.",
    )
    collector_reserve: float = Field(
        0.1,
        alias="BACKFILL_COLLECTOR_RESERVE",
        ge=0,
        lt=1,
        description="Share of the daily calls that is left to other programs with the same token.",
    )
    exchange_order: ExchangeOrder = Field(
        ExchangeOrder.FAIR,
        alias="BACKFILL_EXCHANGE_ORDER",
        description="How exchanges share calls that do not suffice for all, after the sessions that are overdue, which"
        " come first: fair (older sessions of all, as equally as they need them) or listed (those of the first of"
        " BACKFILL_EXCHANGES, then of the next).",
    )
    spend_extra_limit: bool = Field(
        False, alias="BACKFILL_SPEND_EXTRA_LIMIT", description="Whether calls purchased in addition may be used."
    )
