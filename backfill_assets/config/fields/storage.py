"""Settings of the database that stores the bars. Dagster's own database is in ``dagster``."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, SecretStr

from backfill_assets.config.fields.group import SettingsGroup
from backfill_assets.config.validators import require_utf8


class StorageFields(SettingsGroup):
    """The database of the bars."""

    heading: ClassVar[str] = "Storage"

    database_url: Annotated[SecretStr, AfterValidator(require_utf8)] | None = Field(
        None,
        alias="DATABASE_URL",
        description="PostgreSQL database of the bars; unset: an embedded server in BACKFILL_HOME.",
    )
    database_url_file: Path | None = Field(
        None, alias="DATABASE_URL_FILE", description="A file that contains DATABASE_URL; use one of the two."
    )
    database_patience_seconds: float = Field(
        60,
        alias="BACKFILL_DATABASE_PATIENCE_SECONDS",
        ge=0,
        le=3600,
        description="How long a run waits for a database that has become unavailable, seconds.",
    )
    home: Path = Field(
        Path(".backfill"), alias="BACKFILL_HOME", description="Folder of the embedded PostgreSQL server."
    )
