"""The settings of a process: what is derived from the fields of ``setting_fields``, and how they are read.

Nothing else reads the environment, and nothing reads it at import: call ``load_settings``. What an
address may look like and how a secret is read from a file is in ``setting_values``.
"""

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from pydantic import SecretStr, TypeAdapter, ValidationError, model_validator
from pydantic_settings import SettingsError

from backfill_assets.config.fields import AlertFields, DagsterFields, GapFields, VendorFields
from backfill_assets.config.validators import (
    VENDOR_HOST,
    extract_host,
    fill_secrets_from_files,
)
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import INTERVALS, Interval
from backfill_assets.market.calendar.sessions import NO_OVERRIDES, CalendarOverrides
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.retry_schedule import RetrySchedule
from backfill_assets.market.live.sampling_schedule import select_collectable_intervals

MAX_SHOWN_CHARACTERS = 60  # characters of a wrong value
SECRETS_FROM_FILES = ("DATABASE_URL", "EODHD_API_TOKEN", "DAGSTER_POSTGRES_URL")  # may be files
SECRET_VARIABLES = frozenset({*SECRETS_FROM_FILES, "EODHD_BASE_URL", "BACKFILL_ALERT_URLS"})  # never shown


class Settings(AlertFields, DagsterFields, GapFields, VendorFields):
    """All settings; field descriptions are the documentation."""

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, values: Any) -> Any:
        return fill_secrets_from_files(values, SECRETS_FROM_FILES)

    @model_validator(mode="after")
    def _check_live_intervals(self) -> Self:
        if self.live and not self.list_live_intervals():
            raise ValueError(
                f"BACKFILL_LIVE is on, but none of BACKFILL_INTERVALS ({', '.join(self.intervals)}) can be made from"
                f" samples every {self.live_seconds} s (BACKFILL_LIVE_SECONDS); add 30m, or switch BACKFILL_LIVE off"
            )
        return self

    @property
    def is_vendor(self) -> bool:
        """Whether the vendor itself is asked, not a stand-in."""
        return self.vendor_host == VENDOR_HOST

    @property
    def vendor_host(self) -> str:
        """Who is asked, for the provenance of bars: the host of the base URL, unless that is a proxy."""
        return self.source_host or extract_host(self.base_url)

    def build_gap_rules(self, source: Interval) -> GapRules:
        """When absent slots are asked for and count, for bars built from ``source``."""
        askable = self.askable_hours_1m if source.name == "1m" else self.askable_hours_5m
        return GapRules(
            askable_after=timedelta(hours=askable),
            overdue_after=timedelta(hours=self.overdue_hours),
            overdue_after_half=timedelta(hours=self.overdue_after_half_hours),
            retry_schedule=RetrySchedule(steps=tuple(timedelta(hours=h) for h in self.ladder_hours)),
        )

    def list_live_intervals(self) -> tuple[Interval, ...]:
        """The intervals whose bars live samples make, the shortest first; none while live collection is off."""
        return (
            select_collectable_intervals((INTERVALS[name] for name in self.intervals), self.live_seconds)
            if self.live
            else ()
        )

    def load_calendar_overrides(self) -> CalendarOverrides:
        """What the user's calendar file says.

        Raises:
            UsageError: it cannot be read, or is not of the form that the setting describes.
        """
        if self.calendar_file is None:
            return NO_OVERRIDES
        try:
            text = self.calendar_file.read_text("utf-8")
            return TypeAdapter(CalendarOverrides).validate_json(text, strict=False, extra="forbid")
        except (OSError, ValueError) as error:
            first_line = str(error).splitlines()[0]
            raise UsageError(f"BACKFILL_CALENDAR_FILE {self.calendar_file} cannot be used: {first_line}") from None

    def now(self) -> datetime:
        """The moment this process works at, UTC: the setting, else the clock."""
        return self.as_of or datetime.now(UTC)


def build_child_environment(settings: Settings) -> dict[str, str]:
    """The environment of a child process that is to work with ``settings``: this one's, with what was set laid over.

    What was set to None is unset there, whatever this process's environment says of it and in whichever case: a
    sandbox's child must not take the vendor's name from it.
    """
    values = {
        str(Settings.model_fields[name].alias): getattr(settings, name) for name in sorted(settings.model_fields_set)
    }
    inherited = {name: value for name, value in os.environ.items() if name.upper() not in values}
    return {**inherited, **{name: _to_variable_text(value) for name, value in values.items() if value is not None}}


def _to_variable_text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return json.dumps([part.get_secret_value() if isinstance(part, SecretStr) else part for part in value])
    return str(value)


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; ``overrides`` (field names) win over it where they are not None.

    Raises:
        UsageError: names the variable, what is wrong with it and never its secret value.
    """
    values: dict[str, Any] = {
        str(Settings.model_fields[name].alias): value for name, value in overrides.items() if value is not None
    }
    try:
        return Settings(**values)
    except ValidationError as error:
        raise UsageError("; ".join(_describe_error(dict(e)) for e in error.errors())) from None
    except SettingsError as error:  # what should be JSON is none; it names the field, not the variable
        field = next(field for name, field in Settings.model_fields.items() if f'"{name}"' in str(error))
        raise UsageError(f"{field.alias} is no JSON; write it like {list(field.default)}") from None


def _describe_error(error: dict[str, Any]) -> str:
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return str(message)
    variable = str(error["loc"][0])
    value = "" if variable in SECRET_VARIABLES else f" is {_shorten(error['input'])}:"
    return f"{variable}{value} {message}"


def _shorten(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= MAX_SHOWN_CHARACTERS else shown[: MAX_SHOWN_CHARACTERS - 1] + "…"
