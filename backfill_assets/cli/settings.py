"""``settings``: the settings in force, or the page ``docs/configuration.md`` of all settings."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click

from backfill_assets.cli.options import add_common_options, add_format_option, load_command_settings, make_console

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from backfill_assets.config.settings import Settings

PAGE_HEAD = """\
# Settings

Every setting is an environment variable. The options `--as-of` and `--debug` override BACKFILL_AS_OF and
BACKFILL_LOG_LEVEL. An invalid value ends a command with exit code 2 and a message that names the variable.
`backfill-assets settings` shows what differs from the defaults, `backfill-assets settings --all` everything.
Secrets are shown as `***`, lists as JSON.

`make docs` generates this page from `backfill_assets/config/fields`; a test fails if the page is outdated.
"""
TABLE_HEAD = """\
| variable | default | valid values | description |
|---|---|---|---|
"""
UNSET = "unset"
_BOUND_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


@click.command()
@click.option("--all", "show_all", is_flag=True, help="Also settings that have their default value, in the table.")
@add_format_option("table", "json", "markdown")
@add_common_options
def settings(show_all: bool, output_format: str, as_of: datetime | None, debug: bool) -> None:
    """Show the settings that differ from their defaults.

    The formats json and markdown always contain all settings.
    """
    if output_format == "markdown":
        click.echo(build_configuration_page().encode("utf-8"), nl=False)
        return
    rows = list(_list_settings(load_command_settings(as_of, debug=debug)))
    if output_format == "json":
        click.echo(json.dumps(rows, indent=1))
    else:
        _print_settings(rows, show_all=show_all)


def build_configuration_page() -> str:
    """The page of all settings, Markdown, a section a subject."""
    from backfill_assets.config.settings import list_groups

    sections = (
        f"\n## {group.heading}\n\n{TABLE_HEAD}" + "".join(_format_row(field) for field in group.model_fields.values())
        for group in list_groups()
    )
    return PAGE_HEAD + "".join(sections)


def _print_settings(rows: Sequence[dict[str, str]], *, show_all: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    changed = [row for row in rows if row["value"] != row["default"]]
    shown = rows if show_all else changed
    console = make_console()
    if shown:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for title in ("variable", "value", "default"):
            table.add_column(title, overflow="fold")
        for row in shown:
            style = None if row["value"] == row["default"] else "bold"
            table.add_row(row["variable"], escape(row["value"]), row["default"], style=style)
        console.print(table)
    if not show_all:
        console.print(f"{len(changed)} of {len(rows)} settings differ from their defaults (--all shows all)")


def _list_settings(current: "Settings") -> Iterator[dict[str, str]]:
    from backfill_assets.config.settings import list_groups

    for group in list_groups():
        for name, field in group.model_fields.items():
            yield {
                "variable": str(field.alias),
                "value": _format_or_unset(getattr(current, name)),
                "default": _format_or_unset(field.default),
                "description": str(field.description),
            }


def _format_row(field: "FieldInfo") -> str:
    default = _format_or_unset(field.default)
    cells = (
        f"`{field.alias}`",
        default if default == UNSET else f"`{default}`",
        _describe_valid_values(field),
        str(field.description).replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |\n"


def _format_or_unset(value: Any) -> str:
    from backfill_assets.config.formatting import format_value

    return UNSET if value is None or value == () else format_value(value)


def _describe_valid_values(field: "FieldInfo") -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
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
