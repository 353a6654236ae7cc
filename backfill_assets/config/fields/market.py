"""Settings of the universe and the trading calendar."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from backfill_assets.config.fields.group import SettingsGroup
from backfill_assets.config.validators import validate_exchanges
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE


class MarketFields(SettingsGroup):
    """Which symbols there are, and when they trade."""

    heading: ClassVar[str] = "Symbols and calendar"

    exchanges: Annotated[tuple[str, ...], AfterValidator(validate_exchanges)] = Field(
        (DEFAULT_EXCHANGE,),
        alias="BACKFILL_EXCHANGES",
        examples=['["US", "LSE"]'],
        description="Exchanges that are collected, by the vendor's codes, as a JSON list.",
    )
    sync_exchange: str | None = Field(
        None,
        alias="BACKFILL_SYNC_EXCHANGE",
        examples=["US"],
        description="Exchange of BACKFILL_EXCHANGES whose symbol list the asset market_symbols adds to the universe, at"
        " most 200 symbols at once; unset: none.",
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
    markets_file: Path | None = Field(
        None,
        alias="BACKFILL_MARKETS_FILE",
        description="A TOML file with what you know better than the profiles of exchanges: days of their calendars, and"
        " any field (docs/markets.md).",
    )
