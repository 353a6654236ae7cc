"""Settings of the Dagster definitions and of Dagster's own storage."""

from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, SecretStr

from backfill_assets.config.fields.group import SettingsGroup
from backfill_assets.config.validators import (
    require_utf8,
    validate_cron,
    validate_http_address,
    validate_interval_names,
    validate_owners,
    validate_session_start,
    validate_universe_names,
)
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL


class DagsterFields(SettingsGroup):
    """What Dagster shows and starts."""

    heading: ClassVar[str] = "Dagster"

    intervals: Annotated[tuple[str, ...], AfterValidator(validate_interval_names)] = Field(
        (DEFAULT_INTERVAL,),
        alias="BACKFILL_INTERVALS",
        description="Bar intervals that are assets, as a JSON list; each interval has its own requests; only those of"
        " the history are shared.",
    )
    owners: Annotated[tuple[str, ...], AfterValidator(validate_owners)] = Field(
        (),
        alias="BACKFILL_OWNERS",
        examples=['["team:market-data", "data@example.com"]'],
        description="Owners of the assets in Dagster's catalog, as a JSON list of e-mail addresses and team:NAME.",
    )
    code_url: Annotated[str, AfterValidator(validate_http_address)] | None = Field(
        None,
        alias="BACKFILL_CODE_URL",
        examples=["https://git.example.com/data/backfill_assets/-/tree/main"],
        description="Address of the folder in source control that contains backfill_assets/, for the links from assets"
        " to their code; unset: links to the installed files.",
    )
    partition_days: int = Field(
        90,
        alias="BACKFILL_PARTITION_DAYS",
        ge=2,
        le=2500,
        description="Newest sessions that are partitions; fewer if symbols × sessions would exceed 100,000.",
    )
    heal_sessions: int | None = Field(
        None,
        alias="BACKFILL_HEAL_SESSIONS",
        ge=2,
        le=2500,
        description="Newest sessions whose gaps are filled by themselves, partitions or not; unset: as many as are"
        " partitions. Sessions added by a larger number are filled with calls that are left over.",
    )
    renew_definitions: bool | None = Field(
        None,
        alias="BACKFILL_RENEW_DEFINITIONS",
        description="Whether a running code server is asked to load its definitions again when their days are outdated,"
        " at most once an hour; unset: this program's own code location is, another project's is not.",
    )
    purge_days: int | None = Field(
        None,
        alias="BACKFILL_PURGE_DAYS",
        ge=7,
        le=3650,
        description="Days after which Dagster's history is deleted every night: events of days that are no partitions"
        " any more, ticks, results of checks and runs of which nothing is shown as the present state; unset: never.",
    )
    partitions_per_run: int = Field(
        20_000,
        alias="BACKFILL_PARTITIONS_PER_RUN",
        ge=1,
        le=100_000,
        description="Largest number of partitions in one run that the sensor starts.",
    )
    universes: Annotated[tuple[str, ...], AfterValidator(validate_universe_names)] = Field(
        ("all",),
        alias="BACKFILL_UNIVERSES",
        description="Named universes that have an asset complete_sessions, as a JSON list; all is one of each exchange,"
        " LSE/model one of exchange LSE.",
    )
    sessions_start: Annotated[date, AfterValidator(validate_session_start)] = Field(
        date(2020, 10, 1),
        alias="BACKFILL_SESSIONS_START",
        description="First day that is a partition of complete_sessions; the same in every code location that depends"
        " on it. The vendor's 5m data begin in October 2020.",
    )
    event_sessions: int = Field(
        20,
        alias="BACKFILL_EVENT_SESSIONS",
        ge=1,
        le=250,
        description="Newest sessions of which a certificate becomes a materialization of complete_sessions by itself;"
        " of older ones it does on request.",
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
    dagster_postgres_url: Annotated[SecretStr, AfterValidator(require_utf8)] | None = Field(
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
