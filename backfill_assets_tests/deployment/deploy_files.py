"""The files of ``deploy/`` as values: folders, documents, lists of settings."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from backfill_assets.config.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
INSTANCES = {
    "one machine": ROOT / "dagster.yaml",
    "compose": DEPLOY / "compose" / "dagster.yaml",
    "hosts": DEPLOY / "hosts" / "etc" / "dagster.yaml",
    "kubernetes": DEPLOY / "kubernetes" / "base" / "dagster.yaml",
}
SETTINGS = frozenset(str(field.alias) for field in Settings.model_fields.values())
_ASSIGNMENT = re.compile(r"^#?([A-Z][A-Z_]+)=(.*)$", re.MULTILINE)


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def read_version() -> str:
    """The version of this checkout."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def read_variables(path: Path) -> dict[str, str]:
    """The variables of an environment file, those in comments included."""
    return {name: value.strip("'") for name, value in _ASSIGNMENT.findall(path.read_text("utf-8"))}


def is_setting(name: str) -> bool:
    """Whether a variable looks like a setting of the package, known or not."""
    return name.startswith(("BACKFILL_", "EODHD_", "DATABASE_", "DAGSTER_POSTGRES_"))


def walk(value: Any) -> Iterator[Mapping[str, Any]]:
    """All mappings within a document."""
    if isinstance(value, Mapping):
        yield value
        for part in value.values():
            yield from walk(part)
    elif isinstance(value, list):
        for part in value:
            yield from walk(part)
