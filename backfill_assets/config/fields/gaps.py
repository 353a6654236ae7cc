"""Settings of gaps: what bars are built from, when an absent bar is requested and when it counts as missing.

What one request covers is in ``requests``.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from backfill_assets.config.fields.group import SettingsGroup
from backfill_assets.config.validators import validate_ladder_hours


class GapFields(SettingsGroup):
    """When absent bars are requested, and when they count as missing."""

    heading: ClassVar[str] = "Gaps"

    source_interval: Literal["1m", "5m"] = Field(
        "5m", alias="BACKFILL_SOURCE_INTERVAL", description="The vendor's interval that bars are built from."
    )
    askable_hours_5m: float = Field(
        3,
        alias="BACKFILL_ASKABLE_HOURS_5M",
        ge=0,
        le=72,
        description="Hours after the regular close before 5m data of a session is requested.",
    )
    askable_hours_1m: float = Field(
        5,
        alias="BACKFILL_ASKABLE_HOURS_1M",
        ge=0,
        le=72,
        description="Hours after the regular close before 1m data of a session is requested.",
    )
    overdue_hours: float = Field(
        16,
        alias="BACKFILL_OVERDUE_HOURS",
        ge=0,
        le=240,
        description="Hours after the regular close before an absent bar counts as missing.",
    )
    overdue_after_half_hours: float = Field(
        6,
        alias="BACKFILL_OVERDUE_AFTER_HALF_HOURS",
        ge=0,
        le=240,
        description="Hours, once half of the symbols were seen published, before an absent bar counts as missing.",
    )
    around_the_clock_ask_hours: float = Field(
        6,
        alias="BACKFILL_AROUND_THE_CLOCK_ASK_HOURS",
        ge=0.5,
        le=12,  # the vendor trails by 10 hours at most: so every bar is requested before it is overdue after 24
        description="Hours between requests for a symbol of a market that never closes, such as CC; one symbol is"
        " requested every half hour, to see how far the vendor's rows reach.",
    )
    ladder_hours: Annotated[tuple[float, ...], AfterValidator(validate_ladder_hours)] = Field(
        (1, 3, 6, 12, 24),
        alias="BACKFILL_LADDER_HOURS",
        description="Delays between requests for a bar that the vendor does not return, hours, as a JSON list;"
        " after the last one daily for ten days, then weekly.",
    )
