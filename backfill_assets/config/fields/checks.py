"""Settings of the checks: how much a check tolerates. When the checks run is in ``dagster``."""

from typing import ClassVar

from pydantic import Field

from backfill_assets.config.fields.group import SettingsGroup


class CheckFields(SettingsGroup):
    """The tolerances of the checks."""

    heading: ClassVar[str] = "Checks"

    missing_tolerance: int = Field(
        0,
        alias="BACKFILL_MISSING_TOLERANCE",
        ge=0,
        le=10_000,
        description="Missing bars of one symbol that the check no_missing_bars tolerates.",
    )
    eod_tolerance_bps: float = Field(
        15,
        alias="BACKFILL_EOD_TOLERANCE_BPS",
        ge=0,
        le=1000,
        description="Largest difference between a session's official close and the vendor's daily data, basis points of"
        " the price; early closes differ by up to 12.",
    )
