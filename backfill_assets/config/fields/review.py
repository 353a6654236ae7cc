"""Settings of the review: recent sessions read again for the vendor's corrections."""

from typing import ClassVar

from pydantic import Field

from backfill_assets.config.fields.group import SettingsGroup


class ReviewFields(SettingsGroup):
    """What a review reads again, and how often."""

    heading: ClassVar[str] = "Review"

    review_sessions: int = Field(
        20,
        alias="BACKFILL_REVIEW_SESSIONS",
        ge=1,
        le=250,
        description="Newest sessions of a symbol that a review reads again for corrections.",
    )
    review_days: float = Field(
        7, alias="BACKFILL_REVIEW_DAYS", ge=0, le=365, description="Days between two reviews of a symbol."
    )
