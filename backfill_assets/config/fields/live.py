"""Settings of live collection: today's bars from live quotes."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from backfill_assets.config.fields.group import SettingsGroup
from backfill_assets.config.validators import validate_round_seconds


class LiveFields(SettingsGroup):
    """Whether and how often live quotes are read."""

    heading: ClassVar[str] = "Live collection"

    live: bool = Field(
        False, alias="BACKFILL_LIVE", description="Whether today's bars are collected from live quotes; costs calls."
    )
    live_budget: int = Field(
        10_000,
        alias="BACKFILL_LIVE_BUDGET",
        ge=0,
        le=1_000_000,
        description="Calls a UTC day for live quotes; at most half of the calls that this pipeline may use.",
    )
    live_seconds: Annotated[int, AfterValidator(validate_round_seconds)] = Field(
        300,
        alias="BACKFILL_LIVE_SECONDS",
        examples=["600"],
        ge=60,
        le=1800,
        description="Seconds between two rounds of live quotes. Must divide 1,800, so that rounds fall on the edges of"
        " slots. Rounds are less frequent if BACKFILL_LIVE_BUDGET is too small.",
    )
