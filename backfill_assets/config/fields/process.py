"""Settings of a single process: its clock and its log."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from backfill_assets.config.fields.group import SettingsGroup
from backfill_assets.config.validators import validate_moment


class ProcessFields(SettingsGroup):
    """The clock and the log of a process."""

    heading: ClassVar[str] = "Process"

    as_of: Annotated[datetime, AfterValidator(validate_moment)] | None = Field(
        None,
        alias="BACKFILL_AS_OF",
        examples=["2026-06-03T12:00:00Z"],
        description="A fixed current time (ISO 8601 with time zone) for reproducible runs; unset: the clock.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "WARNING", alias="BACKFILL_LOG_LEVEL", description="Least severe log messages that are shown."
    )
