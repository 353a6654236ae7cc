"""Settings of a single process: its clock, its log and its end."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from backfill_assets.config.fields.group import SettingsGroup
from backfill_assets.config.validators import validate_moment


class ProcessFields(SettingsGroup):
    """The clock, the log and the end of a process."""

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
    log_format: Literal["text", "json"] = Field(
        "text",
        alias="BACKFILL_LOG_FORMAT",
        description="Form of log messages: lines for people, or one JSON object a line for a log collector.",
    )
    stop_seconds: float = Field(
        4,
        alias="BACKFILL_STOP_SECONDS",
        ge=0,
        le=600,
        description="Seconds that a process which is told to stop (SIGTERM, Ctrl-C) waits for answers that it pays for;"
        " they are stored. Keep it 5 s below the time after which the process would be killed: 10 s in Docker.",
    )
