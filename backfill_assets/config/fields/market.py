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
        description="Add only symbols of this vendor type, for example common_stock; unset: all types.",
    )
    calendar_file: Path | None = Field(
        None,
        alias="BACKFILL_CALENDAR_FILE",
        description='A JSON file with corrections of the calendar: {"closures": ["2026-01-09"],'
        ' "early_closes": {"2026-07-02": "13:00"}}, times in the exchange\'s time zone.',
    )
