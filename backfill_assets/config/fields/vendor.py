"""Settings of the vendor's API: its address, the token and how requests are sent.

How many are sent is in ``quota``, what one covers in ``requests``.
"""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, SecretStr

from backfill_assets.config.fields.group import SettingsGroup
from backfill_assets.config.validators import (
    VENDOR_HOST,
    clean_secret,
    normalize_host,
    validate_backoff_seconds,
    validate_http_address,
)


class VendorFields(SettingsGroup):
    """The vendor's API and the requests to it."""

    heading: ClassVar[str] = "Vendor"

    token: Annotated[SecretStr, AfterValidator(clean_secret)] | None = Field(
        None, alias="EODHD_API_TOKEN", description="The vendor's API token."
    )
    token_file: Path | None = Field(
        None, alias="EODHD_API_TOKEN_FILE", description="A file that contains EODHD_API_TOKEN; use one of the two."
    )
    base_url: Annotated[str, AfterValidator(validate_http_address)] = Field(
        f"https://{VENDOR_HOST}/api",
        alias="EODHD_BASE_URL",
        examples=["https://eodhd.com/api"],
        description="Base URL of the vendor's API.",
    )
    source_host: Annotated[str, AfterValidator(normalize_host)] | None = Field(
        None,
        alias="EODHD_SOURCE_HOST",
        examples=["eodhd.com"],
        description="Host name recorded as the source of bars; set it if EODHD_BASE_URL is a proxy of the vendor."
        " Unset: the host of EODHD_BASE_URL.",
    )
    request_timeout_seconds: float = Field(
        30,
        alias="BACKFILL_REQUEST_TIMEOUT_SECONDS",
        gt=0,
        le=600,
        description="Time limit of one request, seconds; five times as long for one of the longest span, ten times"
        " for one of a whole exchange.",
    )
    attempts: int = Field(
        5, alias="BACKFILL_ATTEMPTS", ge=1, le=20, description="Attempts at one request before it counts as failed."
    )
    backoff_seconds: Annotated[tuple[float, float], AfterValidator(validate_backoff_seconds)] = Field(
        (0.5, 20.0),
        alias="BACKFILL_BACKOFF_SECONDS",
        description="First and longest pause between two attempts, seconds, as a JSON list.",
    )
    in_flight_start: int = Field(
        16, alias="BACKFILL_IN_FLIGHT_START", ge=1, le=1000, description="Concurrent requests at the start of a run."
    )
    in_flight_max: int = Field(
        48, alias="BACKFILL_IN_FLIGHT_MAX", ge=1, le=1000, description="Concurrent requests at most."
    )
