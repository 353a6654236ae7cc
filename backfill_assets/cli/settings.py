"""``settings``: every setting as it is now, or as the page ``docs/configuration.md`` lists them."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal, get_args, get_origin

import click

from backfill_assets.cli.options import common, console_of, formats, settings_of

HEAD = """\
# Settings

Every setting is an environment variable; `--as-of` and `--debug` win over theirs. A value that cannot be meant ends a
command with exit code 2 and names the variable. `backfill-assets settings` shows what is in force, secrets as `***`.

This page is made from `backfill_assets/setting_fields.py` by `make docs`; a test fails when it is stale.

| variable | default | may be | what it is |
|---|---|---|---|
"""
_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


@click.command()
@formats("table", "json", "markdown")
@common
def settings(form: str, as_of: datetime | None, debug: bool) -> None:
    """Show every setting with its value, its default and what it is."""
    if form == "markdown":
        click.echo(configuration_page(), nl=False)
        return
    rows = list(_in_force(settings_of(as_of, debug=debug)))
    if form == "json":
        click.echo(json.dumps(rows, indent=1))
    else:
        from rich.table import Table

        table = Table(box=None, header_style="bold", pad_edge=False)
        for title in ("variable", "value", "default"):
            table.add_column(title, overflow="fold")
        for row in rows:
            style = None if row["value"] == row["default"] else "bold"
            table.add_row(row["variable"], row["value"], row["default"], style=style)
        console_of().print(table)


def configuration_page() -> str:
    """The page of all settings, Markdown."""
    from backfill_assets.config.settings import Settings

    lines = (
        f"| `{field.alias}` | {_code(_shown(field.default))} | {_may_be(field)} | {_cell(field.description)} |\n"
        for field in Settings.model_fields.values()
    )
    return HEAD + "".join(lines)


def _in_force(now: Any) -> Iterator[dict[str, str]]:
    for name, field in type(now).model_fields.items():
        yield {
            "variable": str(field.alias),
            "value": _shown(getattr(now, name)),
            "default": _shown(field.default),
            "description": str(field.description),
        }


def _shown(value: Any) -> str:
    """A value as one would write it; secrets as stars."""
    if value is None or value == ():
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_shown(part) for part in value) + "]"
    if hasattr(value, "get_secret_value"):
        return "***"
    return (
        value.isoformat() if isinstance(value, datetime) else f"{value:g}" if isinstance(value, float) else str(value)
    )


def _may_be(field: Any) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(_code(str(choice)) for choice in get_args(field.annotation))
    if field.annotation is bool:
        return "`true`, `false`"
    bounds = [
        (sign, getattr(limit, name))
        for limit in field.metadata
        for name, sign in _SIGNS.items()
        if hasattr(limit, name)
    ]
    return ", ".join(
        f"{sign} {limit:,g}" if isinstance(limit, float) else f"{sign} {limit:,}" for sign, limit in bounds
    )


def _code(text: str) -> str:
    return f"`{text}`" if text != "unset" else "unset"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")
