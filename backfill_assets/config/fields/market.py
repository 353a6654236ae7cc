"""Settings of the universe and the trading calendar."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from backfill_assets.config.fields.group import SettingsGroup


class MarketFields(SettingsGroup):
    """Which symbols there are, and when they trade."""

    heading: ClassVar[str] = "Symbols and calendar"

    sync_exchange: Literal["US"] | None = Field(
        None,
        alias="BACKFILL_SYNC_EXCHANGE",
        description="Exchange whose symbol list the asset market_symbols adds to the universe; unset: none.",
    )
    sync_type: str | None = Field(
        None,
        alias="BACKFILL_SYNC_TYPE",
        description="Add only symbols of these vendor types, comma-separated, for example common_stock; all: every"
        " type; unset: Common Stock, Preferred Stock, ETF and listed funds.",
    )
    sync_listing: str | None = Field(
        None,
        alias="BACKFILL_SYNC_LISTING",
        description="Add only symbols listed on these exchanges, comma-separated, for example NYSE,NASDAQ; all:"
        " everywhere; unset: all but over-the-counter markets.",
    )
    calendar_file: Path | None = Field(
        None,
        alias="BACKFILL_CALENDAR_FILE",
        description='A JSON file with corrections of the calendar: {"closures": ["2026-01-09"],'
        ' "early_closes": {"2026-07-02": "13:00"}}, times in the exchange\'s time zone.',
    )
