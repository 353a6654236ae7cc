"""Settings of the Dagster definitions and of Dagster's own storage."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, SecretStr

from backfill_assets.config.fields.group import SettingsGroup
from backfill_assets.config.validators import validate_cron, validate_interval_names
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL


class DagsterFields(SettingsGroup):
    """What Dagster shows and starts."""

    heading: ClassVar[str] = "Dagster"

    intervals: Annotated[tuple[str, ...], AfterValidator(validate_interval_names)] = Field(
        (DEFAULT_INTERVAL,),
        alias="BACKFILL_INTERVALS",
        description="Bar intervals that are assets, as a JSON list; each interval needs its own requests.",
    )
    partition_days: int = Field(
        90,
        alias="BACKFILL_PARTITION_DAYS",
        ge=2,
        le=2500,
        description="Newest sessions that are partitions and whose gaps are filled; fewer if symbols × sessions would"
        " exceed 100,000.",
    )
    partitions_per_run: int = Field(
        20_000,
        alias="BACKFILL_PARTITIONS_PER_RUN",
        ge=1,
        le=100_000,
        description="Largest number of partitions in one run that the sensor starts.",
    )
    auto: bool = Field(
        True, alias="BACKFILL_AUTO", description="Whether sensors and schedules are switched on by default."
    )
    sensor_seconds: int = Field(
        60, alias="BACKFILL_SENSOR_SECONDS", ge=1, le=86_400, description="Seconds between two ticks of a sensor."
    )
    checks_cron: Annotated[str, AfterValidator(validate_cron)] = Field(
        "*/15 * * * *",
        alias="BACKFILL_CHECKS_CRON",
        examples=["*/15 * * * *"],
        description="When the checks run without a materialization, as a cron expression in New York time.",
    )
    dagster_postgres_url: SecretStr | None = Field(
        None,
        alias="DAGSTER_POSTGRES_URL",
        description="PostgreSQL database of Dagster's own storage; unset: database dagster on the server of the bars.",
    )
    dagster_postgres_url_file: Path | None = Field(
        None,
        alias="DAGSTER_POSTGRES_URL_FILE",
        description="A file that contains DAGSTER_POSTGRES_URL; use one of the two.",
    )
    batch_planned_events: bool = Field(
        True,
        alias="BACKFILL_BATCH_PLANNED_EVENTS",
        description="Whether the events of a run's planned partitions are stored in batches.",
    )
