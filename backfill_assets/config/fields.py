"""The fields of the settings: each with its unit, default, range and environment variable.

What is derived from them, and reading them, is in ``settings``; what values may look like in ``setting_values``.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from backfill_assets.config.validators import (
    VENDOR_HOST,
    clean_secret,
    normalize_host,
    parse_list,
    validate_alert_urls,
    validate_backoff_seconds,
    validate_cron,
    validate_http_address,
    validate_interval_names,
    validate_ladder_hours,
    validate_moment,
    validate_round_seconds,
)
from backfill_assets.market.calendar.intervals import DEFAULT_INTERVAL


class _SettingFields(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)


class VendorFields(_SettingFields):
    """Where the bars are, and how the vendor is asked."""

    database_url: SecretStr | None = Field(
        None, alias="DATABASE_URL", description="PostgreSQL of the bars; unset: an embedded server under the home."
    )
    database_url_file: Path | None = Field(
        None, alias="DATABASE_URL_FILE", description="A file that holds DATABASE_URL, instead of it."
    )
    database_patience_seconds: float = Field(
        60,
        alias="BACKFILL_DATABASE_PATIENCE_SECONDS",
        ge=0,
        le=3600,
        description="How long work under way waits for a database that went away, seconds.",
    )
    home: Path = Field(Path(".backfill"), alias="BACKFILL_HOME", description="Folder of the embedded PostgreSQL.")
    token: Annotated[SecretStr, AfterValidator(clean_secret)] | None = Field(
        None, alias="EODHD_API_TOKEN", description="The vendor's API token."
    )
    token_file: Path | None = Field(
        None, alias="EODHD_API_TOKEN_FILE", description="A file that holds EODHD_API_TOKEN, instead of it."
    )
    base_url: Annotated[str, AfterValidator(validate_http_address)] = Field(
        f"https://{VENDOR_HOST}/api", alias="EODHD_BASE_URL", description="Where the vendor answers."
    )
    source_host: Annotated[str, AfterValidator(normalize_host)] | None = Field(
        None,
        alias="EODHD_SOURCE_HOST",
        description="Whose answers the base URL passes on, where it is a proxy; unset: its own host's.",
    )
    requests_per_minute: int = Field(
        1000,
        alias="EODHD_REQUESTS_PER_MINUTE",
        ge=1,
        le=100_000,
        description="Requests that the vendor allows a minute.",
    )
    minute_share: float = Field(
        0.8,
        alias="BACKFILL_MINUTE_SHARE",
        gt=0,
        le=1,
        description="Part of the minute that is ours; 1 only if nobody else has the token.",
    )
    daily_calls: int = Field(
        100_000,
        alias="EODHD_DAILY_CALLS",
        ge=1,
        le=1_000_000_000,
        description="Calls of a UTC day until the vendor says otherwise.",
    )
    collector_reserve: float = Field(
        0.1, alias="BACKFILL_COLLECTOR_RESERVE", ge=0, lt=1, description="Part of the day's calls that is never ours."
    )
    spend_extra_limit: bool = Field(
        False, alias="BACKFILL_SPEND_EXTRA_LIMIT", description="Whether purchased extra calls may be spent."
    )
    rate_window_seconds: float = Field(
        60,
        alias="BACKFILL_RATE_WINDOW_SECONDS",
        gt=0,
        le=3600,
        description="Length of the vendor's rate window, seconds; shorter only for tests.",
    )
    request_timeout_seconds: float = Field(
        30, alias="BACKFILL_REQUEST_TIMEOUT_SECONDS", gt=0, le=600, description="Longest time of a request, seconds."
    )
    attempts: int = Field(
        5, alias="BACKFILL_ATTEMPTS", ge=1, le=20, description="Attempts at one request before it is given up."
    )
    backoff_seconds: Annotated[tuple[float, float], AfterValidator(validate_backoff_seconds)] = Field(
        (0.5, 20.0),
        alias="BACKFILL_BACKOFF_SECONDS",
        description="First and longest pause between attempts, seconds, as a JSON list.",
    )
    in_flight_start: int = Field(
        16, alias="BACKFILL_IN_FLIGHT_START", ge=1, le=1000, description="Requests under way at once, at first."
    )
    in_flight_max: int = Field(
        48, alias="BACKFILL_IN_FLIGHT_MAX", ge=1, le=1000, description="Requests under way at once, at most."
    )


class GapFields(_SettingFields):
    """What is built, when absence counts, and what is asked again."""

    source_interval: Literal["1m", "5m"] = Field(
        "5m", alias="BACKFILL_SOURCE_INTERVAL", description="The vendor interval that bars are built from."
    )
    askable_hours_5m: float = Field(
        3, alias="BACKFILL_ASKABLE_HOURS_5M", ge=0, le=72, description="Hours from the regular close until 5m is asked."
    )
    askable_hours_1m: float = Field(
        5, alias="BACKFILL_ASKABLE_HOURS_1M", ge=0, le=72, description="Hours from the regular close until 1m is asked."
    )
    overdue_hours: float = Field(
        16, alias="BACKFILL_OVERDUE_HOURS", ge=0, le=240, description="Hours after the close until absence counts."
    )
    overdue_after_half_hours: float = Field(
        6,
        alias="BACKFILL_OVERDUE_AFTER_HALF_HOURS",
        ge=0,
        le=240,
        description="Hours after half of the universe was seen published until absence counts.",
    )
    ladder_hours: Annotated[tuple[float, ...], AfterValidator(validate_ladder_hours)] = Field(
        (1, 3, 6, 12, 24),
        alias="BACKFILL_LADDER_HOURS",
        description="Hours to wait before asking again for what did not come, step by step, as a JSON list;"
        " after the last step daily for ten days, then weekly.",
    )
    bulk_daily: bool = Field(
        True,
        alias="BACKFILL_BULK_DAILY",
        description="Whether the market's daily file (100 calls) may explain the absence of more than 100 tickers.",
    )
    daily_file_symbols: int = Field(
        500, alias="BACKFILL_DAILY_FILE_SYMBOLS", ge=1, description="Symbols from which on it is read every morning."
    )
    overlap_sessions: int = Field(
        2,
        alias="BACKFILL_OVERLAP_SESSIONS",
        ge=0,
        le=60,
        description="Sessions before its span that a request re-reads.",
    )
    live: bool = Field(
        False, alias="BACKFILL_LIVE", description="Whether today's bars are collected from live quotes, which spends."
    )
    live_budget: int = Field(
        10_000,
        alias="BACKFILL_LIVE_BUDGET",
        ge=0,
        le=1_000_000,
        description="Calls of a UTC day for live quotes; at most half of the day's calls that are ours.",
    )
    live_seconds: Annotated[int, AfterValidator(validate_round_seconds)] = Field(
        300,
        alias="BACKFILL_LIVE_SECONDS",
        ge=60,
        le=1800,
        description="Seconds between two rounds of live quotes, a divisor of 1,800 so that rounds meet the edges of"
        " slots; longer where the budget does not afford it.",
    )
    review_sessions: int = Field(
        20,
        alias="BACKFILL_REVIEW_SESSIONS",
        ge=1,
        le=250,
        description="Sessions of every ticker that a review reads again for corrections.",
    )
    review_days: float = Field(
        7, alias="BACKFILL_REVIEW_DAYS", ge=0, le=365, description="Days until a ticker is reviewed again."
    )
    max_span_days: int = Field(
        120, alias="BACKFILL_MAX_SPAN_DAYS", ge=1, le=600, description="Longest span of one request, days."
    )


class DagsterFields(_SettingFields):
    """What Dagster shows and runs by itself."""

    intervals: Annotated[tuple[str, ...], AfterValidator(validate_interval_names)] = Field(
        (DEFAULT_INTERVAL,),
        alias="BACKFILL_INTERVALS",
        description="Bar intervals that are assets, as a JSON list; each costs requests of its own.",
    )
    partition_days: int = Field(
        90,
        alias="BACKFILL_PARTITION_DAYS",
        ge=2,
        le=2500,
        description="Sessions that are partitions and are healed; fewer where symbols × days would exceed 100,000.",
    )
    partitions_per_run: int = Field(
        20_000,
        alias="BACKFILL_PARTITIONS_PER_RUN",
        ge=1,
        le=100_000,
        description="Most partitions of one run that the sensor starts.",
    )
    auto: bool = Field(True, alias="BACKFILL_AUTO", description="Whether sensors and schedules run by default.")
    sensor_seconds: int = Field(
        60, alias="BACKFILL_SENSOR_SECONDS", ge=1, le=86_400, description="Least seconds between two looks of a sensor."
    )
    checks_cron: Annotated[str, AfterValidator(validate_cron)] = Field(
        "*/15 * * * *", alias="BACKFILL_CHECKS_CRON", description="When the checks run by themselves (cron, New York)."
    )
    missing_tolerance: int = Field(
        0,
        alias="BACKFILL_MISSING_TOLERANCE",
        ge=0,
        le=10_000,
        description="Missing bars of one symbol that the check no_missing_bars lets pass.",
    )
    sync_exchange: Literal["US"] | None = Field(
        None,
        alias="BACKFILL_SYNC_EXCHANGE",
        description="Exchange whose symbol list the asset market_symbols adds to the universe; unset: none.",
    )
    sync_type: str | None = Field(
        None, alias="BACKFILL_SYNC_TYPE", description="Only symbols of this type of the vendor, such as common_stock."
    )
    dagster_postgres_url: SecretStr | None = Field(
        None,
        alias="DAGSTER_POSTGRES_URL",
        description="PostgreSQL of Dagster's own storage; unset: a database dagster beside the bars.",
    )
    dagster_postgres_url_file: Path | None = Field(
        None, alias="DAGSTER_POSTGRES_URL_FILE", description="A file that holds DAGSTER_POSTGRES_URL, instead of it."
    )
    batch_planned_events: bool = Field(
        True,
        alias="BACKFILL_BATCH_PLANNED_EVENTS",
        description="Whether the events of a run's planned partitions are stored in batches.",
    )


class AlertFields(_SettingFields):
    """What is judged and told, and how this process looks at the world."""

    calendar_file: Path | None = Field(
        None,
        alias="BACKFILL_CALENDAR_FILE",
        description='A JSON file of what the calendar lacks: {"closures": ["2026-01-09"],'
        ' "early_closes": {"2026-07-02": "13:00"}}, times on the exchange\'s clock.',
    )
    eod_tolerance_bps: float = Field(
        15,
        alias="BACKFILL_EOD_TOLERANCE_BPS",
        ge=0,
        le=1000,
        description="How far a session's official close may be off the daily data, basis points of the price;"
        " prints of half-days are up to 12 off.",
    )
    alert_urls: Annotated[
        tuple[SecretStr, ...], NoDecode, BeforeValidator(parse_list), AfterValidator(validate_alert_urls)
    ] = Field(
        (),
        alias="BACKFILL_ALERT_URLS",
        description="Who is told when something fails: addresses of Apprise (mailto://…, slack://…, json://…), with"
        " spaces between them or as a JSON list. They are secrets.",
    )
    alert_repeat_hours: float = Field(
        24,
        alias="BACKFILL_ALERT_REPEAT_HOURS",
        ge=1,
        le=720,
        description="Hours after which a failure that goes on is told again.",
    )
    as_of: Annotated[datetime, AfterValidator(validate_moment)] | None = Field(
        None, alias="BACKFILL_AS_OF", description="A fixed now (ISO 8601 with zone) for reproducible runs."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "WARNING", alias="BACKFILL_LOG_LEVEL", description="Least severe log line that is shown."
    )
