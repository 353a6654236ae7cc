"""Settings of alerts: where they are sent, and how often they are repeated."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from backfill_assets.config.fields.group import SettingsGroup
from backfill_assets.config.validators import parse_list, validate_alert_urls


class AlertFields(SettingsGroup):
    """Where alerts are sent, and how often."""

    heading: ClassVar[str] = "Alerts"

    alert_urls: Annotated[
        tuple[SecretStr, ...], NoDecode, BeforeValidator(parse_list), AfterValidator(validate_alert_urls)
    ] = Field(
        (),
        alias="BACKFILL_ALERT_URLS",
        examples=["mailto://user:password@example.com"],
        description="Apprise URLs that alerts are sent to (mailto://…, slack://…, json://…), separated by spaces or as"
        " a JSON list. They are secrets.",
    )
    alert_repeat_hours: float = Field(
        24,
        alias="BACKFILL_ALERT_REPEAT_HOURS",
        ge=1,
        le=720,
        description="Hours after which an alert is repeated while the failure lasts.",
    )
