"""``settings``: every setting as it is now, or as the page ``docs/configuration.md`` lists them."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal, get_args, get_origin

import click

from backfill_assets.cli.options import add_common_options, add_format_option, load_command_settings, make_console

PAGE_HEAD = """\
# Settings

Every setting is an environment variable; `--as-of` and `--debug` win over theirs. A value that cannot be meant ends a
command with exit code 2 and names the variable. `backfill-assets settings` shows what is in force, secrets as `***`.

This page is made from `backfill_assets/setting_fields.py` by `make docs`; a test fails when it is stale.

| variable | default | may be | what it is |
|---|---|---|---|
"""
_BOUND_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


@click.command()
@add_format_option("table", "json", "markdown")
@add_common_options
def settings(form: str, as_of: datetime | None, debug: bool) -> None:
    """Show every setting with its value, its default and what it is."""
    if form == "markdown":
        click.echo(build_configuration_page(), nl=False)
        return
    rows = list(_list_settings(load_command_settings(as_of, debug=debug)))
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
        make_console().print(table)


def build_configuration_page() -> str:
    """The page of all settings, Markdown."""
    from backfill_assets.config.settings import Settings

    lines = (
        f"| `{field.alias}` | {_format_code(_format_value(field.default))} | {_describe_allowed_values(field)} | {_escape_cell(field.description)} |\n"
        for field in Settings.model_fields.values()
    )
    return PAGE_HEAD + "".join(lines)


def _list_settings(current: Any) -> Iterator[dict[str, str]]:
    for name, field in type(current).model_fields.items():
        yield {
            "variable": str(field.alias),
            "value": _format_value(getattr(current, name)),
            "default": _format_value(field.default),
            "description": str(field.description),
        }


def _format_value(value: Any) -> str:
    """A value as one would write it; secrets as stars."""
    if value is None or value == ():
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_format_value(part) for part in value) + "]"
    if hasattr(value, "get_secret_value"):
        return "***"
    return (
        value.isoformat() if isinstance(value, datetime) else f"{value:g}" if isinstance(value, float) else str(value)
    )


def _describe_allowed_values(field: Any) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(_format_code(str(choice)) for choice in get_args(field.annotation))
    if field.annotation is bool:
        return "`true`, `false`"
    bounds = [
        (sign, getattr(limit, name))
        for limit in field.metadata
        for name, sign in _BOUND_SIGNS.items()
        if hasattr(limit, name)
    ]
    return ", ".join(
        f"{sign} {limit:,g}" if isinstance(limit, float) else f"{sign} {limit:,}" for sign, limit in bounds
    )


def _format_code(text: str) -> str:
    return f"`{text}`" if text != "unset" else "unset"


def _escape_cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")
