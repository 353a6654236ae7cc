"""Settings of certificates: which revisions are large enough to compute again what rests on the bars."""

from typing import ClassVar

from pydantic import Field

from backfill_assets.config.fields.group import SettingsGroup


class CertificateFields(SettingsGroup):
    """When a revision of a certified session is material."""

    heading: ClassVar[str] = "Certificates"

    material_price_bps: float = Field(
        1,
        alias="BACKFILL_MATERIAL_PRICE_BPS",
        ge=0,
        le=10_000,
        description="Largest change of a price of a certified session that is not material, basis points.",
    )
    material_volume_percent: float = Field(
        1,
        alias="BACKFILL_MATERIAL_VOLUME_PERCENT",
        ge=0,
        le=1000,
        description="Largest change of a bar's volume of a certified session that is not material, percent.",
    )
