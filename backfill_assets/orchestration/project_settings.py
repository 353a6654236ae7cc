"""What a project gives instead of environment variables: settings that exist, and exchanges that are supported.

Their values are validated by ``config.settings``, as those of the environment are.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from backfill_assets.config.settings import Settings
from backfill_assets.errors import UsageError
from backfill_assets.market.exchanges.registry import get_profile

# Read by the storage and the launcher that dagster.yaml names, before a project is loaded or outside of it.
_SETTINGS_OF_THE_INSTANCE = ("dagster_postgres_url", "dagster_postgres_url_file", "batch_planned_events")
_LISTS = ("exchanges", "intervals", "universes", "owners")  # a single text means a list of one


def collect_overrides(exchanges: str | Sequence[str] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that win over the environment, by field name; those given as None are left out.

    Args:
        exchanges: what the project collects, by the vendor's codes; None: BACKFILL_EXCHANGES.
        given: settings by field name or by variable.

    Raises:
        UsageError: an exchange that is not supported (the message says why); a setting that does not exist, that is
            given twice, or that belongs to Dagster's instance.
    """
    if exchanges is not None:
        _require_supported([exchanges] if isinstance(exchanges, str) else list(exchanges))
    overrides: dict[str, Any] = {}
    for given_name, value in [("exchanges", exchanges), *given.items()]:
        name = _find_field(given_name)
        if value is None:
            continue
        if name in overrides:
            raise UsageError(f"the setting {Settings.model_fields[name].alias} is given twice")
        overrides[name] = (value,) if name in _LISTS and isinstance(value, str) else value
    return overrides


def _require_supported(exchanges: Sequence[str]) -> None:
    for exchange in exchanges:
        get_profile(exchange)
    if not exchanges or len(set(exchanges)) < len(exchanges):
        raise UsageError(f"exchanges is {exchanges!r}: must be one or more of the vendor's codes, each once")


def _find_field(given_name: str) -> str:
    names = {name: name for name in Settings.model_fields}
    names |= {str(field.alias): name for name, field in Settings.model_fields.items()}
    name = names.get(given_name)
    if name is None:
        close = get_close_matches(given_name, names, n=1)
        hint = f"did you mean {close[0]}?" if close else "docs/configuration.md lists all settings"
        raise UsageError(f"there is no setting {given_name!r}; {hint}")
    if name in _SETTINGS_OF_THE_INSTANCE:
        raise UsageError(
            f"{given_name} is a setting of Dagster's instance, which starts before a project is loaded; set"
            f" {Settings.model_fields[name].alias} in the environment"
        )
    return name
