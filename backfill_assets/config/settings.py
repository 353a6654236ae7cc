"""The settings of a process: how they are read from the environment, and what is derived from them.

Nothing else reads the environment, and nothing reads it at import: call ``load_settings``. The settings
themselves are in ``config.fields``, one module a subject.

Settings are flat because each is one environment variable; the groups are base classes that only sort them by subject
in the code and in the documentation.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from pydantic import ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsError

from backfill_assets.config.fields.alerts import AlertFields
from backfill_assets.config.fields.certificates import CertificateFields
from backfill_assets.config.fields.checks import CheckFields
from backfill_assets.config.fields.dagster import DagsterFields
from backfill_assets.config.fields.gaps import GapFields
from backfill_assets.config.fields.group import SettingsGroup
from backfill_assets.config.fields.history import HistoryFields
from backfill_assets.config.fields.live import LiveFields
from backfill_assets.config.fields.market import MarketFields
from backfill_assets.config.fields.process import ProcessFields
from backfill_assets.config.fields.quota import QuotaFields
from backfill_assets.config.fields.requests import RequestFields
from backfill_assets.config.fields.review import ReviewFields
from backfill_assets.config.fields.storage import StorageFields
from backfill_assets.config.fields.vendor import VendorFields
from backfill_assets.config.formatting import find_example, format_value
from backfill_assets.config.secret_files import fill_secrets_from_files
from backfill_assets.config.validators import VENDOR_HOST, extract_host
from backfill_assets.errors import UsageError
from backfill_assets.market.calendar.intervals import INTERVALS, Interval, choose_source_interval
from backfill_assets.market.exchanges.profile import MarketProfile
from backfill_assets.market.exchanges.registry import DEFAULT_EXCHANGE, get_profile
from backfill_assets.market.gaps.gap_rules import GapRules
from backfill_assets.market.gaps.retry_schedule import RetrySchedule
from backfill_assets.market.live.sampling_schedule import select_collectable_intervals

MAX_SHOWN_CHARACTERS = 60  # of an invalid value in an error message
# NAME_FILE may name a file instead; of these, a file of addresses may have several lines
SECRETS_FROM_FILES = (
    *("DATABASE_URL", "EODHD_API_TOKEN", "DAGSTER_POSTGRES_URL"),
    *("BACKFILL_ALERT_URLS", "BACKFILL_ALERT_OWNERS", "BACKFILL_HEARTBEAT_URL"),
)
SECRET_LISTS = frozenset({"BACKFILL_ALERT_URLS", "BACKFILL_ALERT_OWNERS"})
SECRET_VARIABLES = frozenset(  # not in error messages
    {*SECRETS_FROM_FILES, "EODHD_BASE_URL", "BACKFILL_CODE_URL"}
)


class Settings(
    StorageFields,
    VendorFields,
    QuotaFields,
    MarketFields,
    GapFields,
    RequestFields,
    LiveFields,
    ReviewFields,
    HistoryFields,
    CheckFields,
    CertificateFields,
    DagsterFields,
    AlertFields,
    ProcessFields,
):
    """All settings, from one group a subject; the order of the groups is the order of the documentation."""

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, values: Any) -> Any:
        return fill_secrets_from_files(values, SECRETS_FROM_FILES, SECRET_LISTS)

    @model_validator(mode="after")
    def _check_live_intervals(self) -> Self:
        if self.live and not self.list_live_intervals():
            raise ValueError(
                f"BACKFILL_LIVE is on, but none of BACKFILL_INTERVALS ({', '.join(self.intervals)}) can be built from"
                f" samples every {self.live_seconds} s (BACKFILL_LIVE_SECONDS); add 30m, or switch BACKFILL_LIVE off"
            )
        return self

    @model_validator(mode="after")
    def _check_sync_exchange(self) -> Self:
        if self.sync_exchange is not None and self.sync_exchange not in self.exchanges:
            raise ValueError(
                f"BACKFILL_SYNC_EXCHANGE is {format_value(self.sync_exchange)[:MAX_SHOWN_CHARACTERS]!r}: it must be one"
                f" of BACKFILL_EXCHANGES ({', '.join(self.exchanges)}); example: {self.exchanges[0]}"
            )
        return self

    @property
    def is_vendor(self) -> bool:
        """Whether requests go to the vendor itself, not to a sandbox or another server."""
        return self.vendor_host == VENDOR_HOST

    @property
    def vendor_host(self) -> str:
        """The host recorded as the source of bars: EODHD_SOURCE_HOST, else the host of EODHD_BASE_URL."""
        return self.source_host or extract_host(self.base_url)

    def choose_source(self, market: MarketProfile, interval: Interval) -> Interval:
        """The vendor interval that bars of ``interval`` are built from on an exchange."""
        return choose_source_interval(interval, market.source_interval or self.source_interval)

    def build_gap_rules(self, market: MarketProfile, source: Interval) -> GapRules:
        """When absent slots of an exchange are requested and when they count as missing, for bars from ``source``."""
        askable = self.askable_hours_1m if source.name == "1m" else self.askable_hours_5m
        return GapRules(
            askable_after=market.askable_after or timedelta(hours=askable),
            overdue_after=market.overdue_after or timedelta(hours=self.overdue_hours),
            overdue_after_half=timedelta(hours=self.overdue_after_half_hours),
            retry_schedule=RetrySchedule(steps=tuple(timedelta(hours=h) for h in self.ladder_hours)),
            ask_every=timedelta(hours=self.around_the_clock_ask_hours),
        )

    def list_live_intervals(self) -> tuple[Interval, ...]:
        """The intervals that live collection provides, shortest first; none while BACKFILL_LIVE is off."""
        return (
            select_collectable_intervals((INTERVALS[name] for name in self.intervals), self.live_seconds)
            if self.live
            else ()
        )

    def get_market(self, exchange: str) -> MarketProfile:
        """The profile of an exchange, by the vendor's code, with the corrections in the settings' files.

        Raises:
            UsageError: the exchange is not supported, or a file cannot be read or is not of the documented form.
        """
        calendar_file = self.calendar_file if exchange == DEFAULT_EXCHANGE else None
        if calendar_file is None and self.markets_file is None:
            return get_profile(exchange)
        from backfill_assets.config.markets_file import correct_profile  # its parser is loaded only for a file

        return correct_profile(exchange, calendar_file, self.markets_file)

    @property
    def markets(self) -> tuple[MarketProfile, ...]:
        """The profiles of BACKFILL_EXCHANGES, in its order.

        Raises:
            UsageError: a file of corrections cannot be read, or is not of the documented form.
        """
        return tuple(map(self.get_market, self.exchanges))

    def now(self) -> datetime:
        """The current time, UTC: BACKFILL_AS_OF if set, else the clock."""
        return self.as_of or datetime.now(UTC)


def list_groups() -> tuple[type[SettingsGroup], ...]:
    """The groups of settings, in the order of the documentation."""
    return tuple(base for base in Settings.__bases__ if issubclass(base, SettingsGroup))


def build_child_environment(settings: Settings) -> dict[str, str]:
    """The environment for a child process: this process's environment, overridden by what ``settings`` sets.

    A setting that was set to None is removed, in any spelling of upper and lower case: the child of a sandbox
    must not inherit the vendor's host name.
    """
    values = {
        str(Settings.model_fields[name].alias): getattr(settings, name) for name in sorted(settings.model_fields_set)
    }
    inherited = {name: value for name, value in os.environ.items() if name.upper() not in values}
    given = {name: format_value(value, show_secrets=True) for name, value in values.items() if value is not None}
    return {**inherited, **given}


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; ``overrides`` (field names) win over it where they are not None.

    Raises:
        UsageError: a value is invalid. The message names the variable and never contains a secret.
    """
    values: dict[str, Any] = {
        str(Settings.model_fields[name].alias): value for name, value in overrides.items() if value is not None
    }
    for name in SECRETS_FROM_FILES:  # a secret that is given wins over a file in the environment, and the reverse
        if (name in values) != (f"{name}_FILE" in values):
            values = {name: None, f"{name}_FILE": None, **values}
    try:
        return Settings(**values)
    except ValidationError as error:
        raise UsageError("; ".join(_describe_error(dict(e)) for e in error.errors())) from None
    except SettingsError as error:  # invalid JSON; the message contains the name of the field, not of the variable
        field = next(field for name, field in Settings.model_fields.items() if f'"{name}"' in str(error))
        raise UsageError(f"{field.alias} is not valid JSON; example: {find_example(field)}") from None
    except RecursionError:  # of the JSON parser, which does not name the field
        field = _find_most_nested_setting()
        raise UsageError(f"{field.alias} is nested too deeply; example: {find_example(field)}") from None


def _find_most_nested_setting() -> FieldInfo:
    """The setting whose variable, in any spelling of upper and lower case, has the most brackets."""
    values = {name.upper(): value for name, value in os.environ.items()}
    return max(Settings.model_fields.values(), key=lambda field: values.get(str(field.alias), "").count("["))


def _describe_error(error: dict[str, Any]) -> str:
    message = str(error["msg"].removeprefix("Value error, "))
    if not error["loc"]:  # an error of several settings; it names them itself
        return message
    variable = str(error["loc"][0])
    value = "" if variable in SECRET_VARIABLES else f" is {_shorten(error['input'])}:"
    example = next((find_example(field) for field in Settings.model_fields.values() if field.alias == variable), None)
    return f"{variable}{value} {message}" + (f"; example: {example}" if example else "")


def _shorten(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= MAX_SHOWN_CHARACTERS else shown[: MAX_SHOWN_CHARACTERS - 1] + "…"
