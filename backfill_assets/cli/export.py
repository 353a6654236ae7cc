"""``export``: the sessions of the store as a folder of Parquet files, brought up to date."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.exchange_choice import SupportedExchangeType
from backfill_assets.cli.options import (
    DateType,
    UniverseType,
    add_common_options,
    add_format_option,
    add_interval_option,
    load_command_settings,
)
from backfill_assets.cli.read_options import add_read_options

if TYPE_CHECKING:
    from backfill_assets.reading.export_result import ExportResult

EXIT_INCOMPLETE = 3


@click.command()
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder to write to."
)
@click.option(
    "--universe", type=UniverseType(), default="all", show_default=True, help="Of which symbols; see: universes list."
)
@click.option("--exchange", type=SupportedExchangeType(), default="US", show_default=True, help="Of which exchange.")
@add_interval_option
@click.option("--start", type=DateType(), help="First session date, included.  [default: the oldest that is stored]")
@click.option("--end", type=DateType(), help="Last session date, included.  [default: the newest that has closed]")
@add_read_options
@add_format_option("table", "json")
@add_common_options
def export(
    folder: Path,
    output_format: str,
    as_of: datetime | None,
    debug: bool,
    start: date | None,
    end: date | None,
    **options: Any,
) -> int:
    """Write a Parquet file for each session below --dir, and replace those that changed. No vendor calls.

    Only sessions that are what --require says have a file. Exit code 3: at least one is not.
    """
    from backfill_assets.reading.export import export_bars

    settings = load_command_settings(as_of, debug=debug)
    result = export_bars(folder, start=start, end=end, settings=settings, **options)
    _show(result, output_format)
    return EXIT_INCOMPLETE if result.incomplete else 0


def _show(result: "ExportResult", output_format: str) -> None:
    if output_format == "json":
        click.echo(json.dumps(result.as_dict(), indent=1))
        return
    click.echo(str(result))
