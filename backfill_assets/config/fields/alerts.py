"""Settings of alerts: where they are sent, and how often they are repeated."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from backfill_assets.config.fields.group import SettingsGroup
from backfill_assets.config.validators import (
    parse_list,
    validate_alert_owners,
    validate_alert_urls,
    validate_heartbeat_url,
)


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
    alert_urls_file: Path | None = Field(
        None,
        alias="BACKFILL_ALERT_URLS_FILE",
        description="A file that contains BACKFILL_ALERT_URLS, one address a line; use one of the two.",
    )
    alert_owners: Annotated[
        tuple[SecretStr, ...], NoDecode, BeforeValidator(parse_list), AfterValidator(validate_alert_owners)
    ] = Field(
        (),
        alias="BACKFILL_ALERT_OWNERS",
        examples=["model=mailto://user:password@example.com"],
        description="Who is told of alerts about the symbols of a universe, and of no others: UNIVERSE=URL, separated"
        " by spaces or as a JSON list; LSE/model=… for one of exchange LSE. They are secrets.",
    )
    alert_owners_file: Path | None = Field(
        None,
        alias="BACKFILL_ALERT_OWNERS_FILE",
        description="A file that contains BACKFILL_ALERT_OWNERS, one owner a line; use one of the two.",
    )
    alert_repeat_hours: float = Field(
        24,
        alias="BACKFILL_ALERT_REPEAT_HOURS",
        ge=1,
        le=720,
        description="Hours after which an alert is repeated while the failure lasts.",
    )
    heartbeat_url: Annotated[SecretStr, AfterValidator(validate_heartbeat_url)] | None = Field(
        None,
        alias="BACKFILL_HEARTBEAT_URL",
        description="Address that is called (GET) after each healthy look of the alert sensor, so that its silence"
        " alarms elsewhere; it is a secret.",
    )
    heartbeat_url_file: Path | None = Field(
        None,
        alias="BACKFILL_HEARTBEAT_URL_FILE",
        description="A file that contains BACKFILL_HEARTBEAT_URL; use one of the two.",
    )
